#include "conf/command_line.h"

#include <fmt/format.h>

#include <array>
#include <cxxopts.hpp>

#include "conf/nearest.h"

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
    ModeFlag{"h,help", "help", CommandLine::Mode::help, "print this text"},
};

cxxopts::Options make_options() {
  cxxopts::Options options("classgate",
                           "Admission-control gateway for an HTTP classification service.\n");
  options.custom_help("[-c FILE] [--KEY VALUE ...]");
  auto add = options.add_options();
  add("c,conf", "the conf file",
      cxxopts::value<std::string>()->default_value(std::string(default_conf)), "FILE");
  for (const ModeFlag& flag : mode_flags) add(flag.names, flag.help);
  for (const KeyFlag& flag : key_flags)
    add(flag.flag, fmt::format("{} ({})", flag.help, flag.key), cxxopts::value<std::string>(),
        "VALUE");
  return options;
}

// What the parser can't say: which flag was meant.
std::string suggestion(int argc, const char* const* argv) {
  std::vector<std::string> known{"conf"};
  for (const ModeFlag& flag : mode_flags) known.emplace_back(flag.flag);
  for (const KeyFlag& flag : key_flags) known.emplace_back(flag.flag);
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument(argv[i]);
    if (!argument.starts_with("--")) continue;
    const std::string name(argument.substr(2, argument.find('=') - 2));
    if (std::ranges::find(known, name) != known.end()) continue;
    const std::string meant = nearest(name, known);
    if (!meant.empty()) return fmt::format("; did you mean --{}?", meant);
  }
  return "; see classgate --help";
}

}  // namespace

std::expected<CommandLine, std::string> parse_command_line(int argc, const char* const* argv) {
  try {
    cxxopts::Options options = make_options();
    const cxxopts::ParseResult given = options.parse(argc, argv);
    if (!given.unmatched().empty())
      return std::unexpected(
          fmt::format("\"{}\" is not an option; see classgate --help", given.unmatched().front()));
    CommandLine command;
    command.conf_path = given["conf"].as<std::string>();
    for (const ModeFlag& flag : mode_flags)
      if (given.count(flag.flag) > 0) command.mode = flag.mode;
    for (const KeyFlag& flag : key_flags) {
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
  return make_options().help() +
         "\nEvery key of the conf file can also be set by environment: admission.workers is\n"
         "CLASSGATE_ADMISSION_WORKERS; PORT alone sets the listening port. The command line wins\n"
         "over the environment, that over the file, that over the defaults.\n";
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
