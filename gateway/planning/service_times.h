#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "admission/simulation/draw.h"
#include "admission/time.h"
#include "conf/workload.h"

namespace classgate::planning {

using admission::Duration;

// What the service took for the requests of each route, as far as a log tells: for those that it
// never saw.
class ServiceTimes {
 public:
  void add(const std::string& route, Duration took);
  void settle();  // sorts; before drawing
  // As often as it was recorded.
  Duration draw(const std::string& route, simulation::Random& random) const;
  // The lognormal law with the recorded median and 95th percentile.
  conf::Law fitted(const std::string& route) const;
  bool is_empty() const { return all_.empty(); }
  Duration median() const { return all_.empty() ? Duration::zero() : all_[all_.size() / 2]; }

 private:
  const std::vector<Duration>& of(const std::string& route) const;
  std::unordered_map<std::string, std::vector<Duration>> by_route_;
  std::vector<Duration> all_;
};

}  // namespace classgate::planning
