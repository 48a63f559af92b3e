#pragma once

#include <expected>
#include <string>
#include <vector>

#include "conf/reader.h"

namespace classgate::conf {

struct CommandLine {
  enum class Mode { run, check, print_config, keys, version, build, help, control };
  Mode mode = Mode::run;
  std::string conf_path;
  std::vector<Override> overrides;
  // Mode::control: what a running classgate is asked.
  std::string command;  // "status", "drain", "reload", "set", "queue" or "upgrade"
  std::vector<std::string> arguments;
  std::string socket;  // empty: as the conf says
  bool as_json = false;
  bool watch = false;
  bool quiet = false;
};

// The error is one line that names the argument and, where there is one, the flag that was meant.
std::expected<CommandLine, std::string> parse_command_line(int argc, const char* const* argv);
std::string help_text();
std::string version_text();
// A line for each key: name, default as TOML, help, "reload" or "restart"; with tabs between.
std::string keys_text();
// Version, compiler, libraries.
std::string build_text();

}  // namespace classgate::conf
