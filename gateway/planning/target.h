#pragma once

#include <expected>
#include <string>

#include "conf/target.h"
#include "gateway/planning/scenario.h"

namespace classgate::planning {

// What an operator wants to hold (conf/target.h), and whether a run held it.
struct Target : conf::Target {
  // Infinite where there is nothing to measure: without samples no target is met.
  double measure(const Result& result) const;
  // "140 ms" or "3.10 %"
  std::string print(double value) const;
};

// The error names the column.
std::expected<Target, std::string> parse_target(const std::string& text);

}  // namespace classgate::planning
