#pragma once

#include <string>

#include "admission/measure/units.h"
#include "conf/format.h"

namespace classgate::planning {

// A measured time for people, in milliseconds: three digits, or those of a large one before the
// point, and none below a microsecond. "0.012", "3.40", "199", "12345".
inline std::string told_ms(measure::Duration time) {
  const double ms = measure::in_ms(time);
  const int decimals = ms >= 100 ? 0 : ms >= 10 ? 1 : ms >= 1 ? 2 : 3;
  return ms > 0 ? fmt::format("{:.{}f}", ms, decimals) : "0";
}

}  // namespace classgate::planning
