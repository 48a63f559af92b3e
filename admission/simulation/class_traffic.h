#pragma once

#include <optional>
#include <string>
#include <vector>

#include "admission/route_table.h"
#include "admission/simulation/draw.h"
#include "admission/simulation/traffic.h"

namespace classgate::simulation {

// The classes of a workload file. Deterministic: the workload's seed is the only chance there is.
class ClassTraffic final : public Traffic {
 public:
  // Who a client is to the gateway: several of the workload may be one.
  struct Client {
    std::uint32_t number = 0;  // of the first of those that are one
    admission::PlanId plan{};
  };
  // `clients`: in the order of the workload; none: each is one of its own, on everybody's terms.
  ClassTraffic(const conf::Workload& workload, const admission::RouteTable& routes,
               std::vector<Client> clients = {});

  bool next(Wish& wish) override;
  bool after(const Wish& wish, const Ending& ending, Time now, Wish& follow) override;
  // "phones-3": the third client of the class phones.
  std::string client_name(std::uint32_t client) const;

 private:
  struct Class {
    const conf::WorkloadClass* settings;
    const admission::Route* route;
    conf::Law service;
    std::uint32_t first_client;
    Time from;
    Time to;
    Random arrivals;
    Random sizes;    // service, patience, failures
    Random retries;  // and thinking: in the order in which answers come
    std::uint32_t turn = 0;
    std::optional<Time> due;         // the next arrival of an open class
    std::vector<Time> first_visits;  // of users, the last to come first
  };

  void plan_next(Class& of);
  double rate_at(const Class& of, Time at) const;
  Time next_change(const Class& of, Time at) const;
  Wish make(std::uint32_t index, Time at, std::uint32_t client);

  conf::Workload workload_;
  admission::RouteTable routes_;
  std::vector<Client> clients_;
  std::vector<Class> classes_;
};

}  // namespace classgate::simulation
