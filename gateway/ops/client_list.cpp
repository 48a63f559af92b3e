#include "gateway/ops/client_list.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "gateway/clients/pseudonym.h"

namespace classgate::gateway {

using nlohmann::ordered_json;

ordered_json plan_name(admission::PlanId plan, const admission::Ids& ids) {
  const std::string_view name = ids.name_of(plan);
  return name.empty() ? ordered_json(nullptr) : ordered_json(name);
}

ordered_json client_list(const std::vector<admission::ClientState>& clients,
                         const std::vector<WaitingRequest>& waiting, const Policy& policy) {
  std::unordered_map<std::uint64_t, std::string> addresses;
  for (const WaitingRequest& request : waiting)
    if (const auto address = conf::IpAddress::parse(request.address))
      addresses.emplace(policy.rules->clients.id_of(*address), request.address);
  ordered_json list = ordered_json::array();
  for (const admission::ClientState& client : clients) {
    const auto known = addresses.find(client.id);
    const bool has_bucket = client.now.rate > 0;
    const std::string_view name = policy.rules->clients.name_of(client.id);
    list.push_back(
        {{"id", pseudonym_of(client.id)},
         {"name", name.empty() ? ordered_json(nullptr) : ordered_json(name)},
         {"address",
          known == addresses.end() ? ordered_json(nullptr) : ordered_json(known->second)},
         {"plan", plan_name(client.now.plan, policy.rules->ids)},
         {"active_workers", client.now.active},
         {"waiting", client.now.waiting},
         {"tokens", has_bucket ? ordered_json(std::round(client.now.tokens * 1000) / 1000)
                               : ordered_json(nullptr)},
         {"burst", has_bucket ? ordered_json(client.now.burst) : ordered_json(nullptr)}});
  }
  return list;
}

}  // namespace classgate::gateway
