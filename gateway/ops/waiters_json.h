#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "gateway/letter.h"

namespace classgate::gateway {

// Those that wait, one object each, in their order.
nlohmann::ordered_json waiters_json(const std::vector<WaitingRequest>& waiters);

}  // namespace classgate::gateway
