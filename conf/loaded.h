#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "conf/settings.h"

// A conf that has been read: its settings, with where each comes from; what it says in print, and
// what another one says differently.

namespace classgate::conf {

// What files of the conf said when they were read: path and text, in the order of reading.
using Texts = std::vector<std::pair<std::string, std::string>>;

struct ValueInForce {
  std::string key;
  std::string value;   // as TOML
  std::string origin;  // "default", "classgate.conf:12:1", "environment PORT", ...
};

// One thing that is wrong: where, what, and how to mend it.
struct Mistake {
  std::string
      place;  // "classgate.conf:12:5", "environment CLASSGATE_THREADS", "command line --workers"
  std::string text;
  bool operator==(const Mistake&) const = default;
};

struct Loaded {
  Settings settings;
  std::vector<ValueInForce> values;                           // in the order of the table of keys
  std::vector<std::pair<RouteSettings, std::string>> routes;  // with their origins
  std::string plans;                                          // as print() says them
  std::shared_ptr<const Texts> texts;                         // what the files said
  std::vector<Mistake> warnings;                              // what is good, and of no use
};

// Of print() what some source said itself: no defaults, and no routes that are built in.
std::string print_said(const Loaded& loaded);

// What is wrong with what a key names (a file, an address), with the place of that key in front, as
// mistakes of a conf have it. The line begins with the key, or names it in parentheses, as messages
// do; without one, or where the key has its default, it stays as it is.
std::string with_place(const Loaded& loaded, const std::string& line);

// A value that was set, as logs and answers may show it: without what may be a secret.
std::string shown_value(std::string_view key, const std::string& value);
// Of a key, or of what a plan says ("plan.gold.rate"), as print() has it.
std::string value_in(const Settings& settings, std::string_view key);

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
