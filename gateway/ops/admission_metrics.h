#pragma once

#include <cstddef>
#include <string>

#include "gateway/health_report.h"
#include "gateway/ops/metric_families.h"

namespace classgate::gateway {

// As the label `priority` has it.
inline std::string word_of_priority(std::size_t index) { return std::to_string(index + 1); }

// Workers, places, rates and what is remembered of clients, as /metrics tells it. Any thread.
void add_admission(MetricFamilies& out, const HealthReport& report);
// Where there are quotas.
void add_quotas(MetricFamilies& out, const QuotaHealth& quotas);
// Where several gateways have their workers together.
void add_sharing(MetricFamilies& out, const SharingHealth& sharing, admission::Time now);

}  // namespace classgate::gateway
