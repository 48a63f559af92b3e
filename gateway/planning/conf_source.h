#pragma once

#include <expected>
#include <string>
#include <utility>
#include <vector>

#include "conf/command_line.h"

namespace classgate::planning {

using Environment = std::vector<std::pair<std::string, std::string>>;

// A conf that is asked about, and what it is called.
struct Conf {
  conf::Settings settings;
  std::string name;
};

// The conf of the command line, with everything that it, the environment and --KEY options say. One
// that is not named may be missing: then it is the defaults that are asked about.
std::expected<Conf, std::string> read_conf(const conf::CommandLine& command,
                                           const Environment& environment);
// Its file; empty: the defaults.
std::string conf_path_of(const conf::CommandLine& command);
// Another file in its place, and more overrides ("admission.workers", "40").
std::expected<Conf, std::string> read_conf(const conf::CommandLine& command,
                                           const Environment& environment, const std::string& path,
                                           const std::vector<conf::Override>& more);

// Says it on standard error. Returns the exit status.
int complain(const std::string& text);

}  // namespace classgate::planning
