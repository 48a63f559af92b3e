// The search of a plan: trials, and where each of the smallest limits is looked for.

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "admission/measure/units.h"
#include "conf/format.h"
#include "conf/units.h"
#include "gateway/planning/planner.h"
#include "gateway/planning/starvation.h"

namespace classgate::planning {

const Planner::Trial& Planner::run(const Limits& limits) {
  if (const auto known = trials_.find(limits); known != trials_.end()) return known->second;
  // It is not known how many trials there will be; some forty as a rule.
  const auto tried = static_cast<double>(trials_.size());
  progress_.show(tried / (tried + 12),
                 fmt::format("{} workers, queue {}", limits.workers, limits.queue));
  std::vector<Setting> settings{
      {"admission.workers", std::to_string(limits.workers)},
      {"admission.queue_size", std::to_string(limits.queue)},
      {"admission.rate", conf::print_number(limits.rate)},
      {"admission.burst", conf::print_number(std::max(1.0, limits.rate * 2))}};
  if (scenario_.upstream().capacity > 0)
    settings.push_back({"service.servers", std::to_string(limits.servers)});
  Trial trial;
  trial.is_met = true;
  trial.measured.assign(targets_.size(), 0);
  for (const Tried& tried_on : tried_on_) {
    ++runs_;
    const auto result = run_with(command_, environment_, tried_on.scenario, settings);
    if (!result) {
      error_ = result.error();
      trial.is_met = false;
      return trials_[limits] = trial;
    }
    add(trial, *result);
  }
  return trials_[limits] = trial;
}

void Planner::add(Trial& trial, const Result& result) const {
  Outcome outcome{
      .measured = {}, .counts = result.tally.all(), .starved = starved_in(result, survey_)};
  for (std::size_t i = 0; i < targets_.size(); ++i) {
    const double measured = targets_[i].measure(result);
    outcome.measured.push_back(measured);
    trial.measured[i] = std::max(trial.measured[i], measured);
    trial.share = std::max(trial.share, measured / std::max(targets_[i].most, 1e-9));
  }
  trial.is_met = trial.is_met && is_met(outcome);
  trial.waiting_most = std::max(trial.waiting_most, result.tally.waiting_most());
  const auto& timeline = result.tally.timeline();
  const double step = measure::in_seconds(timeline.step_length());
  double active = 0;
  for (const auto& at : timeline.steps()) {
    double arrived = 0;
    for (const auto count : at.arrived) arrived += static_cast<double>(count);
    trial.peak = std::max(trial.peak, arrived / step);
    active += at.active_seconds;
  }
  trial.mean_rate =
      std::max(trial.mean_rate, static_cast<double>(result.tally.all().arrived) / result.seconds());
  trial.active_mean = std::max(trial.active_mean, active / result.seconds());
  trial.outcomes.push_back(std::move(outcome));
}

bool Planner::is_met(const Outcome& outcome) const {
  for (std::size_t i = 0; i < targets_.size(); ++i)
    if (!(outcome.measured[i] <= targets_[i].most)) return false;
  return true;
}

template <typename With>
std::uint32_t Planner::smallest(std::uint32_t from, std::uint32_t to, With with) {
  while (to - from > 1 && error_.empty()) {
    const std::uint32_t middle = from + (to - from) / 2;
    (run(with(middle)).is_met ? to : from) = middle;
  }
  return to;
}

std::string Planner::failing(const std::vector<double>& measured) const {
  for (std::size_t i = 0; i < targets_.size() && i < measured.size(); ++i)
    if (measured[i] > targets_[i].most)
      return fmt::format("\"{}\" would be {}", targets_[i].text, targets_[i].print(measured[i]));
  return "all targets would be met";
}

// Servers, each with as many workers as it computes at once.
std::optional<Planner::Limits> Planner::search_servers() {
  const std::uint32_t before = std::max(1U, scenario_.upstream().servers);
  const auto with_servers = [&](std::uint32_t servers) {
    return Limits{servers, std::min(capacity(servers), workers_max), queue_max, 0};
  };
  const auto met_with = [&](std::uint32_t servers) {
    const Limits limits = with_servers(servers);
    return run(limits).is_met ? std::optional(limits)
                              : with_a_queue({limits.servers, limits.workers, 0, 0});
  };
  std::uint32_t servers = before;
  auto limits = met_with(servers);
  for (; !limits && servers < servers_max && error_.empty(); limits = met_with(servers))
    servers *= 2;
  best_ = with_servers(servers);
  if (!limits) return std::nullopt;
  for (std::uint32_t less = servers > before ? servers / 2 : servers; servers - less > 1;) {
    const std::uint32_t middle = less + (servers - less) / 2;
    const auto found = met_with(middle);
    (found ? servers : less) = middle;
    if (found) limits = found;
  }
  if (servers > before)
    explain(fmt::format("{} servers of the service: with {}, {}", servers, servers - 1,
                        failing(with_servers(servers - 1))));
  else
    explain(fmt::format("{} server{} of the service: enough", before, before == 1 ? "" : "s"));
  return limits;
}

// Without a capacity, the workers that would be enough if the service never slowed down.
std::optional<Planner::Limits> Planner::search_workers() {
  Limits limits;
  limits.servers = std::max(1U, scenario_.upstream().servers);
  double best_share = std::numeric_limits<double>::infinity();
  best_ = limits;
  for (; limits.workers < workers_max && !run(limits).is_met && error_.empty();
       limits.workers *= 2) {
    if (run(limits).share >= best_share) continue;
    best_share = run(limits).share;
    best_ = limits;
  }
  if (run(limits).is_met || !error_.empty()) return limits;
  // Where more comes than can be done, a queue for everybody makes all of them wait.
  for (std::uint32_t workers = 1; workers <= workers_max && error_.empty(); workers *= 2)
    if (const auto found = with_a_queue({limits.servers, workers, 0, 0})) return found;
  return std::nullopt;
}

// As long a queue as the targets for times let be, if that meets the others.
std::optional<Planner::Limits> Planner::with_a_queue(Limits limits) {
  if (!std::ranges::any_of(targets_, &Target::is_of_times)) return std::nullopt;
  while (limits.queue <= queue_max && error_.empty()) {
    const Trial& trial = run(limits);
    if (trial.is_met) return limits;
    for (std::size_t i = 0; i < targets_.size(); ++i)
      if (targets_[i].is_of_times() && trial.measured[i] > targets_[i].most) return std::nullopt;
    limits.queue = std::max(1U, limits.queue * 2);
  }
  return std::nullopt;
}

std::optional<Planner::Limits> Planner::search() {
  trials_.clear();
  reasons_.clear();
  auto limits = scenario_.upstream().capacity > 0 ? search_servers() : search_workers();
  if (!limits || !error_.empty()) return std::nullopt;
  const auto with_workers = [&](std::uint32_t workers) {
    Limits other = *limits;
    other.workers = workers;
    return other;
  };
  limits->workers = smallest(0, limits->workers, with_workers);
  explain(limits->workers == 1
              ? std::string("workers = 1: enough")
              : fmt::format("workers = {}: with {}, {}", limits->workers, limits->workers - 1,
                            failing(with_workers(limits->workers - 1))));
  search_queue(*limits);
  search_rate(*limits);
  return error_.empty() ? limits : std::nullopt;
}

void Planner::search_queue(Limits& limits) {
  const auto with_queue = [&](std::uint32_t queue) {
    Limits other = limits;
    other.queue = queue;
    return other;
  };
  if (run(with_queue(0)).is_met) {
    limits.queue = 0;
    return explain("queue_size = 0: nobody has to wait");
  }
  const auto enough = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(run(limits).waiting_most + 1, limits.queue));
  limits.queue = smallest(0, enough, with_queue);
  explain(fmt::format("queue_size = {}: with {}, {}", limits.queue, limits.queue - 1,
                      failing(with_queue(limits.queue - 1))));
}

void Planner::search_rate(Limits& limits) {
  const auto with_rate = [&](std::uint32_t rate) {
    Limits other = limits;
    other.rate = rate;
    return other;
  };
  const auto peak = static_cast<std::uint32_t>(std::ceil(run(limits).peak * 2) + 1);
  if (!run(with_rate(peak)).is_met) return explain("rate = 0: every limit tried refused too many");
  const std::uint32_t rate = smallest(0, peak, with_rate);
  limits.rate = rate;
  const std::string less =
      rate > 1 ? fmt::format("; with {}, {}", rate - 1, failing(with_rate(rate - 1))) : "";
  explain(fmt::format("rate = {}, burst = {}: the least that this traffic passes{}", rate, rate * 2,
                      less));
}

}  // namespace classgate::planning
