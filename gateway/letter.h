#pragma once

#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "admission/gate.h"
#include "gateway/decision_ring.h"
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
// The successor has died: accept again.
struct Resume {
  Sockets sockets;
};
// Does the loop turn? The answer is called on its thread; may be null.
struct Ping {
  std::function<void()> answer = nullptr;
};
// Who waits?
struct WaitingRequest {
  std::string id;
  std::string address;       // of its client
  std::uint64_t client = 0;  // 0: nobody wants to know
  std::string name;          // of a client of clients.clients_file
  std::string method;
  std::string path;
  int priority;
  std::uint32_t cost;
  std::uint64_t bytes;           // of its body, held
  admission::Time joined;        // the queue
  admission::Duration deadline;  // from now
};
struct Census {
  static constexpr std::size_t waiters_max = 10'000;        // of each loop
  std::function<void(std::vector<WaitingRequest>)> answer;  // called on the thread of the loop
};
// What became of the requests with this id?
struct Search {
  std::string id;
  std::function<void(Decisions)> answer;  // called on the thread of the loop
};
struct Stop {};
using Letter = std::variant<Grant, Shed, Reconfigure, Drain, Resume, Ping, Census, Search, Stop>;

}  // namespace classgate::gateway
