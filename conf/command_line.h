#pragma once

#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "conf/explain_options.h"
#include "conf/forecast_options.h"
#include "conf/reader.h"

namespace classgate::conf {

// What `classgate simulate` and `classgate load` are asked.
struct PlanningOptions {
  std::string log = {};       // an access log, or ...
  std::string workload = {};  // ... a workload file
  std::string format = {};    // whose the log is; empty: its first lines tell
  std::string upstream = {};  // "recorded", "fitted", a law, or a file with an [upstream]
  std::string json = {};      // a file, "-" for standard output, empty for none
  std::string html = {};
  std::string requests = {};  // a file with a line for each request
  std::optional<std::uint64_t> seed = {};
  bool keeps_going = false;  // whatever share of the lines is malformed
  std::vector<std::string> sweep = {};
  std::vector<std::string> plan = {};
  std::vector<std::string> scale = {};  // "3", "classify=3"
  std::string workload_out = {};        // a file that is made of the log
  std::string try_on = {};              // another log, for the plan
  std::string diff = {};                // the old conf
  // load
  std::string to = {};       // "http://127.0.0.1:8080"
  std::string path = {};     // what followed it there: "/embed"
  std::string request = {};  // a file with a request, or ...
  std::string method = {};   // ... what each of them says
  std::string body = {};     // a file
  std::optional<std::uint64_t> body_bytes = {};
  std::vector<std::string> fields = {};  // "Name: value"
  std::string service_time_header = {};  // tells a test service what each request takes
  bool forwarded_for = false;
  bool find_knee = false;
  bool anywhere = false;  // not only this machine
  milliseconds seconds_max{60'000};
  std::uint32_t connections_max = 2'000;
};

struct CommandLine {
  enum class Mode {
    run,
    check,
    print_config,
    keys,
    version,
    build,
    help,
    control,
    simulate,
    load,
    forecast,
    new_key,  // the second argument is the client's name
  };
  Mode mode = Mode::run;
  std::string conf_path;
  std::vector<Override> overrides;
  // Mode::control: what a running classgate is asked.
  std::string
      command;  // "status", "explain", "why", "drain", "reload", "set", "queue" or "upgrade"
  std::vector<std::string> arguments;
  std::string socket;  // empty: as the conf says
  bool as_json = false;
  bool watch = false;
  bool quiet = false;
  std::optional<std::uint32_t> clients;  // that `status` lists
  ExplainOptions explain;
  // Mode::simulate, Mode::load
  PlanningOptions planning;
  ForecastOptions forecast;  // Mode::forecast, which has a log and places for answers in planning
  bool names_conf = false;   // with --conf; else that of the package, where there is one
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
