#include "gateway/planning/plan.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "admission/measure/units.h"
#include "conf/format.h"
#include "conf/printable.h"
#include "conf/units.h"
#include "gateway/planning/answers.h"
#include "gateway/planning/output.h"
#include "gateway/planning/progress.h"
#include "gateway/planning/starvation.h"
#include "gateway/planning/survey.h"
#include "gateway/planning/target.h"

namespace classgate::planning {
namespace {

// One core forwards more than this (tests/bench/against_haproxy.py): gateways are hardly ever the
// limit.
constexpr double gateway_per_second = 10'000;
constexpr std::uint32_t servers_max = 256;
constexpr std::uint32_t workers_max = 16'384;
constexpr std::uint32_t queue_max = 200'000;

// Of a plan that does not say how many are to be served: a wait is short where nearly everybody is
// refused. The smallest limits are looked for, so that a plan refuses all that it is let: 1 % is
// what chance costs.
constexpr std::string_view floor_text = "served >= 99%";

bool says_nothing_of_all(const std::vector<Target>& targets) {
  return std::ranges::none_of(targets, [](const Target& target) {
    return target.is_of_all() &&
           (target.what == Target::What::served || target.what == Target::What::refused);
  });
}

struct Limits {
  std::uint32_t servers = 1;
  std::uint32_t workers = 1;
  std::uint32_t queue = queue_max;
  double rate = 0;  // 0: none
  auto operator<=>(const Limits&) const = default;
};

// What came of one traffic: all that is asked of it later, so that the run itself can go.
struct Outcome {
  std::vector<double> measured;  // in the order of the targets
  simulation::Counts counts;
  std::vector<std::string> starved;
};

// What became of a trial, on each of the traffics that it has to hold on.
struct Trial {
  bool is_met = false;
  std::vector<double> measured;  // the worst of each target
  double share = 0;              // how far the worst target is off: measured / wanted
  std::uint64_t waiting_most = 0;
  double peak = 0;  // arrivals a second in the busiest step
  double mean_rate = 0;
  double active_mean = 0;
  std::vector<Outcome> outcomes;
};

// Traffic, and what it is called.
struct Tried {
  Scenario scenario;
  std::string name;
};

class Planner {
 public:
  Planner(const conf::CommandLine& command, const Environment& environment,
          const Scenario& scenario, std::vector<Target> targets)
      : command_(command),
        environment_(environment),
        scenario_(scenario),
        targets_(std::move(targets)),
        has_floor_(says_nothing_of_all(targets_)) {
    if (has_floor_) targets_.push_back(*parse_target(std::string(floor_text)));
  }

  int plan();

 private:
  std::optional<std::string> look_at_traffic();
  std::optional<std::string> hold_back();
  // The smallest limits with which all targets are met on all of `tried_on_`; none: there are none,
  // and `best_` came nearest.
  std::optional<Limits> search();
  std::optional<Limits> search_servers();
  std::optional<Limits> search_workers();
  std::optional<Limits> with_a_queue(Limits limits);
  void search_queue(Limits& limits);
  void search_rate(Limits& limits);
  const Trial& run(const Limits& limits);
  void add(Trial& trial, const Result& result) const;
  // The smallest value in (from, to] with which all targets are met; they are with `to`.
  template <typename With>
  std::uint32_t smallest(std::uint32_t from, std::uint32_t to, With with);
  std::string failing(const std::vector<double>& measured) const;
  std::string failing(const Limits& limits) { return failing(run(limits).measured); }
  bool is_met(const Outcome& outcome) const;
  int give_up();
  int tell(const Limits& limits);
  std::string targets_text(const Outcome& outcome) const;
  void try_on_held_back(const Limits& limits);
  std::uint32_t capacity(std::uint32_t servers) const {
    return scenario_.upstream().capacity * servers;
  }
  void explain(const std::string& line) { reasons_.push_back(line); }

