#pragma once

#include <utility>
#include <vector>

#include "admission/ids.h"
#include "admission/route_table.h"
#include "gateway/history/usage_names.h"
#include "gateway/loop_metrics.h"
#include "gateway/policy.h"

namespace classgate::gateway {

// The numbers of one loop, and which of them are those of a route or a plan of the rules in force.
// On the loop, but for all().
class RuleMetrics {
 public:
  // Any thread may read them.
  LoopMetrics& all() { return all_; }
  const LoopMetrics& all() const { return all_; }
  RouteMetrics& of(const admission::Route& route) { return *places_.routes[route.index]; }
  RouteMetrics& unrouted() { return unrouted_; }
  PlanMetrics& of(admission::PlanId plan) {
    PlanMetrics* const* const own = places_.plans.find(plan);
    return own != nullptr && *own != nullptr ? **own : unplanned_;
  }

  // Other rules in two steps: the first asks for memory, and nothing stops the second.
  struct Places {
    std::vector<RouteMetrics*> routes;  // by their index
    admission::ById<admission::PlanId, PlanMetrics*> plans;
  };
  Places under(const Rules& rules, UsageNames& names);
  void use(Places places) { places_ = std::move(places); }
  bool has_rules() const { return !places_.routes.empty(); }  // not before the first

 private:
  LoopMetrics all_;
  RouteMetrics& unrouted_ = all_.route("-", 0);
  PlanMetrics& unplanned_ = all_.plan("-");  // of everybody else
  Places places_;
};

}  // namespace classgate::gateway
