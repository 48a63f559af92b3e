#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "admission/history/demand.h"
#include "admission/history/forecast.h"
#include "admission/history/service_times.h"
#include "admission/history/workers_needed.h"

namespace classgate::history {

inline constexpr std::array<std::chrono::minutes, 4> demand_horizons{
    std::chrono::minutes(5), std::chrono::minutes(15), std::chrono::minutes(60),
    std::chrono::minutes(24 * 60)};

// How the demand goes on, in all, and for each priority and each plan (PlanRecord) that is asked
// for. A Forecaster for each of them (230 KiB) from its first minute that is not zero: fifteen at
// most, and 0.15 ms a minute each.
// No clock: a minute is the slot of its value. One thread at a time.
class DemandForecast {
 public:
  // `zone`: whose days and weeks; null: UTC.
  explicit DemandForecast(std::shared_ptr<const conf::TimeZone> zone) : zone_(std::move(zone)) {}

  // Later than all before, else it is left out.
  void add(Slot minute, const Asked& asked, const PlanAsked& plans = {});
  const DemandRecord& record() const { return record_; }
  const PlanRecord& plans() const { return plan_record_; }
  std::size_t bytes() const;

  // Cost a minute. p90 and p99 are NaN as long as nobody has seen how wrong it is; nothing at all
  // is said before `minutes_least` minutes.
  static constexpr std::size_t minutes_least = 5;
  bool says_nothing() const { return record_.known() < minutes_least; }
  bool is_cold() const {
    return !all_.forecaster || all_.forecaster->is_cold();
  }  // no day is known
  Quantiles all(std::size_t horizon) const { return said_of(all_, horizon); }
  // None: that priority is not asked for.
  std::optional<Quantiles> of_priority(std::size_t priority, std::size_t horizon) const;
  // By its place in plans(). None: nobody has it.
  std::optional<Quantiles> of_plan(std::size_t place, std::size_t horizon) const;
  // What is expected of each priority in the middle; zeros where it is not asked for.
  Asked middle(std::size_t horizon) const;
  // The mean of the last minutes that are known.
  Asked lately() const;
  double lately_of_plan(std::size_t place) const;

  // How wrong it was over the last day: in all, at its median.
  struct Error {
    std::size_t compared = 0;  // minutes
    double mean = 0;           // absolute, cost a minute
    double share = 0;          // of what came (WAPE); NaN: nothing came
    double below_p90 = 0;      // share of the minutes; NaN: no p90 was said
  };
  Error error(std::size_t horizon) const;
  // What was said of a minute an hour before; NaN: nothing.
  struct Told {
    float p50 = std::numeric_limits<float>::quiet_NaN();
    float p90 = std::numeric_limits<float>::quiet_NaN();
  };
  static constexpr std::size_t an_hour = 2;  // of demand_horizons
  Told told(Slot minute, std::size_t horizon = an_hour) const;

 private:
  struct Series {
    std::unique_ptr<Forecaster> forecaster;
    Slot first = 0;
  };
  Quantiles said_of(const Series& series, std::size_t horizon) const;
  void add_to(Series& series, Slot minute, double value);
  void add_to_plans(Slot minute, const PlanAsked& asked);
  void note_told(Slot minute, Slot last);
  static constexpr Slot lately_minutes = 5;

  std::shared_ptr<const conf::TimeZone> zone_;
  DemandRecord record_;
  Series all_;
  std::array<Series, conf::priority_count> priorities_;
  PlanRecord plan_record_;
  std::array<Series, PlanRecord::places> plans_;
  // Of each horizon: what was said of the minutes of a day, and of those to come. A ring by minute.
  std::array<std::vector<Told>, demand_horizons.size()> told_;
};

// What an operator is told once a minute.
struct DemandReport {
  std::chrono::sys_seconds at{};
  std::string why_nothing{};  // nothing is said; then all below is empty
  std::size_t minutes_known = 0;
  bool is_cold = true;
  Asked lately{};  // cost a minute, as all below
  struct Horizon {
    Quantiles all{};
    std::array<std::optional<Quantiles>, conf::priority_count> by_priority{};
    std::optional<std::uint32_t> workers{};  // needed for the p90; none: why_no_workers
    DemandForecast::Error error{};
  };
  std::array<Horizon, demand_horizons.size()> horizons{};
  // As all above, under one plan; "-": those who are in none. Empty as long as nobody has a plan.
  struct Plan {
    std::string name;
    double lately = 0;
    std::array<Quantiles, demand_horizons.size()> horizons{};
  };
  std::vector<Plan> plans{};
  std::array<Work, conf::priority_count> work{};

  std::string target{};                               // empty: none
  std::string why_no_workers{};                       // it is not known how many are needed
  std::uint32_t workers_now = 0;                      // in force
  std::optional<std::uint32_t> workers_needed_now{};  // for what comes lately
  std::optional<std::uint32_t> workers_ahead{};       // when one that is started now serves
  double workers_per_server = 0;
  std::optional<std::uint32_t> servers{};
  std::uint32_t servers_now = 0;
  std::chrono::milliseconds lead_time{};

  // At this trend, with the workers in force, the target is missed then; within an hour.
  std::optional<std::chrono::sys_seconds> missed_at{};

  struct Past {
    Slot minute = 0;
    float came = 0;               // of five minutes, in the mean; NaN: not known
    DemandForecast::Told told{};  // an hour before
  };
  std::vector<Past> yesterday{};  // every five minutes, 24 hours
};

// What goes into it beside the forecast.
struct DemandQuestion {
  std::chrono::sys_seconds now{};
  std::optional<conf::Target> target{};
  std::uint32_t workers_in_force = 0;
  std::uint32_t servers_in_force = 0;
  double workers_per_server = 1;
  std::chrono::milliseconds lead_time{};
  ServersNeeded::Bounds bounds{};
};
DemandReport report_demand(const DemandForecast& forecast, const ServiceTimes& times,
                           ServersNeeded& servers, const DemandQuestion& question);

}  // namespace classgate::history
