#pragma once

#include <string>
#include <utility>
#include <vector>

#include "conf/command_line.h"

namespace classgate::gateway {

// `classgate status` and the like: asks the running classgate through its control socket and prints
// what it says. Returns the exit status: 0 good, 1 bad news or refused, 2 nobody there.
int control(const conf::CommandLine& command,
            const std::vector<std::pair<std::string, std::string>>& environment);

}  // namespace classgate::gateway
