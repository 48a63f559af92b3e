#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "conf/command_line.h"

namespace classgate::planning {

// Where answers go: text to standard output unless JSON was asked for there, JSON and the page
// where the command line says. Returns the exit status.
int write(const conf::PlanningOptions& options, const std::string& text,
          const nlohmann::ordered_json& json);

// What is to be known of the traffic (NamedTraffic::remarks()), to standard error: for answers that
// have no place for it.
void tell_remarks(const std::vector<std::string>& remarks);

}  // namespace classgate::planning
