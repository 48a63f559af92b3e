#include "gateway/planning/forecast.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include <nlohmann/json.hpp>

#include "conf/format.h"
#include "conf/printable.h"
#include "conf/time_zone.h"
#include "conf/units.h"
#include "gateway/planning/autoscale.h"
#include "gateway/planning/backtest.h"
#include "gateway/planning/forecast_page.h"
#include "gateway/planning/output.h"
#include "gateway/planning/series.h"

namespace classgate::planning {
namespace {

using Json = nlohmann::ordered_json;
using Zone = std::shared_ptr<const conf::TimeZone>;

// What is asked of one series, and what came of it.
struct Report {
  const Series& series;
  const Zone& zone;
  const Replay& replay;
  bool has_backtest;
  std::string why_no_backtest;
};

// NaN, which JSON has no word for, is null.
Json json_number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

std::string number_text(double value) {
  return std::isnan(value) ? "-" : fmt::format("{:.{}f}", value, value < 100 ? 2 : 0);
}

// "2026-11-28 09:30", by the clock there.
std::string clock_text(const Zone& zone, std::chrono::sys_seconds time) {
  std::string text = zone->text_of(time).substr(0, 16);
  std::ranges::replace(text, 'T', ' ');
  return text;
}

Json json_of(const Score& score) {
  return {{"mase", json_number(score.mase)},
          {"wape", json_number(score.wape)},
          {"coverage_p90", json_number(score.coverage_p90)},
          {"pinball_p90", json_number(score.pinball_p90)},
          {"pinball_p99", json_number(score.pinball_p99)},
          {"mean_absolute_error", json_number(score.mean_error)}};
}

Json json_of(const Backtest& test, const Zone& zone) {
  Json json = json_of(test.blend);
  json["horizon_seconds"] = test.horizon.count();
  json["compared"] = test.compared;
  json["useful_since"] =
      test.useful_since ? Json(zone->text_of(*test.useful_since)) : Json(nullptr);
  for (std::size_t k = 0; k < history::experts; ++k)
    json["experts"][std::string(word_of(static_cast<history::Expert>(k)))] =
        json_of(test.experts[k]);
  return json;
}

Json to_json(const Report& report) {
  const Series& series = report.series;
  Json json{{"series", series.what},
            {"step_seconds", series.step.count()},
            {"values", series.values.size()},
            {"missing", series.missing()},
            {"first", report.zone->text_of(series.time_of(0))},
            {"last", report.zone->text_of(series.time_of(series.values.size() - 1))},
            {"remarks", series.remarks}};
  json["forecast"] = Json::array();
  for (std::size_t h = 0; h < report.replay.to_come.size(); ++h) {
    const history::Quantiles& said = report.replay.to_come[h];
    const std::chrono::seconds horizon = report.replay.backtests[h].horizon;
    json["forecast"].push_back(
        {{"horizon_seconds", horizon.count()},
         {"time", report.zone->text_of(series.time_of(series.values.size() - 1) + horizon)},
         {"p50", said.p50},
         {"p90", json_number(said.p90)},
         {"p99", json_number(said.p99)}});
  }
  if (!report.has_backtest) {
    json["backtest"] = nullptr;
    json["why_no_backtest"] = report.why_no_backtest;
    return json;
  }
  // One horizon as it is, of several the longest below a day; all of them beside it.
  std::size_t main = 0;
  json["backtests"] = Json::array();
  for (std::size_t h = 0; h < report.replay.backtests.size(); ++h) {
    const Backtest& test = report.replay.backtests[h];
    if (test.horizon <= std::chrono::hours(1)) main = h;
    json["backtests"].push_back(json_of(test, report.zone));
  }
  json["backtest"] = json["backtests"][main];
  return json;
}

// The last day in bars of an hour.
std::string chart(const Report& report) {
  constexpr int width = 50;
  const Series& series = report.series;
  struct Bar {
    std::string label;
    double p50, p90, p99;
  };
  std::vector<Bar> bars;
  const auto per_bar = static_cast<std::size_t>(std::chrono::hours(1) / series.step);
  for (int back = 24; back > 0; --back) {
    const std::size_t behind = static_cast<std::size_t>(back) * per_bar;
    if (behind > series.values.size()) continue;
    double sum = 0;
    int known = 0;
    const std::size_t begin = series.values.size() - behind;
    for (std::size_t i = begin; i < begin + per_bar; ++i)
      if (!std::isnan(series.values[i])) {
        sum += series.values[i];
        ++known;
      }
    const double mean = known == 0 ? 0 : sum / known;
    bars.push_back({clock_text(report.zone, series.time_of(begin)), mean, mean, mean});
  }
  const std::size_t was = bars.size();
  const auto last = series.time_of(series.values.size() - 1);
  for (std::size_t h = 0; h < report.replay.to_come.size(); ++h) {
    const history::Quantiles& said = report.replay.to_come[h];
    const bool is_sure = !std::isnan(said.p90);
    bars.push_back({clock_text(report.zone, last + report.replay.backtests[h].horizon), said.p50,
                    is_sure ? said.p90 : said.p50, is_sure ? said.p99 : said.p50});
  }
  double most = 0;
  for (const Bar& bar : bars) most = std::max(most, bar.p99);
  if (most <= 0) most = 1;
  const auto places = [&](double value) {
    return static_cast<std::size_t>(std::lround(value / most * width));
  };
  std::string text = fmt::format("\n{:<18}0{:>{}}\n", "", number_text(most), width - 1);
  for (std::size_t i = 0; i < bars.size(); ++i) {
    if (i == was) text += "to come: # to p50, = to p90, - to p99\n";
    const Bar& bar = bars[i];
    text += fmt::format("{:<18}{}{}{}\n", bar.label, std::string(places(bar.p50), '#'),
                        std::string(places(bar.p90) - places(bar.p50), '='),
                        std::string(places(bar.p99) - places(bar.p90), '-'));
  }
  return text;
}

std::string table_of(const Backtest& test, const Zone& zone) {
  std::string text =
      fmt::format("\n{} ahead, over the second half ({} values):\n{:<20}{:>8}{:>8}{:>10}{:>13}\n",
                  conf::print_duration(test.horizon), test.compared, "", "MASE", "WAPE",
                  "below p90", "pinball p90");
  const auto row = [](std::string_view name, const Score& score) {
    return fmt::format("{:<20}{:>8}{:>8}{:>8.1f} %{:>13}\n", name, number_text(score.mase),
                       number_text(score.wape), 100 * score.coverage_p90,
                       number_text(score.pinball_p90));
  };
  text += row("this forecast", test.blend);
  for (std::size_t k = 0; k < history::experts; ++k)
    text += row(word_of(static_cast<history::Expert>(k)), test.experts[k]);
  text += test.useful_since ? fmt::format("better than as now and as yesterday since {}\n",
                                          clock_text(zone, *test.useful_since))
                            : std::string("not better than as now or as yesterday so far\n");
  return text;
}

std::string to_text(const Report& report, bool only_backtest) {
  const Series& series = report.series;
  const auto last = series.time_of(series.values.size() - 1);
  std::string text =
      fmt::format("{}: {} steps of {}, {} to {}\n", series.what, series.values.size(),
                  conf::print_duration(series.step), clock_text(report.zone, series.time_of(0)),
                  clock_text(report.zone, last));
  if (!only_backtest) {
    text += fmt::format("\n{:<8}{:<18}{:>12}{:>12}{:>12}\n", "in", "at", "p50", "p90", "p99");
    for (std::size_t h = 0; h < report.replay.to_come.size(); ++h) {
      const history::Quantiles& said = report.replay.to_come[h];
      const std::chrono::seconds horizon = report.replay.backtests[h].horizon;
      text += fmt::format("{:<8}{:<18}{:>12}{:>12}{:>12}\n", conf::print_duration(horizon),
                          clock_text(report.zone, last + horizon), number_text(said.p50),
                          number_text(said.p90), number_text(said.p99));
    }
    text += chart(report);
  }
  if (report.has_backtest)
    for (const Backtest& test : report.replay.backtests) text += table_of(test, report.zone);
  else
    text += fmt::format("\nnot tried on what came: {}\n", report.why_no_backtest);
  return text;
}

// What is asked for; of the usual ones those that are a step at least, and not the same twice.
std::vector<std::chrono::seconds> horizons_of(const conf::ForecastOptions& options,
                                              const Series& series) {
  if (options.horizon) return {*options.horizon};
  std::vector<std::chrono::seconds> horizons;
  for (const std::chrono::seconds usual :
       {std::chrono::seconds(300), std::chrono::seconds(900), std::chrono::seconds(3'600),
        std::chrono::seconds(86'400)})
    if (usual >= series.step) horizons.push_back(usual);
  return horizons;
}

// What lies further back than this has been forgotten by all that learns of it (two weeks of
// minutes are 20,000 steps), and a value costs some 50 us.
constexpr std::size_t steps_looked_at = 60'000;

void leave_out_old(Series& series) {
  const std::size_t all = series.values.size();
  if (all <= steps_looked_at) return;
  series.values.erase(series.values.begin(),
                      series.values.end() - static_cast<std::ptrdiff_t>(steps_looked_at));
  series.first_slot += static_cast<std::int64_t>(all - steps_looked_at);
  series.remarks.push_back(fmt::format("of its {} steps the last {} are looked at, since {}", all,
                                       steps_looked_at,
                                       conf::TimeZone().text_of(series.time_of(0))));
}

// Why nothing can be said of what comes; empty: it can.
std::string why_too_little(const Series& series) {
  constexpr std::size_t known_least = 12;
  const std::size_t all = series.values.size();
  const std::size_t unknown = series.missing();
  if (all - unknown < known_least)
    return fmt::format("{}: too short: {} of {} steps of {} {} known, and {} are needed",
                       series.what, all - unknown, all, conf::print_duration(series.step),
                       all - unknown == 1 ? "is" : "are", known_least);
  if (2 * unknown > all)
    return fmt::format(
        "{}: {} of {} steps of {} are missing: of a load that is mostly unknown nothing can be "
        "said (--step makes longer steps, up to 1h)",
        series.what, unknown, all, conf::print_duration(series.step));
  return {};
}

}  // namespace

int forecast(const conf::CommandLine& command,
             const std::vector<std::pair<std::string, std::string>>& environment) {
  const conf::ForecastOptions& options = command.forecast;
  const auto zone = conf::TimeZone::load(options.time_zone);
  if (!zone) return complain("--time-zone: " + zone.error());
  auto series = options.series.empty() ? read_demand(command, environment) : read_series(options);
  if (!series) return complain(series.error());
  leave_out_old(*series);
  tell_remarks(series->remarks);
  const auto horizons = horizons_of(options, *series);
  if (const std::string why = why_too_little(*series); !why.empty()) return complain(why);
  if (!options.autoscale.empty()) {
    if (!command.planning.html.empty())
      return complain("--autoscale has a table and --json, and no page");
    if (const std::string why = why_no_autoscale(options, *series); !why.empty())
      return complain(why);
    const auto rows = autoscale(options, *series, *zone);
    return write(command.planning, autoscale_text(options, *series, rows),
                 autoscale_json(options, *series, rows));
  }
  if (options.horizon && *options.horizon < series->step)
    return complain(fmt::format("--horizon {} is less than a step, {}",
                                conf::print_duration(*options.horizon),
                                conf::print_duration(series->step)));
  const std::string why = why_no_backtest(*series, horizons.back());
  if (options.backtest && !why.empty()) return complain(why);
  const auto replayed = replay(*series, horizons, *zone);
  if (!replayed) return complain(replayed.error());
  for (const Backtest& test : replayed->backtests)
    if (options.horizon && test.horizon != *options.horizon)
      tell_remarks({fmt::format(
          "a horizon of {} is {} in steps of {}", conf::print_duration(*options.horizon),
          conf::print_duration(test.horizon), conf::print_duration(series->step))});
  const Report report{*series, *zone, *replayed, why.empty(), why};
  const Json json = to_json(report);
  conf::PlanningOptions outputs = command.planning;
  outputs.html.clear();
  int status = write(outputs, to_text(report, options.backtest), json);
  if (!command.planning.html.empty())
    status = std::max(status, write_forecast_page(command.planning.html, *series, json));
  return status;
}

}  // namespace classgate::planning
