#pragma once

// The time of admission is an argument, never a clock: a simulator passes virtual time, the gateway
// the time of the loop's turn. The type is steady_clock's, its now() is not called in this module.

#include <chrono>

namespace classgate::measure {

using Duration = std::chrono::nanoseconds;
using Time = std::chrono::time_point<std::chrono::steady_clock, Duration>;

}  // namespace classgate::measure
