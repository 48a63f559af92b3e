#pragma once

#include <string>
#include <utility>
#include <vector>

#include "conf/command_line.h"

namespace classgate::planning {

// `classgate forecast`. Returns the exit status: 0, or 1 when something could not be read, or is no
// series that can be forecast.
int forecast(const conf::CommandLine& command,
             const std::vector<std::pair<std::string, std::string>>& environment);

}  // namespace classgate::planning
