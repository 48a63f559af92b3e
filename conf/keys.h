#pragma once

#include <expected>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "conf/settings.h"

namespace classgate::conf {

// A value as it was written: typed in a file, plain text elsewhere ("text" is true), where it is
// understood as the key demands.
struct RawValue {
  // monostate: nothing that any key understands, such as a date or a list of numbers.
  std::variant<std::monostate, std::int64_t, double, bool, std::string, std::vector<std::string>>
      value;
  bool is_text = false;
};
using Read = std::expected<void, std::string>;  // the error without the key

// One setting: its dotted name, how it is read and printed, and what an operator should know. The
// table of all keys drives the file, the environment, the command line, --print-config and the
// checks, so that they can't drift apart.
struct Key {
  std::string name;  // "admission.workers"
  std::string help;  // unit, range
  std::function<Read(Settings&, const RawValue&)> read;
  std::function<std::string(const Settings&)> print;  // as TOML
  bool needs_restart = false;                         // a reload does not change it
  std::string default_text = {};  // where the default is found at the start; empty: as printed
};

const std::vector<Key>& all_keys();
const Key* find_key(std::string_view name);
// "CLASSGATE_ADMISSION_WORKERS"
std::string environment_name(std::string_view key);

}  // namespace classgate::conf
