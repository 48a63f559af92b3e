#pragma once

#include <string>

#include "gateway/planning/scenario.h"

namespace classgate::planning {

// A result for people: a table of priorities, classes or routes, and the busiest clients, then
// refusals and worker use.
std::string to_text(const Scenario& scenario, const Result& result);

}  // namespace classgate::planning
