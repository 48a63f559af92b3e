#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "admission/ids.h"
#include "conf/format.h"
#include "conf/printable.h"
#include "conf/units.h"
#include "gateway/planning/scenario.h"
#include "gateway/planning/series.h"

namespace classgate::planning {
namespace {

// Of the requests of a log those that are meant.
struct PartOfLog {
  std::optional<std::uint8_t> priority{};
  std::optional<admission::PlanId> plan{};
  bool has(const simulation::Wish& wish) const {
    return (!priority || wish.priority == *priority) && (!plan || wish.plan == *plan);
  }
};

std::expected<PartOfLog, std::string> read_part(std::string_view of,
                                                const conf::Settings& settings) {
  constexpr std::string_view of_priority = "priority_";
  constexpr std::string_view of_plan = "plan_";
  if (of.empty()) return PartOfLog{};
  if (of.starts_with(of_priority)) {
    for (int known = conf::priority_best; known <= conf::priority_worst; ++known)
      if (of.substr(of_priority.size()) == std::to_string(known))
        return PartOfLog{.priority = static_cast<std::uint8_t>(known), .plan = {}};
  } else if (of.starts_with(of_plan)) {
    const std::string_view name = of.substr(of_plan.size());
    const auto& plans = settings.admission.fairness.plans;
    if (std::ranges::find(plans, name, &conf::PlanSettings::name) != plans.end())
      return PartOfLog{.priority = {}, .plan = admission::Ids(settings).plan(name)};
    if (name == "-") return PartOfLog{.priority = {}, .plan = admission::PlanId{}};
    return std::unexpected(
        fmt::format("--of: the conf has no plan {}", conf::quote(std::string(name))));
  }
  return std::unexpected(fmt::format(
      "--of: {} is neither priority_1 to priority_5 nor plan_NAME, which a log tells of",
      conf::quote(std::string(of))));
}

}  // namespace

std::expected<Series, std::string> read_demand(const conf::CommandLine& command,
                                               const Environment& environment) {
  const auto conf = read_conf(command, environment);
  if (!conf) return std::unexpected(conf.error());
  conf::PlanningOptions asked = command.planning;
  asked.upstream = "1ms";  // what the service took is no part of demand
  const auto scenario = Scenario::open(asked);
  if (!scenario) return std::unexpected(scenario.error());
  auto traffic = scenario->traffic(conf->settings);
  if (!traffic) return std::unexpected(traffic.error());
  const auto part = read_part(command.forecast.of, conf->settings);
  if (!part) return std::unexpected(part.error());
  Series series;
  series.what = conf::printable(scenario->describe());
  if (!command.forecast.of.empty()) series.what += ", " + conf::printable(command.forecast.of);
  const auto began = (*traffic)->began();
  const double begin = began ? std::chrono::duration<double>(began->time_since_epoch()).count() : 0;
  if (!began)
    series.remarks.emplace_back(
        "the log does not tell when it began: days and weeks are counted from its first request");
  series.step = command.forecast.step.value_or(std::chrono::seconds(60));
  const auto slot_of = [&](simulation::Time at) {
    const double time = begin + std::chrono::duration<double>(at.time_since_epoch()).count();
    return static_cast<std::int64_t>(std::floor(time / static_cast<double>(series.step.count())));
  };
  bool is_first = true;
  for (simulation::Wish wish; (*traffic)->next(wish);) {
    const std::int64_t slot = slot_of(wish.at);
    if (is_first) series.first_slot = slot;
    is_first = false;
    const auto index =
        static_cast<std::size_t>(std::max<std::int64_t>(slot - series.first_slot, 0));
    if (index >= series_steps_max)
      return std::unexpected(fmt::format("{}: more than {} steps", series.what, series_steps_max));
    if (index >= series.values.size()) series.values.resize(index + 1, 0);
    if (part->has(wish)) series.values[index] += wish.cost;
  }
  for (const std::string& remark : (*traffic)->remarks()) series.remarks.push_back(remark);
  if (const std::string complaint = (*traffic)->complaint(); !complaint.empty())
    return std::unexpected(complaint);
  if (is_first) return std::unexpected(fmt::format("{}: no request is in it", series.what));
  series.remarks.emplace_back(
      "an access log does not tell which requests are retries of refused ones: they count as "
      "demand too");
  // The first and the last minute are not whole.
  if (series.values.size() > 2) {
    series.values.erase(series.values.begin());
    series.values.pop_back();
    ++series.first_slot;
  }
  return series;
}

}  // namespace classgate::planning
