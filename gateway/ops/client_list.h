#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "admission/top_clients.h"
#include "gateway/letter.h"
#include "gateway/policy.h"

namespace classgate::gateway {

// Null: everybody's terms, or a plan that has gone.
nlohmann::ordered_json plan_name(admission::PlanId plan, const admission::Ids& ids);

// The clients that have most, as JSON. Who is known by an address from which a request waits is
// shown with it. "-" are all that are not remembered.
nlohmann::ordered_json client_list(const std::vector<admission::ClientState>& clients,
                                   const std::vector<WaitingRequest>& waiting,
                                   const Policy& policy);

}  // namespace classgate::gateway
