#include "gateway/planning/service_times.h"

#include <algorithm>

namespace classgate::planning {

void ServiceTimes::add(const std::string& route, Duration took) {
  by_route_[route].push_back(took);
  all_.push_back(took);
}

void ServiceTimes::settle() {
  std::ranges::sort(all_);
  for (auto& [route, times] : by_route_) std::ranges::sort(times);
}

// One that nobody has been served on takes what all take.
const std::vector<Duration>& ServiceTimes::of(const std::string& route) const {
  const auto found = by_route_.find(route);
  return found == by_route_.end() ? all_ : found->second;
}

Duration ServiceTimes::draw(const std::string& route, simulation::Random& random) const {
  const std::vector<Duration>& times = of(route);
  return times.empty() ? Duration::zero() : times[random.below(times.size())];
}

conf::Law ServiceTimes::fitted(const std::string& route) const {
  const std::vector<Duration>& times = of(route);
  if (times.empty()) return {};
  const auto at = [&](double share) {
    return times[static_cast<std::size_t>(share * static_cast<double>(times.size() - 1))];
  };
  const Duration median = std::max(at(0.5), Duration(1000));
  return {conf::Law::Kind::lognormal, median, std::max(at(0.95), median), 0};
}

}  // namespace classgate::planning
