#pragma once

// Durations as numbers, for formulas and for whoever is told of them.

#include <chrono>
#include <cstdint>

#include "admission/measure/time.h"

namespace classgate::measure {

inline double in_seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}
inline double in_ms(Duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}
// To the nearest microsecond: wherever one duration is told, it is the same number.
inline std::int64_t in_rounded_us(Duration duration) {
  return std::chrono::round<std::chrono::microseconds>(duration).count();
}
// As everything that is JSON shows them.
inline double in_rounded_ms(Duration duration) {
  return static_cast<double>(in_rounded_us(duration)) / 1000;
}

// As many digits as a measured quantile is worth, which is right within 1 %.
inline Duration to_three_digits(Duration duration) {
  const Duration::rep value = duration.count();
  Duration::rep unit = 1;
  while (value / unit >= 1000 || value / unit <= -1000) unit *= 10;
  const Duration::rep rest = value % unit;
  const Duration::rep up = 2 * rest >= unit && unit > 1 ? 1 : 0;
  const Duration::rep down = 2 * rest <= -unit && unit > 1 ? 1 : 0;
  return Duration((value / unit + up - down) * unit);
}

}  // namespace classgate::measure
