#pragma once

#include "admission/measure/histogram.h"

namespace classgate::measure {

// What the last one to two minutes were like, within 0.4 %: two histograms of 18 KiB take turns.
class Recent {
 public:
  using Histogram = measure::Histogram<7, std::uint32_t>;

  void record(Duration value, Time now) {
    if (now - turn_began_ >= turn) turn_over(now);
    current_.record(value);
  }
  Histogram at(Time now) const;

 private:
  void turn_over(Time now);

  static constexpr Duration turn = std::chrono::minutes(1);
  Histogram current_;
  Histogram previous_;
  Time turn_began_{};
};

}  // namespace classgate::measure
