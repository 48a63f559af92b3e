#include "gateway/ops/waiters_json.h"

#include <chrono>
#include <nlohmann/json.hpp>

#include "admission/measure/units.h"
#include "gateway/clients/pseudonym.h"

namespace classgate::gateway {

using nlohmann::ordered_json;

ordered_json waiters_json(const std::vector<WaitingRequest>& waiters) {
  ordered_json list = ordered_json::array();
  const auto now = std::chrono::steady_clock::now();
  for (const WaitingRequest& waiter : waiters) {
    const ordered_json client =
        waiter.client == 0 ? ordered_json(nullptr) : ordered_json(pseudonym_of(waiter.client));
    list.push_back(
        {{"id", waiter.id},
         {"priority", waiter.priority},
         {"client", client},
         {"client_id", client},  // as it was called before
         {"address", waiter.address},
         {"name", waiter.name.empty() ? ordered_json(nullptr) : ordered_json(waiter.name)},
         {"method", waiter.method},
         {"path", waiter.path},
         {"age_ms", measure::in_ms(now - waiter.joined)},
         {"deadline_ms", measure::in_ms(waiter.deadline)},
         {"cost", waiter.cost},
         {"bytes", waiter.bytes}});
  }
  return list;
}

}  // namespace classgate::gateway
