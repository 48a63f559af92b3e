#include "gateway/planning/plan.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "admission/measure/units.h"
#include "conf/format.h"
#include "conf/units.h"
#include "gateway/planning/output.h"
#include "gateway/planning/progress.h"
#include "gateway/planning/target.h"

namespace classgate::planning {
namespace {

// One core forwards more than this (tests/bench/against_haproxy.py): gateways are hardly ever the
// limit.
constexpr double gateway_per_second = 10'000;
constexpr std::uint32_t servers_max = 256;
constexpr std::uint32_t workers_max = 16'384;
constexpr std::uint32_t queue_max = 200'000;

struct Limits {
  std::uint32_t servers = 1;
  std::uint32_t workers = 1;
  std::uint32_t queue = queue_max;
  double rate = 0;  // 0: none
  auto operator<=>(const Limits&) const = default;
};

// What became of a trial: all that is asked of it later, so that the run itself can go.
struct Trial {
  bool is_met = false;
  std::vector<double> measured;  // in the order of the targets
  double share = 0;              // how far the worst target is off: measured / wanted
  std::uint64_t waiting_most = 0;
  double peak = 0;  // arrivals a second in the busiest step
  double mean_rate = 0;
  double active_mean = 0;
};

class Planner {
 public:
  Planner(const conf::CommandLine& command, const Environment& environment,
          const Scenario& scenario, std::vector<Target> targets)
      : command_(command),
        environment_(environment),
        scenario_(scenario),
        targets_(std::move(targets)) {}

  int plan();

 private:
  const Trial& run(const Limits& limits);
  // The smallest value in (from, to] with which all targets are met; they are with `to`.
  template <typename With>
  std::uint32_t smallest(std::uint32_t from, std::uint32_t to, With with);
  std::string failing(const Trial& trial) const;
  int give_up(const Limits& best);
  std::uint32_t capacity(std::uint32_t servers) const {
    return scenario_.upstream().capacity * servers;
  }
  void explain(const std::string& line) { reasons_.push_back(line); }

  const conf::CommandLine& command_;
  const Environment& environment_;
  const Scenario& scenario_;
  std::vector<Target> targets_;
  std::map<Limits, Trial> trials_;
  std::vector<std::string> reasons_;
  std::vector<std::string> remarks_;  // on the traffic, which is the same in each trial
  std::string error_;
  Progress progress_{"planning"};
};

const Trial& Planner::run(const Limits& limits) {
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
  const auto result = run_with(command_, environment_, scenario_, settings);
  if (!result) {
    error_ = result.error();
    return trials_[limits] = trial;
  }
  remarks_ = result->traffic->remarks();
  trial.is_met = true;
  for (const Target& target : targets_) {
    const double measured = target.measure(*result);
    trial.measured.push_back(measured);
    trial.share = std::max(trial.share, measured / std::max(target.most, 1e-9));
    trial.is_met = trial.is_met && measured <= target.most;
  }
  trial.waiting_most = result->tally.waiting_most();
  const auto& timeline = result->tally.timeline();
  const double step = measure::in_seconds(timeline.step_length());
  double active = 0;
  for (const auto& at : timeline.steps()) {
    double arrived = 0;
    for (const auto count : at.arrived) arrived += static_cast<double>(count);
    trial.peak = std::max(trial.peak, arrived / step);
    active += at.active_seconds;
  }
  trial.mean_rate = static_cast<double>(result->tally.all().arrived) / result->seconds();
  trial.active_mean = active / result->seconds();
  return trials_[limits] = trial;
}

template <typename With>
std::uint32_t Planner::smallest(std::uint32_t from, std::uint32_t to, With with) {
  while (to - from > 1 && error_.empty()) {
    const std::uint32_t middle = from + (to - from) / 2;
    (run(with(middle)).is_met ? to : from) = middle;
  }
  return to;
}

std::string Planner::failing(const Trial& trial) const {
  for (std::size_t i = 0; i < targets_.size() && i < trial.measured.size(); ++i)
    if (trial.measured[i] > targets_[i].most)
      return fmt::format("\"{}\" would be {}", targets_[i].text,
                         targets_[i].print(trial.measured[i]));
  return "all targets would be met";
}

int Planner::give_up(const Limits& best) {
  progress_.clear();
  const Trial& trial = run(best);
  std::string text = fmt::format("No setting meets the targets. With {} workers", best.workers);
  if (best.servers > 1) text += fmt::format(", {} servers", best.servers);
  text += fmt::format(", a queue for everybody and no rate limit {}.\n", failing(trial));
  text += fmt::format(
      "The traffic is {:.1f} requests a second, {:.1f} in the busiest step; on average {:.1f} "
      "requests "
      "are in the service.\n",
      trial.mean_rate, trial.peak, trial.active_mean);
  if (scenario_.upstream().capacity == 0)
    text += "More workers do not help when it is the service that is slow, or slows down.\n";
  else
    text += "What is left: a faster service, fewer requests, or weaker targets.\n";
  nlohmann::ordered_json json{{"met", false},
                              {"input", scenario_.describe()},
                              {"upstream", scenario_.describe_upstream()},
                              {"why", text},
                              {"remarks", remarks_}};
  tell_remarks(remarks_);
  const int status = write(command_.planning, text, json);
  return status == 0 ? 2 : status;
}

int Planner::plan() {
  // Servers, each with as many workers as it computes at once; without a capacity, the workers that
  // would be enough if the service never slowed down.
  Limits limits;
  limits.servers = std::max(1U, scenario_.upstream().servers);
  const bool has_capacity = scenario_.upstream().capacity > 0;
  const auto with_servers = [&](std::uint32_t servers) {
    return Limits{servers, std::min(capacity(servers), workers_max), queue_max, 0};
  };
  if (has_capacity) {
    std::uint32_t enough = limits.servers;
    while (enough < servers_max && !run(with_servers(enough)).is_met && error_.empty()) enough *= 2;
    if (!error_.empty()) return complain(error_);
    if (!run(with_servers(enough)).is_met) return give_up(with_servers(enough));
    const std::uint32_t before = limits.servers;
    limits.servers = enough == before ? before : smallest(enough / 2, enough, with_servers);
    if (limits.servers > before)
      explain(fmt::format("{} servers of the service: with {}, {}", limits.servers,
                          limits.servers - 1, failing(run(with_servers(limits.servers - 1)))));
    else
      explain(fmt::format("{} server{} of the service: enough", before, before == 1 ? "" : "s"));
    limits.workers = with_servers(limits.servers).workers;
  } else {
    limits.workers = 1;
    double best_share = 1e300;
    std::uint32_t best = 1;
    while (limits.workers < workers_max && !run(limits).is_met && error_.empty()) {
      if (run(limits).share < best_share) {
        best_share = run(limits).share;
        best = limits.workers;
      }
      limits.workers *= 2;
    }
    if (!error_.empty()) return complain(error_);
    if (!run(limits).is_met) {
      limits.workers = best;
      return give_up(limits);
    }
  }
  const auto with_workers = [&](std::uint32_t workers) {
    Limits other = limits;
    other.workers = workers;
    return other;
  };
  limits.workers = smallest(0, limits.workers, with_workers);
  explain(limits.workers == 1
              ? std::string("workers = 1: enough")
              : fmt::format("workers = {}: with {}, {}", limits.workers, limits.workers - 1,
                            failing(run(with_workers(limits.workers - 1)))));

  const auto with_queue = [&](std::uint32_t queue) {
    Limits other = limits;
    other.queue = queue;
    return other;
  };
  if (run(with_queue(0)).is_met) {
    limits.queue = 0;
    explain("queue_size = 0: nobody has to wait");
  } else {
    const auto enough = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(run(limits).waiting_most + 1, queue_max));
    limits.queue = smallest(0, enough, with_queue);
    explain(fmt::format("queue_size = {}: with {}, {}", limits.queue, limits.queue - 1,
                        failing(run(with_queue(limits.queue - 1)))));
  }

