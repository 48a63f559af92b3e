#include "gateway/planning/autoscale.h"

#include <algorithm>
#include <utility>

#include "conf/format.h"
#include "conf/units.h"

namespace classgate::planning {

std::string why_no_autoscale(const conf::ForecastOptions& options, const Series& series) {
  constexpr double servers_max = 100'000;
  double most = 0;
  for (const double value : series.values) most = std::max(most, value);  // false for NaN
  if (most <= servers_max * options.per_server) return {};
  return fmt::format("--per-server {}: a load of {} would need more than {} servers",
                     options.per_server, most, servers_max);
}

std::vector<ScalingRow> autoscale(const conf::ForecastOptions& options, const Series& series,
                                  std::shared_ptr<const conf::TimeZone> zone) {
  const history::LoadCurve load{series.step, series.first_slot, series.values};
  const history::ScalingSettings settings{options.per_server, options.start_delay, std::move(zone)};
  std::vector<ScalingRow> rows;
  for (const conf::ScalingRule rule : options.autoscale)
    rows.push_back({rule, history::replay_scaling(load, rule, settings)});
  return rows;
}

std::string autoscale_text(const conf::ForecastOptions& options, const Series& series,
                           const std::vector<ScalingRow>& rows) {
  std::string text = fmt::format(
      "{}: {} steps of {}, in a straight line from middle to middle; a server takes {} and serves "
      "{} after it is wished for\nover the second half, in the load's units x minutes:\n"
      "{:<10}{:>14}{:>10}{:>14}{:>10}{:>9}\n",
      series.what, series.values.size(), conf::print_duration(series.step), options.per_server,
      conf::print_duration(options.start_delay), "rule", "unmet", "of load", "cost", "started",
      "at most");
  for (const auto& [rule, result] : rows)
    text += fmt::format("{:<10}{:>14.1f}{:>8.3f} %{:>14.0f}{:>10}{:>9}\n", word_of(rule),
                        result.unmet, result.load > 0 ? 100 * result.unmet / result.load : 0.0,
                        result.running, result.started, result.most);
  return text;
}

nlohmann::ordered_json autoscale_json(const conf::ForecastOptions& options, const Series& series,
                                      const std::vector<ScalingRow>& rows) {
  nlohmann::ordered_json json{{"series", series.what},
                              {"step_seconds", series.step.count()},
                              {"values", series.values.size()},
                              {"missing", series.missing()},
                              {"per_server", options.per_server},
                              {"start_delay_seconds", options.start_delay.count()},
                              {"remarks", series.remarks}};
  for (const auto& [rule, result] : rows)
    json["autoscale"][std::string(word_of(rule))] = {{"unmet_worker_minutes", result.unmet},
                                                     {"cost_worker_minutes", result.running},
                                                     {"load_worker_minutes", result.load},
                                                     {"servers_started", result.started},
                                                     {"servers_most", result.most}};
  return json;
}

}  // namespace classgate::planning
