#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "admission/measure/time.h"
#include "admission/sharing/report.h"

namespace classgate::sharing {

using measure::Duration;
using measure::Time;

using conf::WhenAway;

// The seats of one gateway: what it has been given, what it has promised, and until when, by its
// own monotonic clock. It begins nothing in the last fifth of its lease, so that clocks may go
// differently by as much. Not thread-safe.
class Holding {
 public:
  struct Settings {
    std::string member;         // not the name of an earlier process
    std::uint32_t workers = 0;  // for all together
    Duration lease{};           // as the ledger's
    Duration request_timeout{};
    Duration away_max = std::chrono::minutes(10);  // as the ledger's
    WhenAway when_away = WhenAway::share;
  };
  explicit Holding(Settings settings) : settings_(std::move(settings)) {}

  // How many may be in use when one more begins. Ask with the clock as it is in that moment: who
  // was stopped for a while must not begin as if it had not been.
  std::uint32_t seats(Time now) const;
  bool is_away(Time now) const { return now >= lapses_; }
  // Until then by its lease, if it hears nothing; long ago: it has none.
  Time lapses() const { return lapses_; }
  // And until then by its part without the ledger, unless it is away as `open` has it.
  Time gone() const { return gone_; }
  // Its part of what is no seat (rates), at most 1. Before it has heard anything: all, because it
  // has no seat to spend it on.
  double part(Time now) const;
  // By the last answer none of the reports has come that were sent since the one before it.
  bool were_lost() const { return were_lost_; }
  std::uint32_t members() const { return members_; }
  std::uint32_t floor() const { return floor_; }

  // Other limits, which the next report tells. What was begun under a longer time may still be at
  // work: the longest that there was counts.
  void set_limits(std::uint32_t workers, Duration request_timeout) {
    settings_.workers = workers;
    settings_.request_timeout = std::max(settings_.request_timeout, request_timeout);
  }

  // The next report, to be sent at once. What it promises holds until its answer is there; one of
  // an earlier report counts no more.
  Report report(std::uint32_t in_use, const Demand& demand, Time now);
  void hear(const Share& share, Time now);

 private:
  std::uint32_t away(Time now) const;

  static constexpr Time long_ago = Time::min() + std::chrono::hours(1);  // so that a sum is one

  Settings settings_;
  std::uint64_t number_ = 0;
  std::uint64_t answered_ = 0;  // the last one that was heard and answered
  std::string ledger_;
  std::uint32_t cap_ = 0;
  std::uint32_t target_ = 0;
  std::uint32_t floor_ = 0;
  std::uint32_t floors_ = 0;
  std::uint32_t members_ = 0;
  bool awaits_answer_ = false;
  bool were_lost_ = false;
  // The least that was promised by a report that may still be heard.
  std::uint32_t promise_ = 0;
  Time promised_ = long_ago;
  LedgerTime told_{};                // by the last answer
  Time heard_{};                     // which was then
  Time reported_{};                  // when the last report was made
  Time lapses_ = long_ago;           // it begins nothing by its lease from then on
  Time others_are_done_ = long_ago;  // then nobody has seats that are kept for its floor
  Time gone_ = long_ago;             // its floor may be others' when what it has begun is over
};

}  // namespace classgate::sharing
