#include "gateway/rule_metrics.h"

namespace classgate::gateway {

RuleMetrics::Places RuleMetrics::under(const Rules& rules, UsageNames& names) {
  Places places;
  const auto add_route = [&](const std::string& name, int priority) {
    RouteMetrics& route = all_.route(name, priority);
    route.number = names.number_of(route.name);
    places.routes.push_back(&route);
  };
  for (const conf::RouteSettings& route : rules.settings.routes)
    add_route(conf::name_of(route), route.priority);
  add_route("*", conf::priority_worst);
  for (const conf::PlanSettings& settings : rules.settings.admission.fairness.plans) {
    PlanMetrics& plan = all_.plan(settings.name);
    plan.number = names.number_of(plan.name);
    *places.plans.find_or_add(rules.ids.plan(settings.name)) = &plan;
  }
  return places;
}

}  // namespace classgate::gateway
