#pragma once

#include <algorithm>
#include <cstdint>

#include "admission/time.h"

namespace classgate::admission {

// rate = "auto": how many requests a second are worth accepting. Once a second:
//   the queue has not run empty in it     rate <- 0.95 * what was finished in that second
//   otherwise                             rate <- 1.1 * rate + 1
// held between a floor and a ceiling. Additive and multiplicative steps as in TCP (Chiu and Jain,
// 1989), but the decrease goes to what the upstream really does, a little under it so that the
// queue drains, and is reached in one step. It begins at the ceiling. O(1). Not thread-safe.
class RateFollower {
 public:
  struct Bounds {
    double floor = 1;
    double ceiling = 1'000'000;
  };
  explicit RateFollower(Bounds bounds) : bounds_(bounds), rate_(bounds.ceiling) {}

  double rate() const { return rate_; }
  void reconfigure(Bounds bounds) {
    bounds_ = bounds;
    rate_ = std::clamp(rate_, bounds_.floor, bounds_.ceiling);
  }
  // It goes on from this rate.
  void resume(double rate, Time at) {
    rate_ = std::clamp(rate, bounds_.floor, bounds_.ceiling);
    began_ = at;
  }
  void note_finish() { ++finished_; }
  void note_empty() { was_empty_ = true; }
  // True when a second is over and the rate another.
  bool tick(bool is_empty, Time now) {
    was_empty_ = was_empty_ || is_empty;
    if (now - began_ < std::chrono::seconds(1)) return false;
    const double seconds = std::chrono::duration<double>(now - began_).count();
    const double before = rate_;
    // After a pause there is nothing to learn from how little was finished in it.
    if (was_empty_ || seconds > 2)
      rate_ = 1.1 * rate_ + 1;
    else
      rate_ = 0.95 * static_cast<double>(finished_) / seconds;
    rate_ = std::clamp(rate_, bounds_.floor, bounds_.ceiling);
    began_ = now;
    finished_ = 0;
    was_empty_ = is_empty;
    return rate_ != before;
  }

 private:
  Bounds bounds_;
  double rate_;
  Time began_{};
  std::uint64_t finished_ = 0;
  bool was_empty_ = true;
};

}  // namespace classgate::admission
