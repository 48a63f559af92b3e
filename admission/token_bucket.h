#pragma once

#include <algorithm>
#include <cmath>

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

  double rate() const { return rate_; }
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
  }

  // It goes on from so many tokens at this time, as far as its burst holds them.
  void resume(double tokens, Time at) {
    tokens_ = std::clamp(tokens, -burst_, burst_);
    last_ = at;
  }

 private:
  void refill(Time now) {
    if (now <= last_) return;  // another loop's turn began earlier: time never runs backwards here
    const double seconds = std::chrono::duration<double>(now - last_).count();
    tokens_ = std::min(burst_, tokens_ + seconds * rate_);
    last_ = now;
  }

  double rate_;
  double burst_;
  double tokens_;
  Time last_{};
};

}  // namespace classgate::admission
