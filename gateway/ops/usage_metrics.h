#pragma once

#include "gateway/history/usage_history.h"
#include "gateway/ops/metric_families.h"

namespace classgate::gateway {

// Who is there, as /metrics tells it; no series for any one client. Any thread.
void add_users(MetricFamilies& out, const UsageHistory::Numbers& users);

}  // namespace classgate::gateway
