#pragma once

#include <expected>
#include <string>
#include <vector>

#include "admission/simulation/class_traffic.h"
#include "conf/settings.h"
#include "conf/workload.h"

namespace classgate::planning {

// Who the clients of a workload are to this conf, by the keys that they send in its key_header: as
// ClientIdentities tells a request that has this field and no other credentials. Those that send
// the same key are one client; who sends one that nobody knows is what clients.unknown says. Who
// sends none is known by its address, of which each has its own. Empty where nobody is told apart.
// An error where that can't be told: a header that is read for tokens or passwords, or unknown
// clients that the gateway would refuse before it counts them.
std::expected<std::vector<simulation::ClassTraffic::Client>, std::string> clients_of(
    const conf::Workload& workload, const conf::Settings& settings);

}  // namespace classgate::planning
