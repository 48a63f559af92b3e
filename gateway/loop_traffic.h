#pragma once

#include <utility>
#include <vector>

#include "admission/ids.h"
#include "admission/route_table.h"
#include "gateway/policy.h"
#include "gateway/traffic.h"

namespace classgate::gateway {

// The numbers of one loop, and which of them are those of a route or a plan of the rules in force.
// On the loop, but for numbers().
class LoopTraffic {
 public:
  // Any thread may read them.
  Traffic& numbers() { return numbers_; }
  const Traffic& numbers() const { return numbers_; }
  RouteTraffic& of(const admission::Route& route) { return *places_.routes[route.index]; }
  RouteTraffic& unrouted() { return unrouted_; }
  PlanTraffic& of(admission::PlanId plan) {
    PlanTraffic* const* const own = places_.plans.find(plan);
    return own != nullptr && *own != nullptr ? **own : unplanned_;
  }

  // Other rules in two steps: the first asks for memory, and nothing stops the second.
  struct Places {
    std::vector<RouteTraffic*> routes;  // by their index
    admission::ById<admission::PlanId, PlanTraffic*> plans;
  };
  Places under(const Rules& rules);
  void use(Places places) { places_ = std::move(places); }
  bool has_rules() const { return !places_.routes.empty(); }  // not before the first

 private:
  Traffic numbers_;
  RouteTraffic& unrouted_ = numbers_.route("-", 0);
  PlanTraffic& unplanned_ = numbers_.plan("-");  // of everybody else
  Places places_;
};

}  // namespace classgate::gateway
