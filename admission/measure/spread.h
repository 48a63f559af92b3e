#pragma once

#include <cstdint>

#include "admission/measure/histogram.h"

namespace classgate::measure {

// How long something took, over many: mean, greatest and percentiles (off by 1.6 % at most).
class Spread {
 public:
  void record(Duration value);
  std::uint64_t count() const { return values_.count(); }
  Duration mean() const;
  Duration most() const { return most_; }
  Duration percentile(double share) const { return std::min(values_.percentile(share), most_); }

 private:
  Histogram<5, std::uint64_t> values_;
  double sum_ = 0;  // ns
  Duration most_{};
};

}  // namespace classgate::measure
