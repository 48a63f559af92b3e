#include "gateway/connection_table.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <functional>
#include <system_error>
#include <utility>

#include "conf/invariant.h"
#include "gateway/station.h"
#include "proxy/net/socket_calls.h"

namespace classgate::gateway {
namespace {

constexpr std::chrono::milliseconds between_vain_reliefs{20};
constexpr std::chrono::seconds silence_tolerated{1};  // of a client when connections run out

}  // namespace

ConnectionTable::ConnectionTable(Station& station) : station_(station), turns_(station.loop()) {}

void ConnectionTable::wait_for_turn(ClientConnection& connection) { turns_.join(connection); }

// ---- Listening ---------------------------------------------------------------------------------

// Before the next policy is adopted: who waits in the backlog of such a socket has come under this
// one, and begins with its certificates, proxies and limits.
void ConnectionTable::stop_listening_except(const Sockets& sockets) {
  std::erase_if(listeners_, [&](const auto& listener) {
    if (std::ranges::find(sockets, listener->socket()) != sockets.end()) return false;
    listener->accept_the_rest();
    return true;
  });
}

void ConnectionTable::listen_on(const Sockets& sockets) {
  for (const auto& socket : sockets) {
    const bool is_known = std::ranges::any_of(
        listeners_, [&](const auto& listener) { return listener->socket() == socket; });
    if (is_known) continue;
    listeners_.push_back(std::make_unique<proxy::net::Listener>(
        station_.loop(), socket,
        [this, is_tls = socket->wanted.is_tls,
         listener = std::make_shared<const ClientIdentities::Listener>(
             socket->wanted.text, socket->local.port())](proxy::net::Fd fd,
                                                         const proxy::net::SocketAddress& address) {
          accept(std::move(fd), address, is_tls, listener);
        },
        [](int error) {
          spdlog::error(
              "cannot accept a connection: {} (raise LimitNOFILE or lower "
              "client.max_connections); trying again",
              std::generic_category().message(error));
        }));
  }
}

void ConnectionTable::stop_listening(bool with_backlog) {
  if (with_backlog)
    for (const auto& listener : listeners_) listener->accept_the_rest();
  listeners_.clear();
}

// ---- Connections -------------------------------------------------------------------------------

void ConnectionTable::accept(proxy::net::Fd fd, const proxy::net::SocketAddress& address,
                             bool is_tls,
                             const std::shared_ptr<const ClientIdentities::Listener>& listener) {
  const conf::IpAddress ip = address.ip();
  bool is_counted = false;
  // Before anybody gives way to it.
  if (!take_client(ip, is_counted))
    return turn_away(std::move(fd), is_tls, conf::Reason::client_connections, listener.get());
  station_.memory().look();  // this loop may have slept since
  if (station_.memory().grade() >= MemoryBudget::Grade::scarce) [[unlikely]] {
    if (is_counted) station_.shared().client_counts.leave(ip);
    station_.metrics().memory_refused_newcomers.add();
    return turn_away(std::move(fd), is_tls, conf::Reason::memory_pressure, listener.get());
  }
  if (!take_room() && !(make_room() && take_room())) {
    if (is_counted) station_.shared().client_counts.leave(ip);
    return turn_away(std::move(fd), is_tls, conf::Reason::too_many_connections, listener.get());
  }
  station_.metrics().accepted.add();
  const bool awaits_introduction =
      station_.settings().client.proxy_protocol && station_.rules().trusted_proxies.include(ip);
  const auto take = [&] {
    connections_.push_back(std::make_unique<ClientConnection>(
        station_, std::move(fd), ip, is_tls ? station_.policy().tls.clients : nullptr,
        awaits_introduction, listener));
    connections_.back()->set_index(connections_.size() - 1);
    connections_.back()->is_counted() = is_counted;
    connections_.back()->count_memory();
  };
  station_.loop().guard(take, [&] {  // no memory for it, or libevent can't watch it
    station_.shared().connections.fetch_sub(1, std::memory_order_relaxed);
    if (is_counted) station_.shared().client_counts.leave(ip);
  });
}

// A trusted proxy's connections are many clients'.
bool ConnectionTable::take_client(const conf::IpAddress& address, bool& is_counted) {
  const std::uint32_t most = station_.rules().connections_per_address;
  if (most == 0 || station_.rules().trusted_proxies.include(address)) return true;
  is_counted = station_.shared().client_counts.enter(address, most);
  if (!is_counted)
    station_.shared().client_connections_refused.fetch_add(1, std::memory_order_relaxed);
  return is_counted;
}

bool ConnectionTable::count_client(ClientConnection& connection) {
  return connection.is_counted() || take_client(connection.client().ip, connection.is_counted());
}

bool ConnectionTable::take_room() {
  if (station_.shared().connections.fetch_add(1, std::memory_order_relaxed) <
      station_.rules().connection_limit)
    return true;
  station_.shared().connections.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

// At the limit, whoever has been silent for longest gives way: between two requests, or else before
// the end of a header that should have come by now.
bool ConnectionTable::make_room() {
  is_making_room_ = true;  // what a timeout's callback throws is contained there
  const bool made = station_.timeouts().linger.end_oldest(std::chrono::milliseconds(0)) ||
                    station_.timeouts().idle.end_oldest(silence_tolerated) ||
                    station_.timeouts().header.end_oldest(silence_tolerated);
  is_making_room_ = false;
  return made;
}

// Told so at once, and gone: takes no more than the one descriptor it came with.
void ConnectionTable::turn_away(proxy::net::Fd fd, bool is_tls, conf::Reason reason,
                                const ClientIdentities::Listener* listener) {
  if (reason == conf::Reason::too_many_connections)
    station_.shared().connections_refused.fetch_add(1, std::memory_order_relaxed);
  if (is_tls) return;  // a handshake is what there is no room for
  std::string answer;
  station_.append_refusal_of_connection(answer, reason, listener);
  // A request that has come already is read, because closing over it would reset the connection.
  [[maybe_unused]] const auto read = ::classgate_recv(
      fd.get(), station_.loop().read_scratch().data(), proxy::net::Loop::scratch_size, 0);
  [[maybe_unused]] const auto sent =
      ::classgate_send(fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
  ::shutdown(fd.get(), SHUT_WR);
}

void ConnectionTable::close(ClientConnection& connection) {
  const std::size_t index = connection.index();
  CLASSGATE_SHARED_INVARIANT(connections_[index].get() == &connection);  // who owns whom
  station_.loop().retire(std::move(connections_[index]));
  if (index + 1 < connections_.size()) {
    connections_[index] = std::move(connections_.back());
    connections_[index]->set_index(index);
  }
  connections_.pop_back();
  station_.shared().connections.fetch_sub(1, std::memory_order_relaxed);
  // It lives to the end of the turn.
  if (std::exchange(connection.is_counted(), false))
    station_.shared().client_counts.leave(connection.client().ip);
}

// One that ends may take others with it.
void ConnectionTable::drain() {
  for (std::size_t i = connections_.size(); i-- > 0;)
    if (i < connections_.size()) connections_[i]->drain();
}

void ConnectionTable::judge_senders() {
  for (const auto& connection : connections_) connection->judge_sender();
}

void ConnectionTable::reset_unfinished() {
  for (const auto& connection : connections_) connection->reset_if_unfinished();
}

// ---- Memory ------------------------------------------------------------------------------------

// Who goes first: the largest and slowest, by bytes times the time for which they have been held.
// One look at all of them pays for as much as it takes to be tight again.
void ConnectionTable::take_memory_back() {
  station_.memory().tell();
  const std::uint64_t excess = station_.memory().budget().excess();
  if (excess == 0 || station_.loop().now() < next_relief_) return;
  struct Candidate {
    double weight;
    ClientConnection* connection;
  };
  std::vector<Candidate> candidates;
  for (const auto& connection : connections_)
    if (const double weight = connection->weight(); weight > 0)
      candidates.push_back({weight, connection.get()});
  std::ranges::sort(candidates, std::greater(), &Candidate::weight);
  is_making_room_ = station_.memory().grade() >= MemoryBudget::Grade::scarce;
  std::uint64_t given = 0;
  for (const Candidate& candidate : candidates) {
    if (given >= excess) break;
    given += candidate.connection->held_bytes();
    station_.metrics().memory_given_way.add();
    ClientConnection& connection = *candidate.connection;
    station_.loop().guard(
        [&] {
          connection.give_way();
          connection.count_memory();  // what hears its refusal holds nothing else
        },
        [&] { connection.on_fault(); });
  }
  is_making_room_ = false;
  station_.memory().tell();
  if (given >= excess) return;
  next_relief_ = station_.loop().now() + between_vain_reliefs;
  station_.memory().budget().ask_others();
}

}  // namespace classgate::gateway
