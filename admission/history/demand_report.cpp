#include <algorithm>
#include <cmath>

#include "admission/history/demand_forecast.h"
#include "conf/format.h"

namespace classgate::history {
namespace {

using std::chrono::minutes;
using std::chrono::sys_seconds;

// Demand is what came in a minute; Offered is what comes in a second.
Offered offered_of(const Asked& a_minute, const std::array<Work, conf::priority_count>& work) {
  Offered offered{.cost = {}, .work = work};
  for (std::size_t i = 0; i < a_minute.size(); ++i)
    offered.cost[i] = static_cast<double>(a_minute[i]) / 60;
  return offered;
}

// The shares of priorities as in the middle, and as much of all as is not passed with 90 %.
Asked likely_most(const DemandReport::Horizon& horizon, Asked middle) {
  const double all = std::isnan(horizon.all.p90) ? horizon.all.p50 : horizon.all.p90;
  const double now = sum(middle);
  if (now <= 0) return {};
  for (float& asked : middle) asked = static_cast<float>(static_cast<double>(asked) * all / now);
  return middle;
}

Asked between(const Asked& from, const Asked& to, double share) {
  Asked asked{};
  for (std::size_t i = 0; i < asked.size(); ++i)
    asked[i] = static_cast<float>((1 - share) * static_cast<double>(from[i]) +
                                  share * static_cast<double>(to[i]));
  return asked;
}

// When the demand, in straight lines from what came lately to what is expected in the middle,
// becomes more than the workers hold the target for. To a minute; within an hour.
std::optional<sys_seconds> missed_at(const DemandReport& report, const WorkersNeeded& needed,
                                     const std::array<Asked, demand_horizons.size()>& middle,
                                     sys_seconds now) {
  const auto holds = [&](const Asked& asked) {
    return needed.holds(offered_of(asked, report.work), report.workers_now);
  };
  if (!holds(report.lately)) return now;
  Asked before = report.lately;
  minutes begin{0};
  for (std::size_t h = 0; h <= DemandForecast::an_hour; ++h) {
    const minutes end = demand_horizons[h];
    if (holds(middle[h])) {
      before = middle[h];
      begin = end;
      continue;
    }
    minutes good = begin;
    for (minutes bad = end; bad - good > minutes(1);) {
      const minutes half = good + (bad - good) / 2;
      const double share =
          static_cast<double>((half - begin).count()) / static_cast<double>((end - begin).count());
      (holds(between(before, middle[h], share)) ? good : bad) = half;
    }
    return now + good + minutes(1);
  }
  return std::nullopt;
}

// With the target's law, for all that is forecast.
void tell_workers(DemandReport& report, ServersNeeded& servers, const DemandQuestion& question,
                  const std::array<Asked, demand_horizons.size()>& middle) {
  const WorkersNeeded needed(*question.target);
  const auto workers_of = [&](const Asked& asked) -> std::optional<std::uint32_t> {
    const auto workers = needed.of(offered_of(asked, report.work));
    if (!workers) report.why_no_workers = workers.error();
    return workers ? std::optional(*workers) : std::nullopt;
  };
  report.workers_needed_now = workers_of(report.lately);
  std::optional<std::size_t> ahead;  // the first that is not before a server serves
  for (std::size_t h = 0; h < report.horizons.size(); ++h) {
    report.horizons[h].workers = workers_of(likely_most(report.horizons[h], middle[h]));
    if (!ahead && demand_horizons[h] >= question.lead_time) ahead = h;
  }
  report.workers_ahead = report.horizons[ahead.value_or(DemandForecast::an_hour)].workers;
  if (!report.workers_needed_now || !report.workers_ahead) return;
  report.servers = servers.decide(*report.workers_needed_now, *report.workers_ahead,
                                  question.workers_per_server, question.bounds);
  report.missed_at = missed_at(report, needed, middle, question.now);
}

// Of each five minutes the mean.
void tell_yesterday(DemandReport& report, const DemandForecast& forecast) {
  constexpr Slot together = 5;
  const DemandRecord& record = forecast.record();
  const Slot end = record.last() / together * together + together;
  for (Slot begin = end - DemandRecord::day; begin < end; begin += together) {
    DemandReport::Past past{.minute = begin, .came = 0, .told = {0, 0}};
    float known = 0;
    float told = 0;
    for (Slot minute = begin; minute < begin + together; ++minute) {
      if (const auto asked = record.at(minute)) {
        past.came += static_cast<float>(sum(*asked));
        ++known;
      }
      if (const auto said = forecast.told(minute); !std::isnan(said.p50)) {
        past.told.p50 += said.p50;
        past.told.p90 += said.p90;
        ++told;
      }
    }
    past.came /= known;  // 0 / 0 is NaN: not known
    past.told.p50 /= told;
    past.told.p90 /= told;
    if (known > 0 || told > 0) report.yesterday.push_back(past);
  }
}

void tell_plans(DemandReport& report, const DemandForecast& forecast) {
  for (std::size_t i = 0; i < PlanRecord::places; ++i) {
    if (forecast.plans().name(i).empty()) continue;
    DemandReport::Plan& plan = report.plans.emplace_back();
    plan.name = forecast.plans().name(i);
    plan.lately = forecast.lately_of_plan(i);
    for (std::size_t h = 0; h < plan.horizons.size(); ++h)
      plan.horizons[h] = forecast.of_plan(i, h).value_or(Quantiles{});
  }
}

std::string why_nothing(const DemandForecast& forecast, sys_seconds now) {
  constexpr minutes longest_silence{5};
  if (forecast.says_nothing())
    return fmt::format("too little is known: {} of {} minutes", forecast.record().known(),
                       DemandForecast::minutes_least);
  const sys_seconds last{minutes(forecast.record().last() + 1)};
  if (now - last > longest_silence)
    return "the last minutes are not known: this process has just begun, or the clock was set";
  return {};
}

}  // namespace

DemandReport report_demand(const DemandForecast& forecast, const ServiceTimes& times,
                           ServersNeeded& servers, const DemandQuestion& question) {
  DemandReport report{.at = question.now,
                      .why_nothing = why_nothing(forecast, question.now),
                      .minutes_known = forecast.record().known(),
                      .is_cold = forecast.is_cold(),
                      .target = question.target ? question.target->text : std::string(),
                      .workers_now = question.workers_in_force,
                      .workers_per_server = question.workers_per_server,
                      .servers_now = question.servers_in_force,
                      .lead_time = question.lead_time};
  if (!report.why_nothing.empty()) {
    report.why_no_workers = report.why_nothing;
    return report;
  }
  report.lately = forecast.lately();
  report.work = times.work();
  std::array<Asked, demand_horizons.size()> middle{};
  for (std::size_t h = 0; h < report.horizons.size(); ++h) {
    DemandReport::Horizon& horizon = report.horizons[h];
    horizon.all = forecast.all(h);
    for (std::size_t i = 0; i < horizon.by_priority.size(); ++i)
      horizon.by_priority[i] = forecast.of_priority(i, h);
    horizon.error = forecast.error(h);
    middle[h] = forecast.middle(h);
  }
  tell_plans(report, forecast);
  if (!question.target)
    report.why_no_workers = "there is no target (forecast.target)";
  else if (!times.are_known())
    report.why_no_workers =
        fmt::format("too few requests have ended to tell how long they take: {} are needed",
                    ServiceTimes::requests_least);
  else
    tell_workers(report, servers, question, middle);
  tell_yesterday(report, forecast);
  return report;
}

}  // namespace classgate::history