  const auto with_rate = [&](std::uint32_t rate) {
    Limits other = limits;
    other.rate = rate;
    return other;
  };
  const Trial free = run(limits);
  const auto peak = static_cast<std::uint32_t>(std::ceil(free.peak * 2) + 1);
  if (run(with_rate(peak)).is_met) {
    const std::uint32_t rate = smallest(0, peak, with_rate);
    limits.rate = rate;
    explain(fmt::format("rate = {}, burst = {}: the least that this traffic passes; with {}, {}",
                        rate, rate * 2, rate - 1, failing(run(with_rate(std::max(rate - 1, 1U))))));
  } else {
    explain("rate = 0: every limit tried refused too many");
  }
  if (!error_.empty()) return complain(error_);
  const auto gateways = static_cast<int>(std::ceil(free.peak / gateway_per_second));
  explain(
      fmt::format("{} gateway{}: {:.0f} requests a second at most, one core forwards {:.0f}; one "
                  "more for the day "
                  "on which one is away",
                  gateways, gateways == 1 ? " is enough" : "s", free.peak, gateway_per_second));
  progress_.clear();

  const Trial& last = run(limits);
  std::string text = fmt::format("# For {}, the service: {}\n", scenario_.describe(),
                                 scenario_.describe_upstream());
  for (std::size_t i = 0; i < targets_.size(); ++i)
    text += fmt::format("# {}: {}\n", targets_[i].text, targets_[i].print(last.measured[i]));
  text += "#\n";
  for (const std::string& reason : reasons_) text += "# " + reason + "\n";
  const std::string conf =
      fmt::format("[admission]\nworkers = {}\nqueue_size = {}\nrate = {}\nburst = {}\n",
                  limits.workers, limits.queue, conf::print_number(limits.rate),
                  conf::print_number(std::max(1.0, limits.rate * 2)));
  text += "\n" + conf;
  nlohmann::ordered_json json{{"met", true},
                              {"input", scenario_.describe()},
                              {"upstream", scenario_.describe_upstream()},
                              {"conf", conf},
                              {"servers", limits.servers},
                              {"gateways", gateways},
                              {"workers", limits.workers},
                              {"queue_size", limits.queue},
                              {"rate", limits.rate},
                              {"burst", std::max(1.0, limits.rate * 2)},
                              {"runs", trials_.size()},
                              {"reasons", reasons_},
                              {"remarks", remarks_}};
  for (std::size_t i = 0; i < targets_.size(); ++i)
    json["targets"].push_back({{"target", targets_[i].text},
                               {"measured", last.measured[i]},
                               {"most", targets_[i].most},
                               {"unit", targets_[i].is_a_time() ? "ms" : "share"}});
  tell_remarks(remarks_);
  return write(command_.planning, text, json);
}

}  // namespace

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
