#pragma once

#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "conf/explain_options.h"
#include "conf/forecast_options.h"
#include "conf/planning_options.h"
#include "conf/reader.h"
#include "conf/usage_options.h"

namespace classgate::conf {

struct CommandLine {
  enum class Mode {
    run,
    check,
    print_config,
    keys,
    version,
    build,
    help,  // of `command`, when one is named
    control,
    simulate,
    load,
    forecast,
    usage,
    new_key,  // the second argument is the client's name
    conf_history,
    conf_show,      // of the kept ones that with `number`
    conf_rollback,  // `number` says to which; 0: to the one before
  };
  Mode mode = Mode::run;
  std::string conf_path;
  std::vector<Override> overrides;
  // Mode::control: what a running classgate is asked.
  std::string command;  // "status", "explain", "why", "drain", "reload", "set", "queue", "forget"
                        // or "upgrade"
  std::vector<std::string> arguments;
  std::string socket;  // empty: as the conf says
  bool as_json = false;
  bool watch = false;
  bool quiet = false;
  bool live = false;                     // `status` of the process alone
  std::optional<std::uint32_t> clients;  // that `status` lists
  ExplainOptions explain;
  // Mode::simulate, Mode::load
  PlanningOptions planning;
  ForecastOptions forecast;  // Mode::forecast, which has a log and places for answers in planning
  UsageOptions usage;        // Mode::usage; of `forget` the file alone
  std::uint64_t number = 0;  // Mode::conf_rollback, Mode::conf_show
  bool names_conf = false;   // with --conf; else that of the package, where there is one
};

// The error is one line that names the argument and, where there is one, the flag that was meant.
std::expected<CommandLine, std::string> parse_command_line(int argc, const char* const* argv);
std::string help_text();
// Of one command or tool; empty: there is none of this name.
std::string help_text(std::string_view command);
std::string version_text();
// A line for each key: name, default as TOML, help, "reload" or "restart"; with tabs between.
std::string keys_text();
// Version, compiler, libraries.
std::string build_text();

}  // namespace classgate::conf
