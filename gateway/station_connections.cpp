// Who is let in at the door of a loop, and who gives way when memory runs out.

#include <algorithm>
#include <functional>
#include <vector>

#include "conf/invariant.h"
#include "gateway/station.h"
#include "proxy/net/socket_calls.h"

namespace classgate::gateway {
namespace {

constexpr std::size_t response_buffer_when_tight = 16 * 1024;
constexpr std::chrono::milliseconds between_vain_reliefs{20};
constexpr std::chrono::seconds silence_tolerated{1};  // of a client when connections run out

}  // namespace

// ---- Connections -------------------------------------------------------------------------------

void Station::accept(proxy::net::Fd fd, const proxy::net::SocketAddress& address, bool is_tls,
                     const std::shared_ptr<const ClientIdentities::Listener>& listener) {
  const conf::IpAddress ip = address.ip();
  bool is_counted = false;
  // Before anybody gives way to it.
  if (!take_client(ip, is_counted))
    return turn_away(std::move(fd), is_tls, conf::Reason::client_connections);
  memory_.look();  // this loop may have slept since
  if (memory_.grade() >= MemoryBudget::Grade::scarce) [[unlikely]] {
    if (is_counted) shared_.client_counts.leave(ip);
    traffic_.memory_refused_newcomers.add();
    return turn_away(std::move(fd), is_tls, conf::Reason::memory_pressure);
  }
  if (!take_room() && !(make_room() && take_room())) {
    if (is_counted) shared_.client_counts.leave(ip);
    return turn_away(std::move(fd), is_tls, conf::Reason::too_many_connections);
  }
  reported_empty_ = false;
  traffic_.accepted.add();
  const bool awaits_introduction =
      settings().client.proxy_protocol && policy_->rules->trusted_proxies.include(ip);
  const auto take = [&] {
    connections_.push_back(std::make_unique<ClientConnection>(
        *this, std::move(fd), ip, is_tls ? policy_->tls.clients : nullptr, awaits_introduction));
    connections_.back()->index = connections_.size() - 1;
    connections_.back()->is_counted = is_counted;
    connections_.back()->came_by(listener);
    connections_.back()->count_memory();
  };
  loop_.guard(take, [&] {  // no memory for it, or libevent can't watch it
    shared_.connections.fetch_sub(1, std::memory_order_relaxed);
    if (is_counted) shared_.client_counts.leave(ip);
  });
}

// A trusted proxy's connections are many clients'.
bool Station::take_client(const conf::IpAddress& address, bool& is_counted) {
  const std::uint32_t most = policy_->rules->connections_per_address;
  if (most == 0 || policy_->rules->trusted_proxies.include(address)) return true;
  is_counted = shared_.client_counts.enter(address, most);
  if (!is_counted) shared_.client_connections_refused.fetch_add(1, std::memory_order_relaxed);
  return is_counted;
}

bool Station::count_client(ClientConnection& connection) {
  return connection.is_counted || take_client(connection.client().ip, connection.is_counted);
}

bool Station::take_room() {
  if (shared_.connections.fetch_add(1, std::memory_order_relaxed) <
      policy_->rules->connection_limit)
    return true;
  shared_.connections.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

// At the limit, whoever has been silent for longest gives way: between two requests, or else before
// the end of a header that should have come by now.
bool Station::make_room() {
  is_making_room_ = true;  // what a deadline's callback throws is contained there
  const bool made = deadlines_.linger.end_oldest(std::chrono::milliseconds(0)) ||
                    deadlines_.idle.end_oldest(silence_tolerated) ||
                    deadlines_.header.end_oldest(silence_tolerated);
  is_making_room_ = false;
  return made;
}

// Told so at once, and gone: takes no more than the one descriptor it came with.
void Station::turn_away(proxy::net::Fd fd, bool is_tls, conf::Reason reason) {
  if (reason == conf::Reason::too_many_connections)
    shared_.connections_refused.fetch_add(1, std::memory_order_relaxed);
  if (is_tls) return;  // a handshake is what there is no room for
  std::string answer;
  append_refusal_of_connection(answer, reason);
  // A request that has come already is read, because closing over it would reset the connection.
  [[maybe_unused]] const auto read =
      ::classgate_recv(fd.get(), loop_.read_scratch().data(), proxy::net::Loop::scratch_size, 0);
  [[maybe_unused]] const auto sent =
      ::classgate_send(fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
  ::shutdown(fd.get(), SHUT_WR);
}

void Station::append_refusal_of_connection(std::string& out, conf::Reason reason) {
  policy_->rules->refusals.append(out, {.rejection = {reason, std::chrono::seconds(1)},
                                        .request_id = {},
                                        .date = date_text(),
                                        .allow = {},
                                        .own_fields = {},
                                        .close = true});
}

void Station::close_connection(ClientConnection& connection) {
  const std::size_t index = connection.index;
  CLASSGATE_SHARED_INVARIANT(connections_[index].get() == &connection);  // who owns whom
  loop_.retire(std::move(connections_[index]));
  if (index + 1 < connections_.size()) {
    connections_[index] = std::move(connections_.back());
    connections_[index]->index = index;
  }
  connections_.pop_back();
  shared_.connections.fetch_sub(1, std::memory_order_relaxed);
  // It lives to the end of the turn.
  if (std::exchange(connection.is_counted, false))
    shared_.client_counts.leave(connection.client().ip);
}

bool Station::is_too_slow_for_waiters(std::uint64_t bytes_in_window) {
  const std::uint64_t least =
      settings().client.stream_rate_min.count * static_cast<std::uint64_t>(stream_window.count());
  return bytes_in_window < least && shared_.gate.has_waiters();
}

// ---- Memory ------------------------------------------------------------------------------------

std::size_t Station::response_buffer() const {
  const auto wanted = static_cast<std::size_t>(settings().client.response_buffer.count);
  return memory_.is_tight() ? std::min(wanted, response_buffer_when_tight) : wanted;
}

// Who goes first: the largest and slowest, by bytes times the time for which they have been held.
// One look at all of them pays for as much as it takes to be tight again.
void Station::take_memory_back() {
  memory_.tell();
  const std::uint64_t excess = memory_.budget().excess();
  if (excess == 0 || loop_.now() < next_relief_) return;
  struct Candidate {
    double weight;
    ClientConnection* connection;
  };
  std::vector<Candidate> candidates;
  for (const auto& connection : connections_)
    if (const double weight = connection->weight(); weight > 0)
      candidates.push_back({weight, connection.get()});
  std::ranges::sort(candidates, std::greater(), &Candidate::weight);
  is_making_room_ = memory_.grade() >= MemoryBudget::Grade::scarce;
  std::uint64_t given = 0;
  for (const Candidate& candidate : candidates) {
    if (given >= excess) break;
    given += candidate.connection->held_bytes();
    traffic_.memory_given_way.add();
    ClientConnection& connection = *candidate.connection;
    loop_.guard(
        [&] {
          connection.give_way();
          connection.count_memory();  // what hears its refusal holds nothing else
        },
        [&] { connection.on_fault(); });
  }
  is_making_room_ = false;
  memory_.tell();
  if (given >= excess) return;
  next_relief_ = loop_.now() + between_vain_reliefs;
  memory_.budget().ask_others();
}

}  // namespace classgate::gateway
