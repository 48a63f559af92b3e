#include "proxy/servers.h"

namespace classgate::proxy {

std::expected<std::unique_ptr<Servers>, std::string> Servers::resolve(
    const std::vector<conf::Address>& addresses) {
  auto servers = std::make_unique<Servers>();
  for (const conf::Address& address : addresses) {
    const auto resolved = net::resolve(address, false);
    if (!resolved) return std::unexpected(resolved.error() + " (see upstream.servers)");
    auto server = std::make_unique<Server>();
    server->address = *resolved;
    server->name = address.text;
    servers->servers_.push_back(std::move(server));
  }
  return servers;
}

bool Servers::mark(std::size_t index, State state) {
  std::atomic<State>& current = servers_[index]->state;
  if (current.load(std::memory_order_relaxed) == state) return false;
  return current.exchange(state, std::memory_order_relaxed) != state;
}

bool Servers::none_reachable() const {
  for (std::size_t i = 0; i < count(); ++i)
    if (state(i) != State::unreachable) return false;
  return true;
}

}  // namespace classgate::proxy
