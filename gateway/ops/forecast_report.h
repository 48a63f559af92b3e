#pragma once

#include <nlohmann/json.hpp>

#include "admission/history/demand_forecast.h"
#include "gateway/ops/metric_families.h"

namespace classgate::gateway {

// What is forecast, as GET /api/v1/forecast and the hook tell it (packaging/openapi.json) and as
// /metrics does: in cost a second. What is not known is null, and has no series. `report` null:
// nothing is kept, or nothing yet. Any thread.
nlohmann::ordered_json forecast_json(const history::DemandReport* report, bool is_kept);
void add_forecast(MetricFamilies& out, const history::DemandReport* report);

}  // namespace classgate::gateway
