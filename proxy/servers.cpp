#include "proxy/servers.h"

#include <algorithm>

#include "proxy/net/resolver.h"

namespace classgate::proxy {
namespace {

constexpr unsigned doublings_max = 6;

std::string name_of(const conf::Address& wanted, const net::SocketAddress& address) {
  const bool is_name = !wanted.is_unix && !conf::IpAddress::parse(wanted.host);
  return is_name ? wanted.text + "/" + address.host() : wanted.text;
}

std::string authority_of(const conf::Address& wanted) {
  if (wanted.is_unix) return "localhost";
  const bool is_v6 = wanted.host.contains(':');
  std::string authority = is_v6 ? "[" + wanted.host + "]" : wanted.host;
  if (wanted.port != (wanted.is_tls ? 443 : 80)) {
    authority += ':';
    authority += std::to_string(wanted.port);
  }
  return authority;
}

}  // namespace

Servers::Server::Server(conf::Address from, const net::SocketAddress& at)
    : wanted(std::move(from)),
      address(at),
      name(name_of(wanted, address)),
      authority(authority_of(wanted)) {}

void Servers::add(const conf::Address& wanted, const net::SocketAddress& address,
                  const Servers* former) {
  if (former != nullptr)
    for (const auto& known : former->servers_)
      if (known->wanted == wanted && known->address == address) {
        servers_.push_back(known);
        return;
      }
  servers_.push_back(std::make_shared<Server>(wanted, address));
}

std::vector<net::SocketAddress> Servers::addresses_of(const conf::Address& wanted) const {
  std::vector<net::SocketAddress> addresses;
  for (const auto& server : servers_) {
    if (server->wanted.host != wanted.host || server->wanted.is_unix != wanted.is_unix) continue;
    net::SocketAddress address = server->address;
    if (!wanted.is_unix) address.set_port(wanted.port);
    if (std::ranges::find(addresses, address) == addresses.end()) addresses.push_back(address);
  }
  return addresses;
}

std::expected<Servers::Names, std::string> Servers::look_up(
    const std::vector<conf::Address>& addresses, const Servers* former,
    const std::vector<conf::Address>& nameservers) {
  Names names;
  for (const conf::Address& wanted : addresses) {
    if (former != nullptr && !former->addresses_of(wanted).empty()) continue;
    auto resolved = net::resolve_all(wanted, nameservers);
    if (!resolved) return std::unexpected(resolved.error() + " (see upstream.servers)");
    names.emplace_back(wanted, std::move(*resolved));
  }
  return names;
}

std::unique_ptr<Servers> Servers::make(const std::vector<conf::Address>& addresses,
                                       const Servers* former, const Names& names) {
  auto servers = std::make_unique<Servers>();
  for (const conf::Address& wanted : addresses) {
    std::vector<net::SocketAddress> at;
    if (former != nullptr) at = former->addresses_of(wanted);
    const auto looked_up = std::ranges::find(names, wanted, &Names::value_type::first);
    if (at.empty() && looked_up != names.end()) at = looked_up->second;
    for (const net::SocketAddress& address : at) servers->add(wanted, address, former);
  }
  return servers;
}

std::unique_ptr<Servers> Servers::with(const conf::Address& wanted,
                                       const std::vector<net::SocketAddress>& addresses) const {
  auto servers = std::make_unique<Servers>();
  bool has_added = false;
  for (const auto& server : servers_) {
    if (server->wanted != wanted) {
      servers->servers_.push_back(server);
    } else if (!std::exchange(has_added, true)) {
      for (const net::SocketAddress& address : addresses) servers->add(wanted, address, this);
    }
  }
  return servers;
}

bool Servers::is_same_as(const Servers& other) const {
  return std::ranges::equal(servers_, other.servers_, [](const auto& one, const auto& two) {
    return one->wanted == two->wanted && one->address == two->address;
  });
}

const std::string& Servers::tls_host(std::size_t index) const {
  static const std::string none;
  const conf::Address& wanted = servers_[index]->wanted;
  return wanted.is_tls ? wanted.host : none;
}

bool Servers::mark(std::size_t index, State state) {
  std::atomic<State>& current = servers_[index]->state;
  if (current.load(std::memory_order_relaxed) == state) return false;
  return current.exchange(state, std::memory_order_relaxed) != state;
}

std::size_t Servers::reachable_count() const {
  std::size_t reachable = 0;
  for (std::size_t i = 0; i < count(); ++i) reachable += state(i) != State::unreachable ? 1 : 0;
  return reachable;
}

bool Servers::enter(std::size_t index, std::uint32_t most) {
  std::atomic<std::uint32_t>& requests = servers_[index]->requests;
  if (requests.fetch_add(1, std::memory_order_relaxed) < most || most == 0) return true;
  requests.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

void Servers::leave(std::size_t index) {
  servers_[index]->requests.fetch_sub(1, std::memory_order_relaxed);
}

std::chrono::milliseconds Servers::note_failure(std::size_t index, const Ejection& law,
                                                net::Time now) {
  Server& server = *servers_[index];
  // What fails while it is ejected was on its way: it does not make it any longer.
  if (law.after == 0 || is_ejected(index, now)) return {};
  if (server.failures.fetch_add(1, std::memory_order_relaxed) + 1 < law.after) return {};
  // Of several loops that count past `after` at once, the one acts that takes the count away; it
  // may be far past it: since a reload `after` may be less.
  if (server.failures.exchange(0, std::memory_order_relaxed) < law.after) return {};
  const unsigned doublings =
      std::min(server.ejections_in_a_row.fetch_add(1, std::memory_order_relaxed), doublings_max);
  const auto time = law.time * (1U << doublings);
  server.ejections.fetch_add(1, std::memory_order_relaxed);
  server.ejected_until.store((now + time).time_since_epoch().count(), std::memory_order_relaxed);
  return time;
}

void Servers::note_success(std::size_t index, net::Time now) {
  Server& server = *servers_[index];
  server.answered_at.store(now.time_since_epoch().count(), std::memory_order_relaxed);
  // Almost always zero already: nothing is written to what all loops read.
  if (server.failures.load(std::memory_order_relaxed) != 0)
    server.failures.store(0, std::memory_order_relaxed);
  if (server.ejections_in_a_row.load(std::memory_order_relaxed) != 0)
    server.ejections_in_a_row.store(0, std::memory_order_relaxed);
}

bool Servers::note_unasked(std::size_t index, std::chrono::milliseconds pause, bool may_shift,
                           net::Time now) {
  Server& server = *servers_[index];
  server.unasked.fetch_add(1, std::memory_order_relaxed);
  const net::Time::rep until = (now + pause).time_since_epoch().count();
  if (may_shift) server.may_shift_until.store(until, std::memory_order_relaxed);
  const net::Time::rep before =
      server.speaks_unasked_until.exchange(until, std::memory_order_relaxed);
  return before <= now.time_since_epoch().count() && pause.count() > 0;
}

bool Servers::is_ejected(std::size_t index, net::Time now) const {
  return now.time_since_epoch().count() <
         servers_[index]->ejected_until.load(std::memory_order_relaxed);
}

}  // namespace classgate::proxy
