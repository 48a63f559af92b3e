#pragma once

#include <memory>
#include <variant>
#include <vector>

#include "admission/gate.h"
#include "gateway/policy.h"
#include "proxy/net/listener.h"

namespace classgate::gateway {

using Sockets = std::vector<std::shared_ptr<const proxy::net::ListeningSocket>>;

// Everything that may cross from one thread to a loop.
struct Grant {
  admission::Ticket ticket;
  std::uint32_t tag;  // the exchange, in its station
  admission::Permit permit;
};
struct Shed {
  admission::Ticket ticket;
  std::uint32_t tag;
  admission::Rejection rejection;
};
struct Reconfigure {
  std::shared_ptr<const Policy> policy;
  Sockets sockets;  // to accept from, from now on
};
// Whether somebody else accepts in our place: then kept connections are not just closed, but each
// may ask once more, for `grace`, and is told to close with the answer.
struct Drain {
  bool has_successor = false;
  std::chrono::milliseconds grace{0};
};
struct Ping {};  // answered by counting: the loop turns
struct Stop {};
using Letter = std::variant<Grant, Shed, Reconfigure, Drain, Ping, Stop>;

}  // namespace classgate::gateway
