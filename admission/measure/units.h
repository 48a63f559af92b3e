#pragma once

// Durations as numbers, for formulas and for whoever is told of them.

#include <chrono>
#include <cmath>

#include "admission/measure/time.h"

namespace classgate::measure {

inline double in_seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}
inline double in_ms(Duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}
// To the microsecond, as everything that is JSON shows them.
inline double in_rounded_ms(Duration duration) {
  return std::round(std::chrono::duration<double, std::micro>(duration).count()) / 1000;
}

}  // namespace classgate::measure
