#pragma once

#include "admission/measure/histogram.h"

namespace classgate::measure {

// What the last one to two minutes were like, to an eighth: two histograms take turns.
class Recent {
 public:
  using Histogram = measure::Histogram<3, std::uint32_t>;

  void record(Duration value, Time now);
  Histogram at(Time now) const;

 private:
  static constexpr Duration turn = std::chrono::minutes(1);
  Histogram current_;
  Histogram previous_;
  Time turn_began_{};
};

}  // namespace classgate::measure
