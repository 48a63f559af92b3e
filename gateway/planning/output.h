#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "conf/command_line.h"

namespace classgate::planning {

// Where answers go: text to standard output unless JSON was asked for there, JSON and the page
// where the command line says. Returns the exit status.
int write(const conf::PlanningOptions& options, const std::string& text,
          const nlohmann::ordered_json& json);

}  // namespace classgate::planning
