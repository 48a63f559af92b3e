#pragma once

#include <nlohmann/json_fwd.hpp>

#include "gateway/health_report.h"

namespace classgate::gateway {

// What /queue/health says to them.
nlohmann::ordered_json health_json(const HealthReport& report, Asker asker);

}  // namespace classgate::gateway
