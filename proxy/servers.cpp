#include "proxy/servers.h"

#include <algorithm>

#include "proxy/net/resolver.h"

namespace classgate::proxy {
namespace {

constexpr unsigned doublings_max = 6;
constexpr std::uint32_t full_share = 256;

std::string name_of(const conf::Address& wanted, const net::SocketAddress& address) {
  if (!wanted.is_name() || address.length == 0) return wanted.text;
  return wanted.text + "/" + (wanted.is_service ? address.text() : address.host());
}

bool is_same_host(const conf::Address& one, const conf::Address& two) {
  return one.host == two.host && one.is_unix == two.is_unix && one.is_service == two.is_service;
}

std::string authority_of(const conf::Address& wanted) {
  if (wanted.is_unix) return "localhost";
  std::string authority = wanted.bare_host();
  if (authority.contains(':')) authority = "[" + authority + "]";
  if (!wanted.is_service && wanted.port != (wanted.is_tls ? 443 : 80)) {
    authority += ':';
    authority += std::to_string(wanted.port);
  }
  return authority;
}

}  // namespace

Servers::Server::Server(conf::Address from, const net::SocketAddress& at, std::string why_none)
    : wanted(std::move(from)),
      address(at),
      why(std::move(why_none)),
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

// The servers of a name come sorted by DNS priority: those with the first have rank 0, those with
// the next one rank 1, and so on. A server's share is its weight as a part of the greatest weight,
// 1 of 256 at least: a weight of 0 is chosen hardly ever (RFC 2782).
void Servers::add(const conf::Address& wanted, const std::vector<net::Endpoint>& endpoints,
                  const Servers* former, const std::string& why_none) {
  if (endpoints.empty()) {
    servers_.push_back(std::make_shared<Server>(wanted, net::SocketAddress{}, why_none));
    preferences_.push_back({});
    return;
  }
  const std::uint32_t most =
      std::max<std::uint32_t>(1, std::ranges::max(endpoints, {}, &net::Endpoint::weight).weight);
  std::uint8_t rank = 0;
  std::uint16_t priority = endpoints.front().priority;
  for (const net::Endpoint& endpoint : endpoints) {
    auto server = former != nullptr ? former->known(wanted, endpoint.address) : nullptr;
    servers_.push_back(server ? std::move(server)
                              : std::make_shared<Server>(wanted, endpoint.address, std::string()));
    if (std::exchange(priority, endpoint.priority) != endpoint.priority && rank < 255) ++rank;
    preferences_.push_back(
        {endpoint.priority, endpoint.weight, rank,
         static_cast<std::uint16_t>(std::max(1U, endpoint.weight * full_share / most))});
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
  return std::ranges::any_of(
      servers_, [&](const auto& server) { return is_same_host(server->wanted, wanted); });
}

std::string Servers::why_no_addresses() const {
  std::string text;
  for (const auto& server : servers_)
    if (server->address.length == 0)
      text += (text.empty() ? "" : "; ") + server->name + ": " + server->why;
  return text;
}

std::vector<net::Endpoint> Servers::endpoints_of(const conf::Address& wanted) const {
  std::vector<net::Endpoint> endpoints;
  for (std::size_t i = 0; i < count(); ++i) {
    if (!is_same_host(servers_[i]->wanted, wanted) || !has_address(i)) continue;
    net::Endpoint endpoint{servers_[i]->address, preferences_[i].priority, preferences_[i].weight};
    if (!wanted.is_unix && !wanted.is_service) endpoint.address.set_port(wanted.port);
    if (std::ranges::find(endpoints, endpoint.address, &net::Endpoint::address) == endpoints.end())
      endpoints.push_back(endpoint);
  }
  return endpoints;
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
      names.push_back({wanted, std::vector{net::Endpoint{*address}}});
    } else {
      names.push_back({wanted, std::unexpected(address.error())});
    }
  }
  auto results = net::look_up_now(asked, settings.nameservers, settings.resolve_timeout);
  for (std::size_t i = 0; i < asked.size(); ++i) {
    if (results[i])
      names.push_back({asked[i], std::move(results[i]->endpoints)});
    else
      names.push_back({asked[i], std::unexpected(results[i].error().why)});
  }
  return names;
}

std::string Servers::Name::mistake() const {
  return "cannot look up \"" + wanted.text + "\": " + endpoints.error();
}

std::unique_ptr<Servers> Servers::make(const std::vector<conf::Address>& addresses,
                                       const Servers* former, const Names& names) {
  auto servers = std::make_unique<Servers>();
  for (const conf::Address& wanted : addresses) {
    std::vector<net::Endpoint> at;
    std::string why;
    if (former != nullptr) at = former->endpoints_of(wanted);
    const auto looked_up = std::ranges::find(names, wanted, &Name::wanted);
    if (at.empty() && looked_up != names.end()) {
      if (looked_up->endpoints)
        at = *looked_up->endpoints;
      else
        why = looked_up->endpoints.error();
    } else if (at.empty() && former != nullptr) {
      why = former->why_unknown(wanted);
    }
    servers->add(wanted, at, former, why);
  }
  if (former != nullptr) servers->remember_departed(*former);
  return servers;
}

std::string Servers::why_unknown(const conf::Address& wanted) const {
  for (const auto& server : servers_)
    if (is_same_host(server->wanted, wanted) && !server->why.empty()) return server->why;
  return {};
}

std::unique_ptr<Servers> Servers::with(const conf::Address& wanted,
                                       const std::vector<net::Endpoint>& endpoints) const {
  auto servers = std::make_unique<Servers>();
  servers->replace(wanted, endpoints, *this, {});
  return servers;
}

std::unique_ptr<Servers> Servers::without(const conf::Address& wanted,
                                          const std::string& why) const {
  auto servers = std::make_unique<Servers>();
  servers->replace(wanted, {}, *this, why);
  return servers;
}

void Servers::replace(const conf::Address& wanted, const std::vector<net::Endpoint>& endpoints,
                      const Servers& former, const std::string& why_none) {
  bool has_added = false;
  for (std::size_t i = 0; i < former.count(); ++i) {
    if (former.servers_[i]->wanted != wanted) {
      servers_.push_back(former.servers_[i]);
      preferences_.push_back(former.preferences_[i]);
    } else if (!std::exchange(has_added, true)) {
      add(wanted, endpoints, &former, why_none);
    }
  }
  remember_departed(former);
}

bool Servers::is_same_as(const Servers& other) const {
  return preferences_ == other.preferences_ &&
         std::ranges::equal(servers_, other.servers_, [](const auto& one, const auto& two) {
           return one->wanted == two->wanted && one->address == two->address &&
                  one->why == two->why;
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
  // A request that fails while the server is ejected was sent before: it does not prolong that.
  if (law.after == 0 || is_ejected(index, now)) return {};
  if (server.failures.fetch_add(1, std::memory_order_relaxed) + 1 < law.after) return {};
  // Several loops may count past `after` at once: the one acts whose exchange() takes the count
  // away. (It may find far more than `after`, which a reload may have lowered.)
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
  // Almost always zero already, and then not written: all loops read this cache line.
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
  // Several loops may fill the window at once: the one acts whose exchange() empties it.
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
