#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "conf/command_line.h"

namespace classgate::planning {

// Where answers go: text to standard output unless JSON was asked for there, JSON and the page
// where the command line says. Returns the exit status.
int write(const conf::PlanningOptions& options, const std::string& text,
          const nlohmann::ordered_json& json);

// A page made of a template: the data stands in place of its "/*DATA*/null". What is wrong is said.
bool write_page(const std::string& path, std::string_view page_template,
                const nlohmann::ordered_json& data);

// What is to be known of the traffic (NamedTraffic::remarks()), to standard error: for answers that
// have no place for it.
void tell_remarks(const std::vector<std::string>& remarks);

}  // namespace classgate::planning
