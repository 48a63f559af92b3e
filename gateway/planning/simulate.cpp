#include "gateway/planning/simulate.h"

#include <cstdio>
#include <optional>

#include "conf/format.h"
#include "conf/printable.h"
#include "gateway/planning/conf_source.h"
#include "gateway/planning/diff.h"
#include "gateway/planning/output.h"
#include "gateway/planning/plan.h"
#include "gateway/planning/progress.h"
#include "gateway/planning/request_lines.h"
#include "gateway/planning/result_json.h"
#include "gateway/planning/result_text.h"
#include "gateway/planning/sweep.h"
#include "gateway/planning/workload_out.h"

namespace classgate::planning {
namespace {

// What is not simulated is said, so that nobody takes it for an answer.
void tell_of_quotas(const conf::Settings& settings) {
  for (const conf::PlanSettings& plan : settings.admission.fairness.plans)
    if (plan.quota.is_any())
      return conf::print(stderr, fmt::format("classgate: quotas (of plan {} and others) are not "
                                             "simulated: nobody is refused for one here\n",
                                             conf::printable(plan.name)));
}

}  // namespace

int simulate(const conf::CommandLine& command,
             const std::vector<std::pair<std::string, std::string>>& environment) {
  const auto conf = read_conf(command, environment);
  if (!conf) return complain(conf.error());
  tell_of_quotas(conf->settings);
  const auto scenario = Scenario::open(command.planning);
  if (!scenario) return complain(scenario.error());
  if (!command.planning.diff.empty()) return diff(command, environment, *scenario);
  if (!command.planning.sweep.empty() || !command.planning.growth.empty())
    return sweep(command, environment, *scenario);
  if (!command.planning.plan.empty()) return plan(command, environment, *scenario);
  if (!command.planning.workload_out.empty()) {
    const auto made = write_workload(*scenario, conf->settings, command.planning.workload_out);
    if (!made) return complain(made.error());
  }
  std::optional<RequestLines> lines;
  if (!command.planning.requests.empty()) {
    auto opened = request_lines(command.planning.requests);
    if (!opened) return complain(opened.error());
    lines = std::move(*opened);
  }
  Progress progress("simulating");
  const auto result = run(
      *scenario, conf->settings, conf->name, [&progress](double share) { progress.show(share); },
      lines ? lines->wrap : Wrap());
  progress.clear();
  if (!result) return complain(result.error());
  const auto written = lines ? lines->close() : std::expected<void, std::string>();
  const int status =
      write(command.planning, to_text(*scenario, *result), to_json(*scenario, *result));
  return written ? status : complain(written.error());
}

}  // namespace classgate::planning
