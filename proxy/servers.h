#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "proxy/net/socket_address.h"

namespace classgate::proxy {

// The servers of the upstream and whether each can be reached; shared by all loops.
class Servers {
 public:
  enum class State : int { unknown, reachable, unreachable };

  // Looks the names up; blocks. The error is one line for an operator. What `former` knows of the
  // same addresses is taken over.
  static std::expected<std::unique_ptr<Servers>, std::string> resolve(
      const std::vector<conf::Address>& addresses, const Servers* former = nullptr);
  // The same names at the same addresses.
  bool is_same_as(const Servers& other) const;

  std::size_t count() const { return servers_.size(); }
  const net::SocketAddress& address(std::size_t index) const { return servers_[index]->address; }
  const std::string& name(std::size_t index) const { return servers_[index]->name; }
  // The host whose certificate a server with TLS must show; empty without TLS.
  const std::string& tls_host(std::size_t index) const { return servers_[index]->host; }
  State state(std::size_t index) const {
    return servers_[index]->state.load(std::memory_order_relaxed);
  }
  // True when this call changed it: the caller is the one to act on it.
  bool mark(std::size_t index, State state);
  bool none_reachable() const;

 private:
  struct Server {
    net::SocketAddress address;
    std::string name;
    std::string host;
    std::atomic<State> state{State::unknown};
  };
  std::vector<std::unique_ptr<Server>> servers_;
};

}  // namespace classgate::proxy
