#pragma once

#include <algorithm>
#include <cstddef>

#include "admission/time.h"

namespace classgate::admission {

// How fast the line of one priority moves: the time between two who go in from it while somebody
// waits in it, as an exponential mean: pace += (interval - pace) / 8. It holds all that stands in
// the way without a model of it: better priorities, reserved workers, long requests in the workers.
// Whoever joins behind `ahead` others waits for (ahead + 1) paces, and when the next move is
// overdue, as long again as it already is. O(1). Not thread-safe.
class LinePace {
 public:
  // Somebody waits where nobody did. What the line did a moment ago still tells more than guess(),
  // and costs no division.
  template <typename Guess>
  void begin(Guess guess, Time now) {
    if (now - moved_ > memory) pace_ = guess();
    moved_ = std::max(moved_, now);
  }
  void move(Time now) {
    const Duration interval = std::max(now - moved_, Duration::zero());
    pace_ += (interval - pace_) / 8;
    moved_ = std::max(moved_, now);
  }
  Duration wait_behind(std::size_t ahead, Time now) const {
    const auto places = static_cast<Duration::rep>(ahead + 1);
    const Duration overdue = std::max(now - moved_ - pace_, Duration::zero());
    return pace_ > longest / places ? longest : pace_ * places + overdue;
  }

 private:
  static constexpr Duration memory = std::chrono::seconds(1);
  static constexpr Duration longest = std::chrono::hours(24);  // "never", without an overflow
  Duration pace_{};
  Time moved_{};
};

}  // namespace classgate::admission
