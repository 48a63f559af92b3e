#include "gateway/rule_metrics.h"

namespace classgate::gateway {

RuleMetrics::Places RuleMetrics::under(const Rules& rules) {
  Places places;
  for (const conf::RouteSettings& route : rules.settings.routes)
    places.routes.push_back(&all_.route(conf::name_of(route), route.priority));
  places.routes.push_back(&all_.route("*", conf::priority_worst));
  for (const conf::PlanSettings& plan : rules.settings.admission.fairness.plans)
    *places.plans.find_or_add(rules.ids.plan(plan.name)) = &all_.plan(plan.name);
  return places;
}

}  // namespace classgate::gateway
