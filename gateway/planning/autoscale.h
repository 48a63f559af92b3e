#pragma once

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "admission/history/scaling_replay.h"
#include "conf/forecast_options.h"
#include "conf/time_zone.h"
#include "gateway/planning/series.h"

namespace classgate::planning {

struct ScalingRow {
  conf::ScalingRule rule;
  history::ScalingResult result;
};

// Empty, or why servers can't be scaled by this series: more of them than anybody has.
std::string why_no_autoscale(const conf::ForecastOptions& options, const Series& series);

// The rules of `options` over the series, in its second half.
std::vector<ScalingRow> autoscale(const conf::ForecastOptions& options, const Series& series,
                                  std::shared_ptr<const conf::TimeZone> zone);
std::string autoscale_text(const conf::ForecastOptions& options, const Series& series,
                           const std::vector<ScalingRow>& rows);
nlohmann::ordered_json autoscale_json(const conf::ForecastOptions& options, const Series& series,
                                      const std::vector<ScalingRow>& rows);

}  // namespace classgate::planning
