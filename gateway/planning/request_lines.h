#pragma once

#include <expected>
#include <string>

#include "gateway/planning/scenario.h"

namespace classgate::planning {

// Around a traffic: a line for each request of what became of it, in the order in which they end,
// with tabs between the columns that the first line names. Times count from the start.
std::expected<Wrap, std::string> request_lines(const std::string& path);

}  // namespace classgate::planning
