#include "gateway/planning/simulate.h"

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>

#include "gateway/planning/output.h"
#include "gateway/planning/progress.h"
#include "gateway/planning/result_json.h"
#include "gateway/planning/result_text.h"

namespace classgate::planning {
namespace {

int complain(const std::string& text) {
  fmt::print(stderr, "classgate: {}\n", text);
  return 1;
}

struct Conf {
  conf::Settings settings;
  std::string name;
};

// A conf that is not named may be missing: then it is the defaults that are asked about.
std::expected<Conf, std::string> read_conf(const conf::CommandLine& command,
                                           conf::Sources sources) {
  std::string name = command.conf_path;
  if (!command.names_conf && !std::filesystem::exists(command.conf_path)) {
    sources.conf_path.clear();
    name = "the defaults";
  }
  const auto loaded = conf::load(sources);
  if (!loaded) {
    std::string lines;
    for (const conf::Mistake& mistake : loaded.error())
      lines += fmt::format("\n{}: {}", mistake.place, mistake.text);
    return std::unexpected("the configuration has mistakes:" + lines);
  }
  return Conf{loaded->settings, name};
}

}  // namespace

int simulate(const conf::CommandLine& command,
             const std::vector<std::pair<std::string, std::string>>& environment) {
  const conf::Sources sources{.conf_path = command.conf_path,
                              .environment = environment,
                              .command_line = command.overrides,
                              .run_time = {}};
  const auto conf = read_conf(command, sources);
  if (!conf) return complain(conf.error());
  const auto scenario = Scenario::open(command.planning);
  if (!scenario) return complain(scenario.error());
  Progress progress("simulating");
  const auto result = run(*scenario, conf->settings, conf->name,
                          [&progress](double share) { progress.show(share); });
  progress.clear();
  if (!result) return complain(result.error());
  return write(command.planning, to_text(*scenario, *result), to_json(*scenario, *result));
}

}  // namespace classgate::planning
