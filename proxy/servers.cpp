#include "proxy/servers.h"

#include <algorithm>

namespace classgate::proxy {

std::expected<std::unique_ptr<Servers>, std::string> Servers::resolve(
    const std::vector<conf::Address>& addresses, const Servers* former) {
  auto servers = std::make_unique<Servers>();
  for (const conf::Address& address : addresses) {
    const auto resolved = net::resolve(address, false);
    if (!resolved) return std::unexpected(resolved.error() + " (see upstream.servers)");
    auto server = std::make_unique<Server>();
    server->address = *resolved;
    server->name = address.text;
    server->host = address.is_tls ? address.host : std::string();
    if (former != nullptr)
      for (const auto& known : former->servers_)
        if (known->address == server->address) server->state = known->state.load();
    servers->servers_.push_back(std::move(server));
  }
  return servers;
}

bool Servers::is_same_as(const Servers& other) const {
  return std::ranges::equal(servers_, other.servers_, [](const auto& one, const auto& two) {
    return one->name == two->name && one->address == two->address;
  });
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
