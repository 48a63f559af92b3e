#pragma once

#include <expected>
#include <string>
#include <utility>
#include <vector>

#include "conf/command_line.h"
#include "conf/settings.h"

namespace classgate::gateway {

using UsageEnvironment = std::vector<std::pair<std::string, std::string>>;

// `classgate usage`: who has used how much, from the history's file; beside a running classgate, or
// of a copy. Returns the exit status: 0, or 1 where nothing can be told, which is said.
int usage(const conf::CommandLine& command, const UsageEnvironment& environment);

// The history's file: that of --file, or in state_dir of the conf.
std::expected<std::string, std::string> usage_file_of(const conf::CommandLine& command,
                                                      const UsageEnvironment& environment);

// Takes a client out of a file that no running classgate writes. Returns the exit status.
int forget_in_file(const std::string& path, const std::string& client);

}  // namespace classgate::gateway
