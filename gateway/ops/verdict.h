#pragma once

#include <string>

#include "gateway/health_report.h"

namespace classgate::gateway {

// How it goes, in words for whoever opens the page: "ok: 31 of 50 workers, nobody waits".
std::string verdict_of(const HealthReport& report);

}  // namespace classgate::gateway
