#pragma once

#include <algorithm>
#include <cstdint>

#include "admission/time.h"

namespace classgate::admission {

// What a shared bucket gains is divided among the clients that ask: each has an equal part of it,
// by its weight, in an account of its own (ClientTable). This class counts how many clients ask,
// and so knows how large a part is. Time is cut into turns of ten seconds; a client counts as one
// that asks if it did so in this turn or the one before. A value: to see what would be if somebody
// asked, count on a copy. Not thread-safe; deterministic.
class EqualParts {
 public:
  // A client keeps the number of the turn in which it last asked: 1 to `turns`, 0 for never.
  static constexpr std::uint8_t turns = 15;

  // The bucket, and how much of a full one is kept from those who have had their part: [0, 1).
  void divide(double rate, double burst, double reserve) {
    whole_ = rate;
    burst_ = std::max(static_cast<float>(burst * reserve / 2), 1.0F);
    set_rate();
  }

  // A client asks. `last_turn` is the turn in which it asked before, `last` when its account was
  // last brought up to date: turns are numbered anew after `turns` of them, so the number alone
  // does not tell. Returns the turn that it is now.
  std::uint8_t count(std::uint8_t last_turn, Time last, Time now) {
    const Duration age = now - began_;
    if (age >= length) begin_turn(age < 2 * length ? asking_ : 0, now);
    if (last_turn == turn_ && last >= began_) return turn_;
    ++asking_;
    if (asking_ > asked_before_) set_rate();
    return turn_;
  }

  double whole() const { return whole_; }  // what the bucket gains a second; 0: no limit
  float rate() const { return rate_; }     // of a part, a second, for a weight of 1
  float burst() const { return burst_; }   // of a part, whatever its weight
  std::uint32_t asking() const { return std::max({asked_before_, asking_, 1U}); }  // lately
  bool others_ask() const { return asking() > 1; }

 private:
  static constexpr Duration length = std::chrono::seconds(10);

  void begin_turn(std::uint32_t asked_before, Time now) {
    turn_ = static_cast<std::uint8_t>(turn_ % turns + 1);
    asked_before_ = asked_before;
    asking_ = 0;
    began_ = now;
    set_rate();
  }
  void set_rate() { rate_ = static_cast<float>(whole_ / asking()); }

  double whole_ = 0;
  float rate_ = 0;
  float burst_ = 1;
  Time began_{};
  std::uint32_t asking_ = 0;  // clients, in this turn
  std::uint32_t asked_before_ = 0;
  std::uint8_t turn_ = 1;
};

}  // namespace classgate::admission
