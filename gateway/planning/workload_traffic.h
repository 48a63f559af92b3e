#pragma once

#include "admission/simulation/class_traffic.h"
#include "gateway/planning/named_traffic.h"

namespace classgate::planning {

// A workload file as traffic.
class WorkloadTraffic final : public NamedTraffic {
 public:
  WorkloadTraffic(const conf::Workload& workload, const admission::RouteTable& routes,
                  std::vector<simulation::ClassTraffic::Client> clients = {})
      : workload_(workload), classes_(workload, routes, std::move(clients)) {}

  bool next(simulation::Wish& wish) override {
    const bool is_there = classes_.next(wish);
    if (is_there) last_ = wish.at;
    return is_there;
  }
  bool after(const simulation::Wish& wish, const simulation::Ending& ending, simulation::Time now,
             simulation::Wish& follow) override {
    last_ = std::max(last_, now);
    return classes_.after(wish, ending, now, follow);
  }
  std::string group_kind() const override { return "class"; }
  std::string group_name(std::uint32_t group) const override {
    return workload_.classes[group].name;
  }
  std::string client_name(std::uint32_t client) const override {
    return classes_.client_name(client);
  }
  double progress() const override {
    return static_cast<double>(last_.time_since_epoch().count()) /
           static_cast<double>(workload_.duration.count());
  }

 private:
  conf::Workload workload_;
  simulation::ClassTraffic classes_;
  simulation::Time last_{};
};

}  // namespace classgate::planning
