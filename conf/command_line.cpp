// Longer than most: whatever may stand on the command line is read here, each command beside the
// others that share its options.
#include "conf/command_line.h"

#include <algorithm>
#include <charconv>
#include <cxxopts.hpp>
#include <optional>
#include <span>
#include <utility>

#include "conf/command_words.h"
#include "conf/format.h"
#include "conf/keys.h"
#include "conf/nearest.h"
#include "conf/units.h"

namespace classgate::conf {
namespace {

constexpr std::string_view default_conf = "/etc/classgate/classgate.conf";

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
      "q,quiet", "say nothing")("live",
                                "whether the gateway itself is well, whatever the service does")(
      "command", "", cxxopts::value<std::string>())("arguments", "",
                                                    cxxopts::value<std::vector<std::string>>());
  options.parse_positional({"command", "arguments"});
  return options;
}

std::vector<std::string> option_names() {
  std::vector<std::string> names{"conf", "socket", "watch", "json", "quiet", "live"};
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
GivenOptions options_of(const cxxopts::ParseResult& given) {
  GivenOptions options;
  for (const auto& argument : given.arguments()) options.add(argument.key(), argument.value());
  return options;
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

// A whole number from 0 to `most`.
std::optional<std::uint32_t> read_number(std::string_view text, std::uint32_t most) {
  std::uint32_t number = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || stop != text.data() + text.size() || number > most)
    return std::nullopt;
  return number;
}

std::optional<std::string> read_series(const GivenOptions& given, CommandLine& command) {
  if (auto wrong = read_planning(given, command.planning)) return wrong;
  auto options = read_forecast({.series = given.all("series"),
                                .of = given.all("of"),
                                .horizon = given.all("horizon"),
                                .step = given.all("step"),
                                .time_zone = given.all("time-zone"),
                                .autoscale = given.all("autoscale"),
                                .start_delay = given.all("start-delay"),
                                .per_server = given.all("per-server"),
                                .backtest = given.has("backtest"),
                                .arrivals = given.has("arrivals")});
  if (!options) return options.error();
  command.forecast = std::move(*options);
  if (command.forecast.series.empty() != command.planning.log.empty()) return std::nullopt;
  return std::string("what is to be forecast? Give either --series FILE.csv or --log FILE");
}

// "--clients", "--clients=5" or "--clients 5".
std::optional<std::string> read_status(const GivenOptions& given, CommandLine& command) {
  if (!given.has("clients")) return std::nullopt;
  auto text = given.one("clients");
  if (!text) return text.error();
  if (command.arguments.size() == 1) {
    text = command.arguments.front();
    command.arguments.clear();
  }
  command.clients = read_number(*text, clients_shown_max);
  if (command.clients) return std::nullopt;
  return fmt::format("--clients: {} is not 0 to {}", quote(*text), clients_shown_max);
}

std::optional<std::string> read_request(const GivenOptions& given, CommandLine& command) {
  auto request = read_explain({.arguments = command.arguments,
                               .fields = given.all("header"),
                               .client = given.all("client"),
                               .subject = given.all("subject"),
                               .san = given.all("san"),
                               .listener = given.all("listener"),
                               .body = given.all("body")});
  if (!request) return request.error();
  command.explain = std::move(*request);
  return std::nullopt;
}

std::optional<std::string> read_usage_into(const GivenOptions& given, CommandLine& command) {
  auto options = read_usage(given);
  if (!options) return options.error();
  command.usage = std::move(*options);
  return std::nullopt;
}

std::optional<std::string> read_forget(const GivenOptions& given, CommandLine& command) {
  auto file = given.one("file");
  if (!file) return file.error();
  if (command.arguments.front().empty()) return std::string("usage: classgate forget CLIENT");
  command.usage.file = std::move(*file);
  return std::nullopt;
}

// The number of a conf that was kept; the error says how the command is written.
std::expected<std::uint64_t, std::string> read_kept_number(std::string_view usage,
                                                           const std::string& word) {
  std::uint64_t number = 0;
  const char* const end = word.data() + word.size();
  if (const auto [stop, error] = std::from_chars(word.data(), end, number);
      error == std::errc{} && stop == end && number > 0)
    return number;
  return std::unexpected(
      fmt::format("usage: classgate conf {}; {} is none: classgate conf history tells which there "
                  "are",
                  usage, quote(word)));
}

// "conf history [--json]", "conf show NUMBER", "conf rollback [NUMBER] [--socket PATH] [--quiet]"
std::optional<std::string> read_conf_words(const cxxopts::ParseResult& given,
                                           CommandLine& command) {
  const std::vector<std::string>& words = command.arguments;
  const std::string_view what = words.empty() ? std::string_view() : words.front();
  const bool is_rollback = what == "rollback" && words.size() <= 2;
  const bool is_show = what == "show" && words.size() == 2;
  const bool is_history = what == "history" && words.size() == 1;
  if (!is_rollback && !is_show && !is_history)
    return std::string("usage: classgate conf history | conf show NUMBER | conf rollback [NUMBER]");
  for (const char* option : {"socket", "watch", "quiet", "json", "live"}) {
    const std::string_view name(option);
    const bool is_its =
        is_rollback ? name == "socket" || name == "quiet" : is_history && name == "json";
    if (given.count(option) > 0 && !is_its)
      return fmt::format("--{} does not belong to classgate conf {}", name, words.front());
  }
  command.as_json = given.count("json") > 0;
  command.quiet = given.count("quiet") > 0;
  if (given.count("socket") > 0) command.socket = given["socket"].as<std::string>();
  if (is_history) return std::nullopt;
  command.mode = is_show ? CommandLine::Mode::conf_show : CommandLine::Mode::conf_rollback;
  if (words.size() == 1) return std::nullopt;
  const auto number = read_kept_number(is_show ? "show NUMBER" : "rollback [NUMBER]", words[1]);
  if (!number) return number.error();
  command.number = *number;
  return std::nullopt;
}

// An option with one value that is given twice: which was meant? (The parser would join the values
// of some, and take the last of others.)
std::optional<std::string> given_twice(const cxxopts::ParseResult& given) {
  const auto is_list = [](const KeyFlag& flag) {
    Settings scratch;
    const RawValue two{std::vector<std::string>{"127.0.0.1:1", "127.0.0.1:2"}};
    return find_key(flag.key)->read(scratch, two).has_value();
  };
  std::vector<std::string> names{"conf", "socket"};
  for (const KeyFlag& flag : key_flags)
    if (!is_list(flag)) names.emplace_back(flag.flag);
  for (const std::string& name : names)
    if (const std::size_t times = given.count(name); times > 1)
      return fmt::format("--{} is given {} times, and has one value: give it once", name, times);
  return std::nullopt;
}

// What is wrong with the words that are no options.
std::optional<std::string> read_command(const cxxopts::ParseResult& given, CommandLine& command) {
  const bool has_command = given.count("command") > 0;
  for (const char* option : {"socket", "watch", "json", "quiet", "live"})
    if (!has_command && given.count(option) > 0)
      return fmt::format("--{} belongs to a command, such as \"classgate status\"", option);
  const GivenOptions options = options_of(given);
  const std::string name = has_command ? given["command"].as<std::string>() : "";
  const auto tool = std::ranges::find(tools, name, &Tool::name);
  if (auto wrong = check_tool_options(given, name)) return wrong;
  if (!has_command) return std::nullopt;
  command.command = name;
  command.arguments = options.all("arguments");
  if (tool != tools.end()) {
    command.mode = tool->mode;
    if (command.mode == CommandLine::Mode::conf_history) return read_conf_words(given, command);
    for (const char* option : {"socket", "watch", "quiet", "live"})
      if (given.count(option) > 0)
        return fmt::format("--{} belongs to a running classgate, not to {}", option, name);
    if (command.mode == CommandLine::Mode::new_key) {
      if (command.arguments.size() == 2 && command.arguments.front() == "new") return std::nullopt;
      return fmt::format("usage: classgate {}", tool->usage);
    }
    const std::size_t most = given.count("diff") > 0 ? 1 : 0;  // NEW
    if (command.arguments.size() > most)
      return fmt::format("\"{}\": usage: classgate {}", command.arguments.front(), tool->usage);
    if (command.mode == CommandLine::Mode::forecast) return read_series(options, command);
    if (command.mode == CommandLine::Mode::usage) return read_usage_into(options, command);
    return read_planning(options, command.planning);
  }
  command.mode = CommandLine::Mode::control;
  if (given.count("socket") > 0) command.socket = given["socket"].as<std::string>();
  command.as_json = given.count("json") > 0;
  command.watch = given.count("watch") > 0;
  command.quiet = given.count("quiet") > 0;
  command.live = given.count("live") > 0;
  if (command.live && (name != "status" || command.watch || command.as_json))
    return std::string("--live belongs to classgate status, without --watch and --json");
  if (auto wrong = read_status(options, command)) return wrong;
  std::vector<std::string> names;
  for (const Tool& known : tools) names.emplace_back(known.name);
  for (const Command& known : commands) {
    names.emplace_back(known.name);
    if (command.command != known.name) continue;
    if (command.arguments.size() != known.arguments)
      return fmt::format("usage: classgate {}", known.usage);
    if (name == "explain") return read_request(options, command);
    if (name == "forget") return read_forget(options, command);
    return std::nullopt;
  }
  const std::string meant = nearest(command.command, names);
  return fmt::format(
      "\"{}\" is neither an option nor a command{}", command.command,
      meant.empty() ? "; see classgate --help" : fmt::format("; did you mean {}?", meant));
}

std::string option_text(const CommandOption& option) {
  return fmt::format("--{}{}{}", option.name, option.value[0] == '[' ? "" : " ", option.value);
}

std::string option_text(const ToolOption& option) {
  return option.value == nullptr ? fmt::format("--{}", option.name)
                                 : fmt::format("--{} {}", option.name, option.value);
}

// Of one command or tool: how it is written, and what belongs to it.
template <typename Word>
std::string help_about(const Word& word, std::string_view common) {
  std::string text =
      fmt::format("Usage:\n  classgate {}\n\n{}\n\n", word.usage, std::string_view(word.help));
  const std::string_view name(word.name);
  const auto add = [&](const std::string& option, std::string_view help) {
    text += fmt::format("  {:<28} {}\n", option, help);
  };
  for (const ToolOption& option : tool_options)
    if (std::string_view(option.tools).contains(name)) add(option_text(option), option.help);
  for (const CommandOption& option : command_options)
    if (std::string_view(option.command).contains(name)) add(option_text(option), option.help);
  return fmt::format("{}{}\nclassgate(8) has the rest; classgate --help names all commands.\n",
                     text, common);
}

std::string commands_text() {
  std::string text = "\nCommands, for a running classgate:\n";
  for (const Command& command : commands)
    text += fmt::format("  {:<36} {}\n", command.usage, command.help);
  text += "  with --socket PATH for another control socket than the conf's (ops.control)\n";
  for (const CommandOption& option : command_options)
    text +=
        fmt::format("  {:<36} {}: {}\n", option_text(option), listed(option.command), option.help);
  text += "\nTools, for which none has to run:\n";
  for (const Tool& tool : tools) text += fmt::format("  {:<36} {}\n", tool.usage, tool.help);
  for (const ToolOption& option : tool_options)
    text += fmt::format("  {:<36} {}\n", option_text(option), option.help);
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
    if (given.count("help") > 0 && given.count("command") > 0) {
      // Whoever asks how it is written has not written it yet.
      command.mode = CommandLine::Mode::help;
      command.command = given["command"].as<std::string>();
      if (!help_text(command.command).empty()) return command;
    }
    if (auto wrong = given_twice(given)) return std::unexpected(*wrong);
    if (auto wrong = read_command(given, command)) return std::unexpected(*wrong);
    command.conf_path = given["conf"].as<std::string>();
    command.names_conf = given.count("conf") > 0;
    for (const ModeFlag& flag : mode_flags)
      if (given.count(flag.flag) > 0) command.mode = flag.mode;
    const bool is_tool =
        command.mode == CommandLine::Mode::simulate || command.mode == CommandLine::Mode::load ||
        command.mode == CommandLine::Mode::forecast || command.mode == CommandLine::Mode::usage;
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

std::string help_text(std::string_view command) {
  if (const auto known = std::ranges::find(commands, command, &Command::name);
      known != commands.end())
    return help_about(*known, "  --socket PATH                the control socket (ops.control)\n");
  if (const auto tool = std::ranges::find(tools, command, &Tool::name); tool != tools.end())
    return help_about(*tool, tool->mode == CommandLine::Mode::new_key
                                 ? ""
                                 : "  --json[=FILE]                as JSON\n"
                                   "  -c, --conf FILE              the conf file\n");
  return {};
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
