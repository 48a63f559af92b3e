#pragma once

#include <chrono>
#include <string>

namespace classgate::gateway {

// RFC 3339 with milliseconds, in UTC: "2026-11-28T09:30:00.123Z". Any thread.
std::string wall_time_text(std::chrono::system_clock::time_point at);

}  // namespace classgate::gateway
