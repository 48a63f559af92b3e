#include "gateway/traffic.h"

#include <algorithm>

namespace classgate::gateway {

void DurationHistogram::record(admission::Duration duration) {
  const double seconds = std::chrono::duration<double>(duration).count();
  const auto bucket = std::ranges::lower_bound(bounds, seconds) - bounds.begin();
  buckets_[static_cast<std::size_t>(bucket)].add();
  sum_ns_.add(static_cast<std::uint64_t>(std::max<admission::Duration::rep>(duration.count(), 0)));
}

RouteTraffic& Traffic::route(const std::string& name, int priority) {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find_if(routes_, [&](const RouteTraffic& route) {
    return route.name == name && route.priority == priority;
  });
  if (found != routes_.end()) return *found;
  if (routes_.size() >= routes_max) return routes_.back();
  RouteTraffic& route = routes_.emplace_back();
  route.name = routes_.size() == routes_max ? "(others)" : name;
  route.priority = priority;
  return route;
}

void Traffic::for_each_route(const std::function<void(const RouteTraffic&)>& visit) const {
  const std::lock_guard lock(mutex_);
  for (const RouteTraffic& route : routes_) visit(route);
}

}  // namespace classgate::gateway
