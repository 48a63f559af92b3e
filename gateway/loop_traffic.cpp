#include "gateway/loop_traffic.h"

namespace classgate::gateway {

LoopTraffic::Places LoopTraffic::under(const Rules& rules) {
  Places places;
  for (const conf::RouteSettings& route : rules.settings.routes)
    places.routes.push_back(&numbers_.route(conf::name_of(route), route.priority));
  places.routes.push_back(&numbers_.route("*", conf::priority_worst));
  for (const conf::PlanSettings& plan : rules.settings.admission.fairness.plans)
    *places.plans.find_or_add(rules.ids.plan(plan.name)) = &numbers_.plan(plan.name);
  return places;
}

}  // namespace classgate::gateway
