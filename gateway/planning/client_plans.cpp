#include "gateway/planning/client_plans.h"

#include <algorithm>

#include "conf/known_clients.h"

namespace classgate::planning {

ClientPlans::ClientPlans(const conf::Settings& settings) {
  const conf::FairnessSettings& fairness = settings.admission.fairness;
  const admission::Ids ids(settings);
  const auto limits = [](const conf::PlanSettings& plan) {
    return plan.rate > 0 || plan.workers > 0 || plan.queue_size > 0;
  };
  const auto is_address = [](const conf::IdentitySource& source) {
    return source.kind == conf::IdentitySource::Kind::address;
  };
  for (const conf::PlanSettings& plan : fairness.plans)
    by_name_.emplace(plan.name, ids.plan(plan.name));
  need_ids_ = !std::ranges::all_of(fairness.identity, is_address) &&
              (fairness.pattern.is_on || limits(fairness.everybody) ||
               std::ranges::any_of(fairness.plans, limits));
  if (settings.clients.known == nullptr) return;
  for (const conf::KnownClient& client : settings.clients.known->clients)
    of_known_.emplace(client.name,
                      client.plan.empty() ? admission::PlanId{} : ids.plan(client.plan));
}

ClientPlans::Found ClientPlans::of(const AccessEntry& entry) const {
  if (entry.name != "-")
    if (const auto known = of_known_.find(entry.name); known != of_known_.end())
      return {.plan = known->second};
  if (entry.plan.empty()) return {.is_told = false};
  if (entry.plan == "-") return {};
  const auto plan = by_name_.find(entry.plan);
  if (plan == by_name_.end()) return {.is_in_conf = false};
  return {.plan = plan->second};
}

}  // namespace classgate::planning
