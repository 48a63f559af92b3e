#include "proxy/servers.h"

#include <algorithm>

#include "proxy/net/resolver.h"

namespace classgate::proxy {
namespace {

constexpr unsigned doublings_max = 6;

std::string name_of(const conf::Address& wanted, const net::SocketAddress& address) {
  if (!wanted.is_name() || address.length == 0) return wanted.text;
  return wanted.text + "/" + address.host();
}

std::string authority_of(const conf::Address& wanted) {
  if (wanted.is_unix) return "localhost";
  std::string authority = wanted.bare_host();
  if (authority.contains(':')) authority = "[" + authority + "]";
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
      authority(authority_of(wanted)),
      tls_host(wanted.is_tls ? wanted.bare_host() : ""),
      state(at.length == 0 ? State::unreachable : State::unknown) {}

std::shared_ptr<Servers::Server> Servers::known(const conf::Address& wanted,
                                                const net::SocketAddress& address) const {
  const auto is_it = [&](const Server& server) {
    return server.wanted == wanted && server.address == address;
  };
  for (const auto& server : servers_)
    if (is_it(*server)) return server;
  for (const auto& departed : departed_)
    if (auto server = departed.lock(); server && is_it(*server)) return server;
  return nullptr;
}

void Servers::add(const conf::Address& wanted, const std::vector<net::SocketAddress>& addresses,
                  const Servers* former) {
  const std::vector<net::SocketAddress> none_yet{net::SocketAddress{}};
  for (const net::SocketAddress& address : addresses.empty() ? none_yet : addresses) {
    auto server = former != nullptr ? former->known(wanted, address) : nullptr;
    servers_.push_back(server ? std::move(server) : std::make_shared<Server>(wanted, address));
  }
}

void Servers::remember_departed(const Servers& former) {
  departed_ = former.departed_;
  for (const auto& server : former.servers_) departed_.push_back(server);
  std::erase_if(departed_, [&](const std::weak_ptr<Server>& one) {
    const auto server = one.lock();
    return !server || std::ranges::find(servers_, server) != servers_.end();
  });
}

bool Servers::has_host(const conf::Address& wanted) const {
  return std::ranges::any_of(servers_, [&](const auto& server) {
    return server->wanted.host == wanted.host && server->wanted.is_unix == wanted.is_unix;
  });
}

std::vector<net::SocketAddress> Servers::addresses_of(const conf::Address& wanted) const {
  std::vector<net::SocketAddress> addresses;
  for (const auto& server : servers_) {
    if (server->wanted.host != wanted.host || server->wanted.is_unix != wanted.is_unix) continue;
    net::SocketAddress address = server->address;
    if (address.length == 0) continue;
    if (!wanted.is_unix) address.set_port(wanted.port);
    if (std::ranges::find(addresses, address) == addresses.end()) addresses.push_back(address);
  }
  return addresses;
}

std::size_t Servers::index_in(const Servers& other, std::size_t index) const {
  const auto found = std::ranges::find(other.servers_, servers_[index]);
  if (found == other.servers_.end()) return not_there;
  return static_cast<std::size_t>(found - other.servers_.begin());
}

Servers::Names Servers::look_up(const conf::UpstreamSettings& settings, const Servers* former) {
  Names names;
  std::vector<conf::Address> asked;
  for (const conf::Address& wanted : settings.servers) {
    if (former != nullptr && former->has_host(wanted)) continue;
    if (wanted.is_name()) {
      asked.push_back(wanted);
    } else if (auto address = net::address_of_number(wanted)) {
      names.push_back({wanted, std::vector{*address}});
    } else {
      names.push_back({wanted, std::unexpected(address.error())});
    }
  }
  auto results = net::look_up_now(asked, settings.nameservers, settings.resolve_timeout);
  for (std::size_t i = 0; i < asked.size(); ++i) {
    if (results[i])
      names.push_back({asked[i], std::move(results[i]->addresses)});
    else
      names.push_back({asked[i], std::unexpected("cannot look up \"" + asked[i].text +
                                                 "\": " + results[i].error())});
  }
  return names;
}

std::unique_ptr<Servers> Servers::make(const std::vector<conf::Address>& addresses,
                                       const Servers* former, const Names& names) {
  auto servers = std::make_unique<Servers>();
  for (const conf::Address& wanted : addresses) {
    std::vector<net::SocketAddress> at;
    if (former != nullptr) at = former->addresses_of(wanted);
    const auto looked_up = std::ranges::find(names, wanted, &Name::wanted);
    if (at.empty() && looked_up != names.end() && looked_up->addresses) at = *looked_up->addresses;
    servers->add(wanted, at, former);
  }
  if (former != nullptr) servers->remember_departed(*former);
  return servers;
}

std::unique_ptr<Servers> Servers::with(const conf::Address& wanted,
                                       const std::vector<net::SocketAddress>& addresses) const {
  auto servers = std::make_unique<Servers>();
  bool has_added = false;
  for (const auto& server : servers_) {
    if (server->wanted != wanted)
      servers->servers_.push_back(server);
    else if (!std::exchange(has_added, true))
      servers->add(wanted, addresses, this);
  }
  servers->remember_departed(*this);
  return servers;
}

bool Servers::is_same_as(const Servers& other) const {
  return std::ranges::equal(servers_, other.servers_, [](const auto& one, const auto& two) {
    return one->wanted == two->wanted && one->address == two->address;
  });
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

bool Servers::note_answer(std::size_t index, int status, const ErrorLaw& law, net::Time now) {
  Server& server = *servers_[index];
  const auto of_class = static_cast<std::size_t>(std::clamp(status / 100, 2, 5) - 2);
  server.answers[of_class].fetch_add(1, std::memory_order_relaxed);
  if (law.share <= 0) {
    if (is_failing(index)) server.is_failing.store(false, std::memory_order_relaxed);
    return false;
  }
  const std::uint32_t one = status >= 500 ? (1U << 16) + 1 : 1;
  const std::uint32_t seen = server.window.fetch_add(one, std::memory_order_relaxed) + one;
  const std::uint32_t answers = seen & 0xffff, errors = seen >> 16;
  if (answers < answers_in_window) return false;
  // Of several loops that fill it at once the one acts that takes it away.
  if (server.window.exchange(0, std::memory_order_relaxed) == 0) return false;
  const bool fails = errors >= law.share * answers;
  const bool failed = server.is_failing.exchange(fails, std::memory_order_relaxed);
  if (fails && count() > 1 && !is_ejected(index, now)) {
    server.ejections.fetch_add(1, std::memory_order_relaxed);
    server.ejected_until.store((now + law.time).time_since_epoch().count(),
                               std::memory_order_relaxed);
  }
  return fails && !failed;
}

void Servers::note_down(std::size_t index, net::Time now) {
  if (state(index) == State::unreachable) return;
  servers_[index]->down_at.store(now.time_since_epoch().count(), std::memory_order_relaxed);
}

net::Time Servers::down_since() const {
  net::Time::rep latest = net::Time::min().time_since_epoch().count();
  for (const auto& server : servers_)
    latest = std::max(latest, server->down_at.load(std::memory_order_relaxed));
  return net::Time(net::Time::duration(latest));
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
