#pragma once

#include "admission/simulation/traffic.h"
#include "proxy/wire/message.h"

namespace classgate::planning {

// How a request ended for who counts, by what a gateway, or a service, says with its status and its
// fields. Any thread.
simulation::Ending ending_of(const proxy::wire::Head& head);
// Of a call of gRPC, whose status tells what HTTP's can't; `of_head`: by its head.
simulation::Ending ending_of_call(const simulation::Ending& of_head, int grpc_status);

}  // namespace classgate::planning