  const conf::CommandLine& command_;
  const Environment& environment_;
  const Scenario& scenario_;
  std::vector<Target> targets_;
  bool has_floor_;  // the last of them
  Survey survey_;
  std::vector<Tried> tried_on_;
  std::optional<Tried> held_back_;
  std::string why_not_held_back_;
  std::vector<std::string> tried_;  // what came of that, line by line
  bool held_ = false;               // on it too, as it was planned at first
  std::map<Limits, Trial> trials_;
  std::size_t runs_ = 0;
  Limits best_;
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

// What ended how, "0.60 % of 4,200 requests would be refused (queue_full 0.5 %), ...".
std::string shares_text(const simulation::Counts& of) {
  const auto percent = [&](std::uint64_t count) {
    return 100 * static_cast<double>(count) /
           static_cast<double>(std::max<std::uint64_t>(of.arrived, 1));
  };
  std::string reasons;
  for (const conf::ReasonText& text : conf::reason_texts)
    if (const std::uint64_t count = of.rejected[conf::index_of(text.reason)]; count > 0)
      reasons +=
          fmt::format("{}{} {:.2f} %", reasons.empty() ? " (" : ", ", text.word, percent(count));
  if (!reasons.empty()) reasons += ")";
  return fmt::format("of {} requests {:.2f} % would be refused{}, {:.2f} % leave, {:.2f} % fail",
                     grouped(of.arrived), percent(of.all_rejected()), reasons,
                     percent(of.abandoned), percent(of.all_failed()));
}

int Planner::give_up() {
  progress_.clear();
  const Trial& trial = run(best_);
  std::string text = fmt::format("No setting meets the targets. With {} workers", best_.workers);
  if (best_.servers > 1) text += fmt::format(", {} servers", best_.servers);
  text += fmt::format(", a queue for everybody and no rate limit {}", failing(trial.measured));
  if (trial.outcomes.size() > 1) text += " in one of the halves";
  text += fmt::format(
      ".\nThe traffic is {:.1f} requests a second, {:.1f} in the busiest step; on average {:.1f} "
      "requests are in the service.\n",
      trial.mean_rate, trial.peak, trial.active_mean);
  for (const Outcome& outcome : trial.outcomes) {
    text += shares_text(outcome.counts) + "\n";
    for (const std::string& starved : outcome.starved) text += starved + "\n";
  }
  if (scenario_.upstream().capacity == 0)
    text += "More workers do not help when it is the service that is slow, or slows down.\n";
  else
    text += "What is left: a faster service, fewer requests, or weaker targets.\n";
  if (has_floor_)
    text += fmt::format(
        "\"{}\" is the floor of every plan that says nothing of all that is served "
        "or refused: --plan \"served >= 80%\" plans for refusing the rest.\n",
        floor_text);
  nlohmann::ordered_json json{{"met", false},
                              {"input", scenario_.describe()},
                              {"upstream", scenario_.describe_upstream()},
                              {"why", text},
                              {"remarks", remarks_}};
  tell_remarks(remarks_);
  const int status = write(command_.planning, text, json);
  return status == 0 ? 2 : status;
}

// Servers, each with as many workers as it computes at once.
std::optional<Limits> Planner::search_servers() {
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
std::optional<Limits> Planner::search_workers() {
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
std::optional<Limits> Planner::with_a_queue(Limits limits) {
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

std::optional<Limits> Planner::search() {
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

std::string Planner::targets_text(const Outcome& outcome) const {
  std::string text;
  for (std::size_t i = 0; i < targets_.size(); ++i)
    text += fmt::format("{}\"{}\": {}{}", text.empty() ? "" : "; ", targets_[i].text,
                        targets_[i].print(outcome.measured[i]),
                        outcome.measured[i] > targets_[i].most ? ", missed" : "");
  return text;
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

int Planner::tell(const Limits& limits) {
  const Trial& last = run(limits);
  const auto gateways = static_cast<int>(std::ceil(last.peak / gateway_per_second));
  explain(
      fmt::format("{} gateway{}: {:.0f} requests a second at most, one core forwards {:.0f}; one "
                  "more for the day "
                  "on which one is away",
                  gateways, gateways == 1 ? " is enough" : "s", last.peak, gateway_per_second));
  progress_.clear();

  std::string text =
      fmt::format("# For {}, the service: {}\n", conf::printable(scenario_.describe()),
                  scenario_.describe_upstream());
  for (std::size_t i = 0; i < targets_.size(); ++i)
    text +=
        fmt::format("# {}: {}{}\n", targets_[i].text, targets_[i].print(last.measured[i]),
                    has_floor_ && i + 1 == targets_.size()
                        ? "; every plan has this floor that does not say how many are served or "
                          "refused: --plan \"served >= 80%\" is another"
                        : "");
  const std::string conf =
      fmt::format("[admission]\nworkers = {}\nqueue_size = {}\nrate = {}\nburst = {}\n",
                  limits.workers, limits.queue, conf::print_number(limits.rate),
                  conf::print_number(std::max(1.0, limits.rate * 2)));
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
                              {"runs", runs_},
                              {"reasons", reasons_},
                              {"remarks", remarks_}};
  json["outcomes"] = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < last.outcomes.size(); ++i) {
    const Outcome& outcome = last.outcomes[i];
    text += fmt::format("# {}: {}\n", tried_on_[i].name, shares_text(outcome.counts));
    for (const std::string& starved : outcome.starved) text += "# starved: " + starved + "\n";
    const auto share = [&](std::uint64_t count) {
      return static_cast<double>(count) / static_cast<double>(outcome.counts.arrived);
    };
    json["outcomes"].push_back({{"traffic", tried_on_[i].name},
                                {"requests", outcome.counts.arrived},
                                {"served_share", share(outcome.counts.served)},
                                {"refused_share", share(outcome.counts.all_rejected())},
                                {"left_share", share(outcome.counts.abandoned)},
                                {"failed_share", share(outcome.counts.all_failed())},
                                {"starved", outcome.starved}});
  }
  for (const std::string& line : tried_) text += "# " + line + "\n";
  json["held"] = held_back_ ? nlohmann::ordered_json(held_) : nlohmann::ordered_json(nullptr);
  json["tried"] = tried_;
  text += "#\n";
  for (const std::string& reason : reasons_) text += "# " + reason + "\n";
  text += "\n" + conf;
  for (std::size_t i = 0; i < targets_.size(); ++i)
    json["targets"].push_back({{"target", targets_[i].text},
                               {"measured", last.measured[i]},
                               {"most", targets_[i].most},
                               {"unit", targets_[i].is_of_times() ? "ms" : "share"}});
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
