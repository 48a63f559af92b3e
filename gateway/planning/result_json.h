#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>

#include "gateway/planning/scenario.h"

namespace classgate::planning {

// A result as JSON: the same result gives the same bytes. Times are milliseconds, rates a second.
nlohmann::ordered_json to_json(const Scenario& scenario, const Result& result);

// "2026-11-28T09:30:00.123Z"
std::string time_text(std::chrono::system_clock::time_point at);

}  // namespace classgate::planning
