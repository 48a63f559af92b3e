#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "proxy/net/loop.h"

namespace classgate::gateway {

// How many frames that help nobody one HTTP/2 connection may send: `burst` at once, `rate` a second
// in the long run, and one more for each complete answer, so that a client that works may also
// change its mind. Whoever resets, and whoever has us reset, pays the same. Used up, it is warned
// (the connection takes no more requests); half of `burst` later it is over. On the loop.
class MisuseBudget {
 public:
  enum class State : std::uint8_t { fine, warned, over };

  MisuseBudget(std::uint32_t burst, double rate, proxy::net::Time now)
      : most_(burst), left_(burst), rate_(rate), since_(now) {}

  void spend(proxy::net::Time now) {
    const std::chrono::duration<double> passed = now - since_;
    since_ = now;
    left_ = std::min(most_, left_ + rate_ * passed.count()) - 1;
    if (left_ < 0 && state_ == State::fine) state_ = State::warned;
    if (left_ < -most_ / 2) state_ = State::over;
  }
  void make_up() { left_ = std::min(most_, left_ + 1); }
  // Never better than it has been.
  State state() const { return state_; }

 private:
  double most_;
  double left_;
  double rate_;
  proxy::net::Time since_;
  State state_ = State::fine;
};

}  // namespace classgate::gateway
