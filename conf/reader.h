#pragma once

#include <expected>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "conf/settings.h"

namespace classgate::conf {

// One thing that is wrong: where, what, and how to mend it.
struct Mistake {
  std::string
      place;  // "classgate.conf:12:5", "environment CLASSGATE_THREADS", "command line --workers"
  std::string text;
};

// A setting given on the command line.
struct Override {
  std::string key;
  std::string value;
  std::string flag;  // as the user knows it, without dashes
};

// What files of the conf said when they were read: path and text, in the order of reading.
using Texts = std::vector<std::pair<std::string, std::string>>;

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

struct ValueInForce {
  std::string key;
  std::string value;   // as TOML
  std::string origin;  // "default", "classgate.conf:12:1", "environment PORT", ...
};

struct Loaded {
  Settings settings;
  std::vector<ValueInForce> values;                           // in the order of the table of keys
  std::vector<std::pair<RouteSettings, std::string>> routes;  // with their origins
  std::string plans;                                          // as print() says them
  std::shared_ptr<const Texts> texts;                         // what the files said
};

// Reads all sources and reports every mistake, those of the file in the order of their places.
// usable_processors() stands in for `threads` when nobody names one.
std::expected<Loaded, std::vector<Mistake>> load(const Sources& sources);

// What another conf changes without a restart, a line each, without the secrets that a plan or a
// route may hold; empty when nothing.
std::vector<std::string> changes_between(const Loaded& before, const Loaded& after);
// Where `after` listens, or forwards to, as built in, only because nothing says any more what
// `before` said: a file that was emptied, or cut off. A line each, with what to write to mean it.
std::vector<std::string> lost_between(const Loaded& before, const Loaded& after);

// The settings in force as a conf file that gives the same settings; each line says where its value
// came from.
std::string print(const Loaded& loaded);

}  // namespace classgate::conf
