#pragma once

#include <string>
#include <string_view>

#include "gateway/policy.h"
#include "gateway/shared.h"

namespace classgate::gateway {

inline constexpr std::string_view health_path = "/queue/health";

struct Health {
  int status;  // 200 while it can serve, 503 when draining or when no upstream answers
  std::string json;
};

// What GET /queue/health says. Any thread; the numbers are of one instant and balance.
Health describe_health(const Shared& shared, const Policy& policy, admission::Time now);

}  // namespace classgate::gateway
