// Longer than other files: half of it is the tables of options and commands, which both what reads
// them and the help go by.

#include "conf/command_line.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cxxopts.hpp>
#include <limits>
#include <optional>
#include <span>
#include <utility>

#include "conf/format.h"
#include "conf/keys.h"
#include "conf/nearest.h"
#include "conf/units.h"

namespace classgate::conf {
namespace {

constexpr std::string_view default_conf = "/etc/classgate/classgate.conf";

struct KeyFlag {
  const char* flag;
  const char* key;
  const char* help;
};
constexpr std::array key_flags{
    KeyFlag{"listen", "listen", "addresses to listen on, such as 127.0.0.1:8080"},
    KeyFlag{"threads", "threads", "event loops"},
    KeyFlag{"upstream", "upstream.servers", "addresses of the service"},
    KeyFlag{"workers", "admission.workers", "requests in the service at once"},
    KeyFlag{"queue-size", "admission.queue_size", "requests that may wait"},
    KeyFlag{"rate", "admission.rate", "requests a second, 0: no limit"},
    KeyFlag{"burst", "admission.burst", "requests that may come at once"},
    KeyFlag{"request-timeout", "admission.request_timeout", "such as 30s"},
    KeyFlag{"log-level", "log.level", "debug, info, warning or error"},
    KeyFlag{"log-format", "log.format", "text or json"},
};

struct ModeFlag {
  const char* names;
  const char* flag;
  CommandLine::Mode mode;
  const char* help;
};
constexpr std::array mode_flags{
    ModeFlag{"t,check", "check", CommandLine::Mode::check, "test the configuration and exit"},
    ModeFlag{"T,print-config", "print-config", CommandLine::Mode::print_config,
             "test the configuration and print what is in force and where it came from"},
    ModeFlag{"v,version", "version", CommandLine::Mode::version, "print the version"},
    ModeFlag{"V,build", "build", CommandLine::Mode::build,
             "print the version and how it was built"},
    ModeFlag{"keys", "keys", CommandLine::Mode::keys, "list all keys with their defaults"},
    ModeFlag{"h,help", "help", CommandLine::Mode::help, "print this text"},
};

struct Command {
  const char* name;
  std::size_t arguments;
  const char* usage;
  const char* help;
};
constexpr std::array commands{
    Command{"status", 0, "status [--watch] [--json] [--quiet]",
            "what it does now; exits 0 when it can serve, 1 when not, 2 when it is not there"},
    Command{"queue", 0, "queue [--json]", "every waiting request"},
    Command{"explain", 2, "explain METHOD PATH [-H FIELD ...]",
            "what would become of this request now, and why; exits 1 when it would be refused"},
    Command{
        "why", 1, "why ID [--json]",
        "what became of the request with this id, and why; exits 1 when nothing is known of it"},
    Command{"set", 2, "set KEY VALUE", "changes a limit until the next reload"},
    Command{"reload", 0, "reload", "reads the conf again; says what is wrong with it"},
    Command{"upgrade", 0, "upgrade", "starts the installed program in its place, without loss"},
    Command{"drain", 0, "drain", "finishes what was accepted, then ends"},
};

struct CommandOption {
  const char* names;
  const char* name;
  const char* value;     // what its value is called
  const char* implicit;  // its value when none is given; nullptr: one must be
  const char* command;   // or commands
  const char* help;
};
constexpr std::array command_options{
    CommandOption{"clients", "clients", "[=NUMBER]", "10", "status",
                  "with the clients that have most"},
    CommandOption{"H,header", "header", "\"NAME: VALUE\"", nullptr, "explain load",
                  "a field of the request; several: one each"},
    CommandOption{"client", "client", "ADDRESS", nullptr, "explain",
                  "where its connection comes from (127.0.0.1)"},
    CommandOption{"subject", "subject", "TEXT", nullptr, "explain",
                  "of the certificate that its client shows"},
    CommandOption{"san", "san", "NAME", nullptr, "explain",
                  "its alternative name, for identity = \"tls:san\""},
    CommandOption{"listener", "listener", "ADDRESS", nullptr, "explain",
                  "where it connects, as listen has it"},
    CommandOption{"body", "body", "BYTES|FILE", nullptr, "explain load",
                  "how long its body is; of load: the file that is its body"},
};
constexpr std::uint32_t clients_shown_max = 1'000;

// Commands that need no running classgate.
struct Tool {
  const char* name;
  CommandLine::Mode mode;
  const char* usage;
  const char* help;
};
constexpr std::array tools{
    Tool{"simulate", CommandLine::Mode::simulate, "simulate (--log FILE | --workload FILE)",
         "what a conf would do with this traffic, in virtual time"},
    Tool{"key", CommandLine::Mode::new_key, "key new NAME",
         "makes a key for a client: prints it, and its line for clients.clients_file"},
    Tool{"load", CommandLine::Mode::load, "load --to ADDRESS (--log FILE | --workload FILE)",
         "makes this traffic for real; --find-knee measures what a service can do"},
    Tool{"forecast", CommandLine::Mode::forecast, "forecast (--series FILE.csv | --log FILE)",
         "what a load will be, how surely, and how good such forecasts of it were"},
};

// Options of the tools, and which of them have each.
struct ToolOption {
  const char* name;
  const char* value;  // what its value is called; nullptr for a switch
  const char* tools;
  const char* help;
};
constexpr std::array tool_options{
    ToolOption{"log", "FILE", "simulate load forecast",
               "an access log is the traffic; .gz and .zst are read; -: standard input"},
    ToolOption{"format", "NAME", "simulate load forecast",
               "whose log it is, if its first lines do not tell: classgate, nginx, haproxy, envoy, "
               "caddy, json"},
    ToolOption{"workload", "FILE", "simulate load", "a workload file is (classgate-workload(5))"},
    ToolOption{"upstream", "MODEL", "simulate",
               "recorded, fitted, a law such as \"exponential 50ms\", or a file with [upstream]"},
    ToolOption{"html", "FILE", "simulate load forecast",
               "a page with plots, which needs no network"},
    ToolOption{"requests", "FILE", "simulate load", "a line for each request: what became of it"},
    ToolOption{"sweep", "KEY=A..B:STEP", "simulate", "under each of these values; several: a grid"},
    ToolOption{"plan", "TARGET", "simulate",
               "the smallest limits for \"wait p95 <= 100ms for priority 3\", \"served >= 99%\""},
    ToolOption{"scale", "[NAME=]TIMES", "simulate load",
               "so many times the traffic, or that of one class or route"},
    ToolOption{"workload-out", "FILE", "simulate", "the log as a workload, to be edited"},
    ToolOption{"try-on", "FILE", "simulate",
               "another log, on which the plan is tried; else the second half of this one"},
    ToolOption{"diff", "OLD", "simulate", "what changes from the conf OLD to NEW (or --conf)"},
    ToolOption{"to", "ADDRESS", "load",
               "where it goes, such as http://127.0.0.1:9000, or with a path"},
    ToolOption{"find-knee", nullptr, "load",
               "how many requests the service computes at once, and a conf for it"},
    ToolOption{"request", "FILE", "load",
               "what is asked: request line, fields, an empty line, the body"},
    ToolOption{"method", "METHOD", "load", "of the requests; POST with a body"},
    ToolOption{"body-bytes", "SIZE", "load", "a body of this size, such as 4000 or 64KiB"},
    ToolOption{"time", "DURATION", "load", "how long at most, such as 30s (60s)"},
    ToolOption{"connections", "NUMBER", "load", "at once at most (2000)"},
    ToolOption{"anywhere", nullptr, "load", "not only to this machine"},
    ToolOption{"forwarded-for", nullptr, "load", "X-Forwarded-For says which client it is"},
    ToolOption{"service-time-header", "NAME", "load", "tells a test service what a request takes"},
    ToolOption{"seed", "NUMBER", "simulate load", "another course of chance"},
    ToolOption{"keep-going", nullptr, "simulate load forecast",
               "takes what can be read of a log with many malformed lines, or of a damaged file"},
    ToolOption{"series", "FILE", "forecast", "a header, then a time and a value a row"},
    ToolOption{"horizon", "TIME", "forecast", "how far ahead, such as 1h (5m, 15m, 1h and 24h)"},
    ToolOption{"step", "TIME", "forecast", "makes steps of this length of whatever rows there are"},
    ToolOption{"arrivals", nullptr, "forecast", "each row is one arrival, whatever its values"},
    ToolOption{"time-zone", "NAME", "forecast",
               "whose days and weeks, such as Europe/Berlin (UTC)"},
    ToolOption{"backtest", nullptr, "forecast", "only how good it was, over the second half"},
    ToolOption{"autoscale", "RULE", "forecast",
               "what servers scaled by KEDA, KPA, HPA, forecast or all would have missed and cost"},
    ToolOption{"per-server", "NUMBER", "forecast", "the load that one server takes"},
    ToolOption{"start-delay", "TIME", "forecast", "until a new server serves (60s)"},
};

const ToolOption* find_tool_option(std::string_view name) {
  const auto found = std::ranges::find(tool_options, name, &ToolOption::name);
  return found == tool_options.end() ? nullptr : &*found;
}

cxxopts::Options make_options() {
  cxxopts::Options options("classgate",
                           "Admission-control gateway for an HTTP classification service.\n");
  options.custom_help("[-c FILE] [--KEY VALUE ...]\n  classgate [-c FILE] COMMAND");
  options.positional_help("");
  auto add = options.add_options();
  add("c,conf", "the conf file",
      cxxopts::value<std::string>()->default_value(std::string(default_conf)), "FILE");
  auto add_tool = options.add_options("tools");
  for (const ToolOption& option : tool_options) {
    if (std::ranges::find(key_flags, std::string_view(option.name), &KeyFlag::flag) !=
        key_flags.end())
      continue;  // --upstream means the one or the other
    if (option.value == nullptr)
      add_tool(option.name, option.help);
    else
      add_tool(option.name, option.help, cxxopts::value<std::vector<std::string>>(), option.value);
  }
  for (const CommandOption& option : command_options) {
    if (option.implicit != nullptr)
      add_tool(option.names, option.help,
               cxxopts::value<std::string>()->implicit_value(option.implicit), option.value);
    else
      add_tool(option.names, option.help, cxxopts::value<std::vector<std::string>>(), option.value);
  }
  for (const ModeFlag& flag : mode_flags) add(flag.names, flag.help);
  for (const KeyFlag& flag : key_flags)
    add(flag.flag, fmt::format("{} ({})", flag.help, flag.key), cxxopts::value<std::string>(),
        "VALUE");
  options.add_options("commands")("socket", "the control socket (ops.control)",
                                  cxxopts::value<std::string>(),
                                  "PATH")("w,watch", "again every second")(
      "j,json", "as JSON", cxxopts::value<std::string>()->implicit_value("-"))(
      "q,quiet", "say nothing")("command", "", cxxopts::value<std::string>())(
      "arguments", "", cxxopts::value<std::vector<std::string>>());
  options.parse_positional({"command", "arguments"});
  return options;
}

std::vector<std::string> option_names() {
  std::vector<std::string> names{"conf", "socket", "watch", "json", "quiet"};
  for (const ModeFlag& flag : mode_flags) names.emplace_back(flag.flag);
  for (const KeyFlag& flag : key_flags) names.emplace_back(flag.flag);
  for (const ToolOption& option : tool_options) names.emplace_back(option.name);
  for (const CommandOption& option : command_options) names.emplace_back(option.name);
  return names;
}

// "socket" of "--socket=/x"; of what does not begin so, nothing.
std::string long_name_in(std::string_view argument) {
  if (!argument.starts_with("--")) return {};
  return std::string(argument.substr(2, argument.find('=') - 2));
}

// "-q", "-cFILE" or "--socket=/x", whatever follows it.
bool is_option(std::string_view argument) {
  constexpr std::string_view letters = "cHhjqTtVvw";
  if (!argument.starts_with("--")) return argument.size() > 1 && letters.contains(argument[1]);
  const std::vector<std::string> names = option_names();
  return std::ranges::find(names, long_name_in(argument)) != names.end();
}

// The value of "set KEY VALUE" is one though it begins with a dash, as in -1: the parser takes what
// stands behind "--" as it is.
std::vector<const char*> with_value_apart(int argc, const char* const* argv) {
  std::vector<const char*> words(argv, argv + argc);
  const auto is = [](std::string_view wanted) {
    return [wanted](std::string_view word) { return word == wanted; };
  };
  const auto set = std::ranges::find_if(words, is("set"));
  if (words.end() - set < 3 || std::ranges::any_of(words, is("--"))) return words;
  const std::string_view value(set[2]);
  if (!value.starts_with('-') || is_option(value)) return words;
  std::rotate(set + 1, set + 3, words.end());
  words.insert(words.end() - 2, "--");
  return words;
}

// How the command that is asked for is written; empty: there is none.
std::string usage_in(int argc, const char* const* argv) {
  const std::span words(argv + 1, static_cast<std::size_t>(std::max(argc - 1, 0)));
  for (const std::string_view word : words) {
    if (const auto known = std::ranges::find(commands, word, &Command::name);
        known != commands.end())
      return fmt::format("; usage: classgate {}{}", known->usage,
                         known->arguments == 0 ? "" : "; behind -- a word may begin with a dash");
    if (const auto known = std::ranges::find(tools, word, &Tool::name); known != tools.end())
      return fmt::format("; usage: classgate {}; see classgate --help", known->usage);
  }
  return {};
}

// What the parser can't say: which flag was meant.
std::string suggestion(int argc, const char* const* argv) {
  const std::vector<std::string> known = option_names();
  for (int i = 1; i < argc; ++i) {
    const std::string name = long_name_in(argv[i]);
    if (name.empty()) continue;
    if (std::ranges::find(known, name) != known.end()) continue;
    const std::string meant = nearest(name, known);
    if (!meant.empty()) return fmt::format("; did you mean --{}?", meant);
  }
  const std::string usage = usage_in(argc, argv);
  return usage.empty() ? "; see classgate --help" : usage;
}

// As they were written: the parser itself takes commas for ends of values.
std::vector<std::string> all_of(const cxxopts::ParseResult& given, std::string_view name) {
  std::vector<std::string> values;
  for (const auto& argument : given.arguments())
    if (argument.key() == name) values.push_back(argument.value());
  return values;
}

// The only one, or nothing.
std::expected<std::string, std::string> one_of(const cxxopts::ParseResult& given,
                                               std::string_view name) {
  const std::vector<std::string> values = all_of(given, name);
  if (values.size() > 1) return std::unexpected(fmt::format("--{} is given twice", name));
  return values.empty() ? std::string() : values.front();
}

// "explain load" as people say it.
std::string listed(std::string text) {
  if (const std::size_t last = text.rfind(' '); last != std::string::npos) {
    text.replace(last, 1, " or ");
    for (std::size_t at = text.find(' '); at != text.rfind(" or "); at = text.find(' ', at + 2))
      text.replace(at, 1, ", ");
  }
  return text;
}

std::optional<std::string> check_tool_options(const cxxopts::ParseResult& given,
                                              std::string_view tool) {
  for (const ToolOption& option : tool_options) {
    const bool is_key_too = std::ranges::find(key_flags, std::string_view(option.name),
                                              &KeyFlag::flag) != key_flags.end();
    const bool is_its = !tool.empty() && std::string_view(option.tools).contains(tool);
    if (given.count(option.name) > 0 && !is_its && !is_key_too)
      return fmt::format("--{} belongs to classgate {}", option.name, listed(option.tools));
  }
  for (const CommandOption& option : command_options)
    if (given.count(option.name) > 0 &&
        (tool.empty() || !std::string_view(option.command).contains(tool)))
      return fmt::format("--{} belongs to classgate {}", option.name, listed(option.command));
  return std::nullopt;
}

// "http://127.0.0.1:9000/embed" is an address and a path. That of a Unix socket has none.
void split_path(PlanningOptions& planning) {
  if (planning.to.starts_with("unix:")) return;
  const std::size_t slashes = planning.to.find("//");
  const std::size_t path = planning.to.find('/', slashes == std::string::npos ? 0 : slashes + 2);
  if (path == std::string::npos) return;
  planning.path = planning.to.substr(path);
  planning.to.resize(path);
  if (planning.path == "/") planning.path.clear();
}

// What the requests of `load` say.
std::optional<std::string> read_question(const cxxopts::ParseResult& given,
                                         PlanningOptions& planning) {
  std::optional<std::string> wrong;
  const auto one = [&](const char* name) -> std::string {
    const auto value = one_of(given, name);
    if (!value) wrong = value.error();
    return value.value_or("");
  };
  planning.request = one("request");
  planning.method = one("method");
  planning.body = one("body");
  planning.fields = all_of(given, "header");
  const std::string size = one("body-bytes");
  if (wrong) return wrong;
  for (const auto& [name, told] : {std::pair("method", "the method"), std::pair("body", "the body"),
                                   std::pair("body-bytes", "the body")})
    if (!planning.request.empty() && given.count(name) > 0)
      return fmt::format("the file of --request tells {}: not with --{}", told, name);
  if (!planning.body.empty() && !size.empty())
    return std::string("--body and --body-bytes both say what the body is: give one of them");
  if (!planning.path.empty()) {
    if (!planning.request.empty())
      return std::string("the file of --request tells the path: --to names the address alone");
    if (!planning.log.empty() || !planning.workload.empty())
      return fmt::format("--{} tells the path of each request: --to names the address alone",
                         planning.log.empty() ? "workload" : "log");
  }
  if (size.empty()) return std::nullopt;
  constexpr Bytes most{64ULL << 20};
  const bool is_plain = size.find_first_not_of("0123456789") == std::string::npos;
  const auto bytes = parse_bytes(is_plain ? size + "B" : size);
  if (!bytes || bytes->count > most.count)
    return fmt::format("--body-bytes: {} is no size such as 4000 or 64KiB, {} at most", quote(size),
                       print_bytes(most));
  planning.body_bytes = bytes->count;
  return std::nullopt;
}

std::optional<std::string> read_planning(const cxxopts::ParseResult& given,
                                         PlanningOptions& planning) {
  const auto all = [&](const char* name) { return all_of(given, name); };
  std::optional<std::string> wrong;
  const auto one = [&](const char* name) -> std::string {
    const auto value = one_of(given, name);
    if (!value) wrong = value.error();
    return value.value_or("");
  };
  planning.log = one("log");
  planning.format = one("format");
  planning.workload = one("workload");
  if (!planning.format.empty() && planning.log.empty())
    return std::string("--format says whose a log is: it belongs to --log");
  planning.upstream = one("upstream");
  planning.json = one("json");
  planning.html = one("html");
  planning.requests = one("requests");
  planning.diff = one("diff");
  planning.sweep = all("sweep");
  planning.plan = all("plan");
  planning.scale = all("scale");
  planning.workload_out = one("workload-out");
  planning.try_on = one("try-on");
  if (!planning.try_on.empty() && planning.plan.empty())
    return std::string("--try-on tries a plan: it belongs to --plan");
  if (!planning.diff.empty() + !planning.sweep.empty() + !planning.plan.empty() > 1)
    return std::string("--diff, --sweep and --plan are three questions: ask one at a time");
  if (!planning.requests.empty() &&
      !(planning.diff.empty() && planning.sweep.empty() && planning.plan.empty()))
    return std::string("--requests tells of one run: not with --diff, --sweep or --plan");
  if (!planning.workload_out.empty() &&
      !(planning.diff.empty() && planning.sweep.empty() && planning.plan.empty()))
    return std::string("--workload-out belongs to one run: not with --diff, --sweep or --plan");
  planning.to = one("to");
  split_path(planning);
  planning.service_time_header = one("service-time-header");
  planning.find_knee = given.count("find-knee") > 0;
  planning.anywhere = given.count("anywhere") > 0;
  planning.forwarded_for = given.count("forwarded-for") > 0;
  if (const std::string time = one("time"); !time.empty()) {
    const auto duration = parse_duration(time);
    if (!duration || *duration == milliseconds::zero() || *duration > std::chrono::hours(366 * 24))
      return fmt::format("--time: \"{}\" is no duration such as 30s, a year at most", time);
    planning.seconds_max = *duration;
  }
  if (const std::string count = one("connections"); !count.empty()) {
    const char* end = count.data() + count.size();
    const auto [stop, error] = std::from_chars(count.data(), end, planning.connections_max);
    if (error != std::errc{} || stop != end || planning.connections_max < 1 ||
        planning.connections_max > 50'000)
      return fmt::format("--connections: \"{}\" is not 1 to 50000", count);
  }
  if (!wrong) wrong = read_question(given, planning);
  planning.keeps_going = given.count("keep-going") > 0;
  if (const std::string seed = one("seed"); !seed.empty()) {
    std::uint64_t number = 0;
    const char* end = seed.data() + seed.size();
    const auto [stop, error] = std::from_chars(seed.data(), end, number);
    if (error != std::errc{} || stop != end)
      return fmt::format("--seed: \"{}\" is not a whole number from 0 to {}", seed,
                         std::numeric_limits<std::uint64_t>::max());
    planning.seed = number;
  }
  return wrong;
}

// A whole number from 0 to `most`.
std::optional<std::uint32_t> read_number(std::string_view text, std::uint32_t most) {
  std::uint32_t number = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || stop != text.data() + text.size() || number > most)
    return std::nullopt;
  return number;
}

std::optional<std::string> read_series(const cxxopts::ParseResult& given, CommandLine& command) {
  if (auto wrong = read_planning(given, command.planning)) return wrong;
  auto options = read_forecast({.series = all_of(given, "series"),
                                .horizon = all_of(given, "horizon"),
                                .step = all_of(given, "step"),
                                .time_zone = all_of(given, "time-zone"),
                                .autoscale = all_of(given, "autoscale"),
                                .start_delay = all_of(given, "start-delay"),
                                .per_server = all_of(given, "per-server"),
                                .backtest = given.count("backtest") > 0,
                                .arrivals = given.count("arrivals") > 0});
  if (!options) return options.error();
  command.forecast = std::move(*options);
  if (command.forecast.series.empty() != command.planning.log.empty()) return std::nullopt;
  return std::string("what is to be forecast? Give either --series FILE.csv or --log FILE");
}

// "--clients", "--clients=5" or "--clients 5".
std::optional<std::string> read_status(const cxxopts::ParseResult& given, CommandLine& command) {
  if (given.count("clients") == 0) return std::nullopt;
  auto text = one_of(given, "clients");
  if (!text) return text.error();
  if (command.arguments.size() == 1) {
    text = command.arguments.front();
    command.arguments.clear();
  }
  command.clients = read_number(*text, clients_shown_max);
  if (command.clients) return std::nullopt;
  return fmt::format("--clients: {} is not 0 to {}", quote(*text), clients_shown_max);
}

std::optional<std::string> read_request(const cxxopts::ParseResult& given, CommandLine& command) {
  auto request = read_explain({.arguments = command.arguments,
                               .fields = all_of(given, "header"),
                               .client = all_of(given, "client"),
                               .subject = all_of(given, "subject"),
                               .san = all_of(given, "san"),
                               .listener = all_of(given, "listener"),
                               .body = all_of(given, "body")});
  if (!request) return request.error();
  command.explain = std::move(*request);
  return std::nullopt;
}

// What is wrong with the words that are no options.
std::optional<std::string> read_command(const cxxopts::ParseResult& given, CommandLine& command) {
  const bool has_command = given.count("command") > 0;
  for (const char* option : {"socket", "watch", "json", "quiet"})
    if (!has_command && given.count(option) > 0)
      return fmt::format("--{} belongs to a command, such as \"classgate status\"", option);
  const std::string name = has_command ? given["command"].as<std::string>() : "";
  const auto tool = std::ranges::find(tools, name, &Tool::name);
  if (auto wrong = check_tool_options(given, name)) return wrong;
  if (!has_command) return std::nullopt;
  command.command = name;
  command.arguments = all_of(given, "arguments");
  if (tool != tools.end()) {
    command.mode = tool->mode;
    for (const char* option : {"socket", "watch", "quiet"})
      if (given.count(option) > 0)
        return fmt::format("--{} belongs to a running classgate, not to {}", option, name);
    if (command.mode == CommandLine::Mode::new_key) {
      if (command.arguments.size() == 2 && command.arguments.front() == "new") return std::nullopt;
      return fmt::format("usage: classgate {}", tool->usage);
    }
    const std::size_t most = given.count("diff") > 0 ? 1 : 0;  // NEW
    if (command.arguments.size() > most)
      return fmt::format("\"{}\": usage: classgate {}", command.arguments.front(), tool->usage);
    if (command.mode == CommandLine::Mode::forecast) return read_series(given, command);
    return read_planning(given, command.planning);
  }
  command.mode = CommandLine::Mode::control;
  if (given.count("socket") > 0) command.socket = given["socket"].as<std::string>();
  command.as_json = given.count("json") > 0;
  command.watch = given.count("watch") > 0;
  command.quiet = given.count("quiet") > 0;
  if (auto wrong = read_status(given, command)) return wrong;
  std::vector<std::string> names;
  for (const Tool& known : tools) names.emplace_back(known.name);
  for (const Command& known : commands) {
    names.emplace_back(known.name);
    if (command.command != known.name) continue;
    if (command.arguments.size() != known.arguments)
      return fmt::format("usage: classgate {}", known.usage);
    if (name == "explain") return read_request(given, command);
    return std::nullopt;
  }
  const std::string meant = nearest(command.command, names);
  return fmt::format(
      "\"{}\" is neither an option nor a command{}", command.command,
      meant.empty() ? "; see classgate --help" : fmt::format("; did you mean {}?", meant));
}

std::string commands_text() {
  std::string text = "\nCommands, for a running classgate:\n";
  for (const Command& command : commands)
    text += fmt::format("  {:<36} {}\n", command.usage, command.help);
  text += "  with --socket PATH for another control socket than the conf's (ops.control)\n";
  for (const CommandOption& option : command_options)
    text += fmt::format(
        "  {:<36} {}: {}\n",
        fmt::format("--{}{}{}", option.name, option.value[0] == '[' ? "" : " ", option.value),
        listed(option.command), option.help);
  text += "\nTools, for which none has to run:\n";
  for (const Tool& tool : tools) text += fmt::format("  {:<36} {}\n", tool.usage, tool.help);
  for (const ToolOption& option : tool_options)
    text += fmt::format(
        "  --{:<34} {}\n",
        option.value == nullptr ? option.name : fmt::format("{} {}", option.name, option.value),
        option.help);
  return text;
}

}  // namespace

std::expected<CommandLine, std::string> parse_command_line(int argc, const char* const* argv) {
  try {
    cxxopts::Options options = make_options();
    const std::vector<const char*> words = with_value_apart(argc, argv);
    const cxxopts::ParseResult given = options.parse(static_cast<int>(words.size()), words.data());
    if (!given.unmatched().empty())
      return std::unexpected(
          fmt::format("\"{}\" is not an option; see classgate --help", given.unmatched().front()));
    CommandLine command;
    if (auto wrong = read_command(given, command)) return std::unexpected(*wrong);
    command.conf_path = given["conf"].as<std::string>();
    command.names_conf = given.count("conf") > 0;
    for (const ModeFlag& flag : mode_flags)
      if (given.count(flag.flag) > 0) command.mode = flag.mode;
    const bool is_tool = command.mode == CommandLine::Mode::simulate ||
                         command.mode == CommandLine::Mode::load ||
                         command.mode == CommandLine::Mode::forecast;
    for (const KeyFlag& flag : key_flags) {
      if (is_tool && find_tool_option(flag.flag) != nullptr) continue;
      std::string value;
      for (const auto& argument : given.arguments())  // one that may be repeated makes a list
        if (argument.key() == flag.flag) value += (value.empty() ? "" : ",") + argument.value();
      if (given.count(flag.flag) > 0) command.overrides.push_back({flag.key, value, flag.flag});
    }
    return command;
  } catch (const cxxopts::exceptions::exception& failure) {
    return std::unexpected(failure.what() + suggestion(argc, argv));
  }
}

std::string help_text() {
  return make_options().help({""}) + commands_text() +
         "\nEvery key of the conf file can also be set by environment: admission.workers is\n"
         "CLASSGATE_ADMISSION_WORKERS; PORT alone changes the listening port. The command line "
         "wins\n"
         "over the environment, that over the file, that over the defaults.\n";
}

std::string keys_text() {
  std::string text;
  const Settings defaults;
  for (const Key& key : all_keys())
    text += fmt::format("{}\t{}\t{}\t{}\n", key.name,
                        key.default_text.empty() ? key.print(defaults) : key.default_text, key.help,
                        key.needs_restart ? "restart" : "reload");
  return text;
}

std::string version_text() { return fmt::format("classgate {}\n", CLASSGATE_VERSION); }

std::string build_text() {
  return fmt::format("classgate {}\nbuilt with {} {}, C++ {}\n", CLASSGATE_VERSION,
#if defined(__clang__)
                     "clang",
#else
                     "g++",
#endif
                     __VERSION__, __cplusplus);
}

}  // namespace classgate::conf
