#include "gateway/planning/plan.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "conf/format.h"
#include "conf/printable.h"
#include "conf/units.h"
#include "gateway/planning/answers.h"
#include "gateway/planning/output.h"
#include "gateway/planning/planner.h"

namespace classgate::planning {
namespace {

bool says_nothing_of_all(const std::vector<Target>& targets) {
  return std::ranges::none_of(targets, [](const Target& target) {
    return target.is_of_all() &&
           (target.what == Target::What::served || target.what == Target::What::refused);
  });
}

}  // namespace

Planner::Planner(const conf::CommandLine& command, const Environment& environment,
                 const Scenario& scenario, std::vector<Target> targets)
    : command_(command),
      environment_(environment),
      scenario_(scenario),
      targets_(std::move(targets)),
      has_floor_(says_nothing_of_all(targets_)) {
  if (has_floor_) targets_.push_back(*parse_target(std::string(floor_text)));
}

// What a target needs must be there, before forty runs find it met by nobody.
std::optional<std::string> Planner::look_at_traffic() {
  const auto conf = read_conf(command_, environment_);
  if (!conf) return conf.error();
  auto found = survey(scenario_, conf->settings);
  if (!found) return found.error();
  survey_ = std::move(*found);
  remarks_ = survey_.remarks;
  for (const Target& target : targets_)
    if (std::string why = survey_.why_no_samples(target); !why.empty()) return why;
  return std::nullopt;
}

// What the plan is not made with: another log, the second half of this one, or of a workload
// another course of chance.
std::optional<std::string> Planner::hold_back() {
  constexpr std::uint64_t requests_least = 200;
  const conf::PlanningOptions& options = command_.planning;
  if (!options.try_on.empty()) {
    conf::PlanningOptions other = options;
    (scenario_.workload() != nullptr ? other.workload : other.log) = options.try_on;
    auto scenario = Scenario::open(other);
    if (!scenario) return scenario.error();
    const auto conf = read_conf(command_, environment_);
    if (!conf) return conf.error();
    const auto found = survey(*scenario, conf->settings);
    if (!found) return found.error();
    for (const Target& target : targets_)
      if (const std::string why = found->why_no_samples(target); !why.empty())
        return options.try_on + ": " + why;
    held_back_ = Tried{std::move(*scenario), conf::printable(options.try_on)};
    tried_on_.push_back({scenario_, conf::printable(scenario_.describe())});
    return std::nullopt;
  }
  if (scenario_.workload() != nullptr) {
    held_back_ = Tried{scenario_, "another course of chance"};
    held_back_->scenario.set_seed(scenario_.seed() + 1);
    tried_on_.push_back({scenario_, conf::printable(scenario_.describe())});
    return std::nullopt;
  }
  const Time half = Time{} + survey_.all.last.time_since_epoch() / 2;
  if (survey_.all.requests < requests_least)
    why_not_held_back_ =
        fmt::format("{} requests are too few to hold some back", survey_.all.requests);
  for (const Target& target : targets_)
    if (const Survey::Kind* const kind = survey_.of(target);
        kind->first >= half || kind->last < half)
      why_not_held_back_ = fmt::format("one half has no request of those of \"{}\"", target.text);
  if (!why_not_held_back_.empty()) {
    tried_on_.push_back({scenario_, conf::printable(scenario_.describe())});
    return std::nullopt;
  }
  Tried first{scenario_, "the first half"};
  first.scenario.take_part(Duration::zero(), half.time_since_epoch());
  tried_on_.push_back(std::move(first));
  held_back_ = Tried{scenario_, "the second half"};
  held_back_->scenario.take_part(half.time_since_epoch(), Duration::max());
  return std::nullopt;
}

void Planner::try_on_held_back(const Limits& limits) {
  std::swap(tried_on_.front(), *held_back_);
  trials_.clear();
  const Trial trial = run(limits);
  trials_.clear();
  std::swap(tried_on_.front(), *held_back_);
  if (!error_.empty()) return;
  const Outcome& outcome = trial.outcomes.front();
  held_ = trial.is_met;
  tried_.push_back(fmt::format("tried on {} ({} requests), which it was not made with: {}",
                               held_back_->name, grouped(outcome.counts.arrived),
                               targets_text(outcome)));
  for (const std::string& starved : outcome.starved) tried_.push_back("starved: " + starved);
}

int Planner::plan() {
  if (const auto why = look_at_traffic()) return complain(*why);
  if (const auto why = hold_back()) return complain(*why);
  auto limits = search();
  if (!error_.empty()) return complain(error_);
  if (!limits) return give_up();
  if (!held_back_) {
    tried_.push_back("not tried on traffic that it was not made with: " + why_not_held_back_ +
                     "; --try-on FILE names another log");
    return tell(*limits);
  }
  try_on_held_back(*limits);
  if (error_.empty() && !held_) {
    const Limits first = *limits;
    tried_on_.push_back(*held_back_);
    limits = search();
    if (error_.empty() && !limits) return give_up();
    if (limits)
      tried_.push_back(
          fmt::format("(that was with workers = {}, queue_size = {}, rate = {}.) So it was made "
                      "anew with both, and is "
                      "tried on no other traffic: --try-on FILE names a log",
                      first.workers, first.queue, conf::print_number(first.rate)));
  }
  if (!error_.empty()) return complain(error_);
  return tell(*limits);
}

int plan(const conf::CommandLine& command, const Environment& environment,
         const Scenario& scenario) {
  std::vector<Target> targets;
  for (const std::string& text : command.planning.plan) {
    auto target = parse_target(text);
    if (!target) return complain(target.error());
    targets.push_back(std::move(*target));
  }
  return Planner(command, environment, scenario, std::move(targets)).plan();
}

}  // namespace classgate::planning
