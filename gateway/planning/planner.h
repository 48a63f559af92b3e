#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/planning/progress.h"
#include "gateway/planning/survey.h"
#include "gateway/planning/target.h"
#include "gateway/planning/variation.h"

namespace classgate::planning {

// One plan (plan.h): looks at the traffic, searches, tries what it found on traffic that it was not
// made with, and tells. plan.cpp has that order, plan_search.cpp the search and its trials,
// plan_answer.cpp what is told.
class Planner {
 public:
  Planner(const conf::CommandLine& command, const Environment& environment,
          const Scenario& scenario, std::vector<Target> targets);

  int plan();

 private:
  static constexpr std::uint32_t servers_max = 256;
  static constexpr std::uint32_t workers_max = 16'384;
  static constexpr std::uint32_t queue_max = 200'000;

  // Of a plan that does not say how many are to be served: a wait is short where nearly everybody
  // is refused. The smallest limits are looked for, so that a plan refuses all that it is let: 1 %
  // is what chance costs.
  static constexpr std::string_view floor_text = "served >= 99%";

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

}  // namespace classgate::planning
