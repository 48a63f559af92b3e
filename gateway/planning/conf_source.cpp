#include "gateway/planning/conf_source.h"

#include <cstdio>
#include <filesystem>

#include "conf/format.h"
#include "conf/printable.h"

namespace classgate::planning {

int complain(const std::string& text) {
  conf::print(stderr, fmt::format("classgate: {}\n", text));
  return 1;
}

std::expected<Conf, std::string> read_conf(const conf::CommandLine& command,
                                           const Environment& environment) {
  return read_conf(command, environment, conf_path_of(command), {});
}

std::string conf_path_of(const conf::CommandLine& command) {
  const bool is_there = command.names_conf || std::filesystem::exists(command.conf_path);
  return is_there ? command.conf_path : "";
}

std::expected<Conf, std::string> read_conf(const conf::CommandLine& command,
                                           const Environment& environment, const std::string& path,
                                           const std::vector<conf::Override>& more) {
  conf::Sources sources{.conf_path = path,
                        .environment = environment,
                        .command_line = command.overrides,
                        .run_time = {}};
  sources.command_line.insert(sources.command_line.end(), more.begin(), more.end());
  const auto loaded = conf::load(sources);
  if (!loaded) {
    std::string lines;
    for (const conf::Mistake& mistake : loaded.error())
      lines += fmt::format("\n{}: {}", mistake.place, mistake.text);
    return std::unexpected("the configuration has mistakes:" + lines);
  }
  return Conf{loaded->settings, path.empty() ? "the defaults" : path};
}

}  // namespace classgate::planning
