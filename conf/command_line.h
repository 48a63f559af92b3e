#pragma once

#include <expected>
#include <string>
#include <vector>

#include "conf/reader.h"

namespace classgate::conf {

struct CommandLine {
  enum class Mode { run, check, print_config, version, build, help };
  Mode mode = Mode::run;
  std::string conf_path;
  std::vector<Override> overrides;
};

// The error is one line that names the argument and, where there is one, the flag that was meant.
std::expected<CommandLine, std::string> parse_command_line(int argc, const char* const* argv);
std::string help_text();
std::string version_text();
// Version, compiler, libraries.
std::string build_text();

}  // namespace classgate::conf
