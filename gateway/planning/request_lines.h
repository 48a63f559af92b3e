#pragma once

#include <expected>
#include <functional>
#include <string>

#include "gateway/planning/scenario.h"

namespace classgate::planning {

// Around a traffic: a line for each request of what became of it, in the order in which they end,
// with tabs between the columns that the first line names. Times count from the start.
struct RequestLines {
  Wrap wrap;
  // When the traffic has ended: whether all of it could be written; the error names the file.
  std::function<std::expected<void, std::string>()> close;
};
std::expected<RequestLines, std::string> request_lines(const std::string& path);

}  // namespace classgate::planning
