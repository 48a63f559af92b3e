#include "gateway/health.h"

#include "gateway/health_json.h"
#include "gateway/json_text.h"

namespace classgate::gateway {

HealthPage make_health_page(const Shared& shared, const Policy& policy, admission::Time now,
                            Asker asker) {
  const HealthReport report = report_health(shared, policy, now, asker);
  return {report.can_serve() ? 200 : 503, json_text(health_json(report, asker))};
}

const HealthPage& StrangersHealth::at(admission::Time now, const Shared& shared,
                                      const Policy& policy) {
  const bool is_draining = shared.is_draining.load(std::memory_order_relaxed);
  if (is_made_ && is_draining == was_draining_ &&
      now - made_ < policy.rules->settings.ops.health_cache)
    return page_;
  page_ = make_health_page(shared, policy, now, Asker::stranger);
  made_ = now;
  is_made_ = true;
  was_draining_ = is_draining;
  return page_;
}

}  // namespace classgate::gateway
