#pragma once

#include <nlohmann/json.hpp>

#include "gateway/planning/scenario.h"

namespace classgate::planning {

// A result as JSON: the same result gives the same bytes. Times are milliseconds, rates a second.
nlohmann::ordered_json to_json(const Scenario& scenario, const Result& result);

}  // namespace classgate::planning
