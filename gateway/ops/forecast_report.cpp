#include "gateway/ops/forecast_report.h"

#include <cmath>
#include <string>
#include <utility>

#include "conf/printable.h"
#include "gateway/wall_time.h"

namespace classgate::gateway {
namespace {

using nlohmann::ordered_json;
using Report = history::DemandReport;

constexpr double seconds_a_minute = 60;
constexpr std::array<std::string_view, history::demand_horizons.size()> horizon_words{"5m", "15m",
                                                                                      "1h", "24h"};

ordered_json number_or_null(double value) {
  return std::isfinite(value) ? ordered_json(value) : ordered_json(nullptr);
}
ordered_json number_or_null(const std::optional<std::uint32_t>& value) {
  return value ? ordered_json(*value) : ordered_json(nullptr);
}
ordered_json text_or_null(const std::string& text) {
  return text.empty() ? ordered_json(nullptr) : ordered_json(text);
}
ordered_json a_second(double a_minute) { return number_or_null(a_minute / seconds_a_minute); }

ordered_json quantiles_json(const history::Quantiles& said) {
  return {{"p50", a_second(said.p50)}, {"p90", a_second(said.p90)}, {"p99", a_second(said.p99)}};
}

ordered_json horizon_json(const Report& report, std::size_t index) {
  const Report::Horizon& horizon = report.horizons[index];
  ordered_json json{
      {"horizon", horizon_words[index]},
      {"horizon_seconds", std::chrono::seconds(history::demand_horizons[index]).count()},
      {"time", wall_time_text(report.at + history::demand_horizons[index])}};
  json.update(quantiles_json(horizon.all));
  ordered_json priorities = ordered_json::array();
  for (std::size_t i = 0; i < horizon.by_priority.size(); ++i)
    if (horizon.by_priority[i]) {
      ordered_json one{{"priority", i + 1}};
      one.update(quantiles_json(*horizon.by_priority[i]));
      priorities.push_back(std::move(one));
    }
  json["by_priority"] = std::move(priorities);
  ordered_json plans = ordered_json::array();
  for (const Report::Plan& plan : report.plans) {
    ordered_json one{{"plan", conf::printable(plan.name)}};
    one.update(quantiles_json(plan.horizons[index]));
    plans.push_back(std::move(one));
  }
  json["by_plan"] = std::move(plans);
  json["workers_needed"] = number_or_null(horizon.workers);
  json["last_day"] = {{"minutes", horizon.error.compared},
                      {"mean_absolute_error", a_second(horizon.error.mean)},
                      {"wape", number_or_null(horizon.error.share)},
                      {"below_p90", number_or_null(horizon.error.below_p90)}};
  return json;
}

ordered_json past_json(const Report::Past& past) {
  return {{"time", wall_time_text(std::chrono::sys_seconds(std::chrono::minutes(past.minute)))},
          {"came", a_second(static_cast<double>(past.came))},
          {"p50", a_second(static_cast<double>(past.told.p50))},
          {"p90", a_second(static_cast<double>(past.told.p90))}};
}

ordered_json lately_json(const Report& report) {
  ordered_json priorities = ordered_json::array();
  for (std::size_t i = 0; i < report.lately.size(); ++i)
    if (report.lately[i] > 0)
      priorities.push_back({{"priority", i + 1},
                            {"demand", a_second(static_cast<double>(report.lately[i]))},
                            {"seconds_per_cost", number_or_null(report.work[i].seconds_per_cost)}});
  ordered_json plans = ordered_json::array();
  for (const Report::Plan& plan : report.plans)
    plans.push_back({{"plan", conf::printable(plan.name)}, {"demand", a_second(plan.lately)}});
  return {{"demand", a_second(history::sum(report.lately))},
          {"by_priority", priorities},
          {"by_plan", plans}};
}

}  // namespace

ordered_json forecast_json(const Report* report, bool is_kept) {
  static const Report nothing{.why_nothing =
                                  "too little is known: the first minute has not passed yet"};
  static const Report off{.why_nothing = "demand is not kept (forecast.keep)"};
  if (report == nullptr) report = is_kept ? &nothing : &off;
  const bool is_known = report->why_nothing.empty();
  const bool has_time = report->at != std::chrono::sys_seconds{};
  ordered_json json{{"time", has_time ? ordered_json(wall_time_text(report->at)) : nullptr},
                    {"known", is_known},
                    {"why_not", text_or_null(report->why_nothing)},
                    {"minutes_known", report->minutes_known},
                    {"has_a_day", !report->is_cold},
                    {"unit", "cost a second"},
                    {"now", is_known ? lately_json(*report) : ordered_json(nullptr)},
                    {"forecast", ordered_json::array()}};
  for (std::size_t i = 0; is_known && i < report->horizons.size(); ++i)
    json["forecast"].push_back(horizon_json(*report, i));
  const std::string& why =
      report->why_no_workers.empty() && !is_known ? report->why_nothing : report->why_no_workers;
  json["workers"] = {{"target", text_or_null(report->target)},
                     {"now", report->workers_now},
                     {"needed_now", number_or_null(report->workers_needed_now)},
                     {"needed", number_or_null(report->workers_ahead)},
                     {"why_not", text_or_null(why)}};
  json["servers"] = {
      {"now", report->servers_now},
      {"needed", number_or_null(report->servers)},
      {"workers_per_server", report->workers_per_server},
      {"lead_time_seconds", std::chrono::duration<double>(report->lead_time).count()}};
  json["target_missed_at"] =
      report->missed_at ? ordered_json(wall_time_text(*report->missed_at)) : nullptr;
  json["last_day"] = ordered_json::array();
  for (const Report::Past& past : report->yesterday) json["last_day"].push_back(past_json(past));
  return json;
}

void add_forecast(MetricFamilies& out, const Report* report) {
  const bool is_missed = report != nullptr && report->missed_at.has_value();
  out.gauge("classgate_target_miss_expected",
            "1 when forecast.target is missed within an hour at this trend, with the workers in "
            "force; else 0, also while nothing is forecast.")
      .value(is_missed ? 1 : 0);
  if (is_missed)
    out.gauge("classgate_target_miss_expected_timestamp_seconds", "When that is.")
        .value(report->missed_at->time_since_epoch().count());
  if (report == nullptr) return;
  out.gauge("classgate_demand_known_minutes",
            "Minutes of the last two weeks whose demand is known; with less than 5 nothing is "
            "forecast.")
      .value(report->minutes_known);
  if (!report->why_nothing.empty()) return;
  const auto each_quantile = [](const history::Quantiles& said, auto add) {
    for (const auto& [word, value] :
         {std::pair("0.5", said.p50), std::pair("0.9", said.p90), std::pair("0.99", said.p99)})
      if (std::isfinite(value)) add(word, value / seconds_a_minute);
  };
  const auto word_of = [](std::size_t horizon) { return std::string(horizon_words[horizon]); };
  out.gauge("classgate_demand",
            "What is asked for in the last minutes, in cost a second: arrivals with the refused "
            "ones, without their retries; by priority.");
  for (std::size_t i = 0; i < report->lately.size(); ++i)
    out.value(static_cast<double>(report->lately[i]) / seconds_a_minute,
              {{"priority", std::to_string(i + 1)}});
  out.gauge("classgate_demand_forecast",
            "Demand that is expected in so long, in cost a second: with that probability it is "
            "less.");
  for (std::size_t h = 0; h < report->horizons.size(); ++h)
    each_quantile(report->horizons[h].all, [&](const char* quantile, double value) {
      out.value(value, {{"horizon", word_of(h)}, {"quantile", quantile}});
    });
  out.gauge("classgate_demand_forecast_by_priority",
            "The same of each priority that is asked for.");
  for (std::size_t h = 0; h < report->horizons.size(); ++h)
    for (std::size_t i = 0; i < report->horizons[h].by_priority.size(); ++i)
      if (const auto& said = report->horizons[h].by_priority[i])
        each_quantile(*said, [&](const char* quantile, double value) {
          out.value(value, {{"priority", std::to_string(i + 1)},
                            {"horizon", word_of(h)},
                            {"quantile", quantile}});
        });
  if (!report->plans.empty()) {
    out.gauge("classgate_demand_by_plan",
              "What is asked for in the last minutes, in cost a second, by plan; \"-\": who is in "
              "none, \"(others)\": plans beyond the eighth.");
    for (const Report::Plan& plan : report->plans)
      out.value(plan.lately / seconds_a_minute, {{"plan", conf::printable(plan.name)}});
    out.gauge("classgate_demand_forecast_by_plan", "What is expected of each of them.");
    for (std::size_t h = 0; h < history::demand_horizons.size(); ++h)
      for (const Report::Plan& plan : report->plans)
        each_quantile(plan.horizons[h], [&](const char* quantile, double value) {
          out.value(value, {{"plan", conf::printable(plan.name)},
                            {"horizon", word_of(h)},
                            {"quantile", quantile}});
        });
  }
  out.gauge("classgate_forecast_error_ratio",
            "How wrong it was over the last day: the sum of errors of the median, by what came.");
  for (std::size_t h = 0; h < report->horizons.size(); ++h)
    if (const auto& error = report->horizons[h].error; std::isfinite(error.share))
      out.value(error.share, {{"horizon", word_of(h)}});
  out.gauge("classgate_forecast_p90_coverage_ratio",
            "Share of the minutes of the last day in which no more came than was said with a "
            "probability of 0.9.");
  for (std::size_t h = 0; h < report->horizons.size(); ++h)
    if (const auto& error = report->horizons[h].error; std::isfinite(error.below_p90))
      out.value(error.below_p90, {{"horizon", word_of(h)}});
  if (!report->workers_needed_now) return;
  out.gauge("classgate_workers_needed",
            "Workers with which forecast.target holds for the demand that is not passed with a "
            "probability of 0.9; horizon 0: for the demand of the last minutes.");
  out.value(*report->workers_needed_now, {{"horizon", "0"}});
  for (std::size_t h = 0; h < report->horizons.size(); ++h)
    if (const auto& workers = report->horizons[h].workers)
      out.value(*workers, {{"horizon", word_of(h)}});
  if (!report->servers) return;
  out.gauge("classgate_servers_needed",
            "Servers of the service that are needed when one that is started now serves "
            "(forecast.lead_time); never fewer than the demand of the last minutes needs.")
      .value(*report->servers);
}

}  // namespace classgate::gateway
