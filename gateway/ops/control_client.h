#pragma once

#include <expected>
#include <string>
#include <utility>
#include <vector>

#include "conf/command_line.h"

namespace classgate::gateway {

// `classgate status` and the like: asks the running classgate through its control socket and prints
// what it says. Returns the exit status: 0 good, 1 bad news or refused, 2 nobody there.
int control(const conf::CommandLine& command,
            const std::vector<std::pair<std::string, std::string>>& environment);

// Where the running one listens: as the conf says, which may be bad now and have been good when it
// was read, or --socket. Where the conf leaves that open the error says so: an order must not go to
// another process, which listens as built in. May be "off".
std::expected<std::string, std::string> control_path(
    const conf::CommandLine& command,
    const std::vector<std::pair<std::string, std::string>>& environment);
// Nobody listens there.
bool is_deserted(const std::string& path);

}  // namespace classgate::gateway
