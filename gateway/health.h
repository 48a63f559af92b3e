#pragma once

#include <string>
#include <string_view>

#include "gateway/health_report.h"

namespace classgate::gateway {

inline constexpr std::string_view health_path = "/queue/health";

struct HealthPage {
  int status;  // 200 while it can serve, 503 when draining or when no upstream answers
  std::string json;
};

// What GET /queue/health says. Any thread; the numbers are of one instant and balance.
HealthPage make_health_page(const Shared& shared, const Policy& policy, admission::Time now,
                            Asker asker);

// What strangers see, made anew when it is older than ops.health_cache, so that a flood costs no
// more than one of refusals. Of one loop.
class StrangersHealth {
 public:
  // Until the next call.
  const HealthPage& at(admission::Time now, const Shared& shared, const Policy& policy);
  // After a change of the policy.
  void forget() { is_made_ = false; }

 private:
  HealthPage page_{};
  admission::Time made_{};
  bool is_made_ = false;
  bool was_draining_ = false;
};

}  // namespace classgate::gateway
