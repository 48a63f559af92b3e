#pragma once

#include <expected>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "conf/loaded.h"
#include "conf/settings.h"

namespace classgate::conf {

// A setting given on the command line.
struct Override {
  std::string key;
  std::string value;
  std::string flag;  // as the user knows it, without dashes
};

// Where settings come from, in rising order: defaults, the file, the files *.conf in the folder
// conf.d beside it (in the order of their names), environment, command line, what was set at run
// time.
struct Sources {
  std::string conf_path;
  std::vector<std::pair<std::string, std::string>> environment;  // all variables
  std::vector<Override> command_line;
  std::vector<Override> run_time = {};
  // What was read before is taken from here; null: everything is read from the files.
  std::shared_ptr<const Texts> texts = nullptr;
};

// Reads all sources and reports every mistake, those of the file in the order of their places.
// usable_processors() stands in for `threads` when nobody names one.
std::expected<Loaded, std::vector<Mistake>> load(const Sources& sources);

// Where a process with this conf has its control socket (ops.control), whatever else is wrong with
// the conf; the mistakes, where they leave that open: a file that cannot be read, or is no TOML.
std::expected<std::string, std::vector<Mistake>> control_socket(const Sources& sources);

// What the conf says of state_dir, whatever else is wrong with it: "auto" where that cannot be
// read.
std::string state_dir(const Sources& sources);

}  // namespace classgate::conf
