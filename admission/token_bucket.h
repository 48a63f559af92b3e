#pragma once

#include <algorithm>
#include <cmath>
#include <utility>

#include "admission/time.h"

namespace classgate::admission {

// A token bucket: holds at most `burst` tokens, gains `rate` a second. A rate of 0 means no limit.
// Not thread-safe; deterministic: the same calls with the same times give the same answers.
class TokenBucket {
 public:
  TokenBucket(double rate, double burst) : rate_(rate), burst_(burst), tokens_(burst) {}

  // Until a bucket with a rate that holds so many has `cost` of them; thirty years at most.
  static Duration time_to(double cost, double tokens, double rate, double burst) {
    const double missing = std::min(cost, burst) - tokens;
    // A billionth of a token is rounding, not debt.
    if (missing <= 1e-9) return Duration::zero();
    return Duration(static_cast<Duration::rep>(std::min(std::ceil(missing / rate * 1e9), 1e18)));
  }

  // Zero when `cost` tokens are there, else how long until they will be. Takes nothing. A cost
  // above the burst can never be paid in one go: it needs a full bucket and leaves a debt.
  Duration wait_for(double cost, Time now) {
    if (rate_ <= 0) return Duration::zero();
    refill(now);
    return time_to(cost, tokens_, rate_, burst_);
  }

  // Takes `cost` tokens; only after wait_for() said zero for the same cost and time.
  void take(double cost) {
    if (rate_ > 0) tokens_ = std::min(burst_, tokens_ - cost);
  }

  double rate() const { return rate_; }  // now
  double burst() const { return burst_; }
  // As of the latest time it was told.
  double tokens() const { return tokens_; }
  double tokens_at(Time now) const {
    TokenBucket later = *this;
    later.refill(now);
    return later.tokens_;
  }

  // New limits; the tokens that are there stay, as far as the new burst holds them.
  void reconfigure(double rate, double burst, Time now) {
    refill(now);
    rate_ = rate;
    burst_ = burst;
    tokens_ = std::min(tokens_, burst_);
    until_ = Time::max();
  }
  // Likewise, but only until that time, and then another rate. Of a rate that several gateways have
  // together each has what it is lent, and does not count on it for longer.
  void lend(double rate, double burst, Time until, double then, Time now) {
    reconfigure(rate, burst, now);
    until_ = until;
    then_ = then;
  }
  // What it has gained and had no room for, since it was last asked.
  double take_spilled(Time now) {
    refill(now);
    return std::exchange(spilled_, 0.0);
  }

  // It goes on from so many tokens at this time, as far as its burst holds them.
  void resume(double tokens, Time at) {
    tokens_ = std::clamp(tokens, -burst_, burst_);
    last_ = at;
  }

 private:
  void refill(Time now) {
    if (now <= last_) return;  // another loop's turn began earlier: time never runs backwards here
    const double full = tokens_ + gain(now);
    tokens_ = std::min(burst_, full);
    spilled_ += full - tokens_;
    last_ = now;
    if (now >= until_) [[unlikely]] {
      rate_ = then_;
      until_ = Time::max();
    }
  }
  // Since the last time.
  double gain(Time now) const {
    const auto in = [](double rate, Duration time) {
      return rate * std::chrono::duration<double>(time).count();
    };
    if (now < until_) [[likely]]
      return in(rate_, now - last_);
    const Time until = std::max(until_, last_);
    return in(rate_, until - last_) + in(then_, now - until);
  }

  double rate_;
  double burst_;
  double tokens_;
  Time last_{};
  Time until_ = Time::max();  // of the rate
  double then_ = 0;
  double spilled_ = 0;
};

}  // namespace classgate::admission
