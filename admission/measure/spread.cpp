#include "admission/measure/spread.h"

namespace classgate::measure {

void Spread::record(Duration value) {
  values_.record(value);
  sum_ += static_cast<double>(std::max<Duration::rep>(value.count(), 0));
  most_ = std::max(most_, value);
}

Duration Spread::mean() const {
  if (count() == 0) return {};
  return Duration(static_cast<Duration::rep>(sum_ / static_cast<double>(count())));
}

}  // namespace classgate::measure
