#include "proxy/upstream_pool.h"

#include <netinet/tcp.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace classgate::proxy {
namespace {

constexpr std::size_t answer_fields_max = 1000;

net::Fd open_socket(const net::SocketAddress& address) {
  net::Fd fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  if (fd && address.storage.ss_family != AF_UNIX)
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

}  // namespace

// Finds out whether a server accepts connections, without sending it anything, and asks again after
// each probe interval until it does.
class ServerProbe final : public net::Retirable, public net::Stream::Handler {
 public:
  ServerProbe(UpstreamPool& pool, std::size_t server)
      : pool_(pool), server_(server), deadline_(on_deadline, this) {
    ask();
  }

 private:
  static void on_deadline(void* self) { static_cast<ServerProbe*>(self)->ask(); }

  void ask() {
    retired_stream_.reset();
    if (stream_) {
      stream_.reset();
      pool_.mark_unreachable(server_, "no answer");
    }
    if (pool_.servers_->state(server_) == Servers::State::reachable) return;
    pool_.probe_deadlines_.set(deadline_);
    const net::SocketAddress& address = pool_.servers_->address(server_);
    net::Fd fd = open_socket(address);
    if (!fd) return;
    stream_ = std::make_unique<net::Stream>(pool_.loop_, std::move(fd), *this);
    if (const int error = stream_->connect(address.get(), address.length); error != 0)
      on_answer(error);
  }

  void on_readable() override {}
  void on_drained() override { on_answer(stream_->broken_errno()); }

  void on_answer(int error) {
    retired_stream_ = std::move(stream_);  // we are called by it
    if (error == 0) {
      deadline_.cancel();
      pool_.mark_reachable(server_);
    } else {
      pool_.mark_unreachable(server_, std::generic_category().message(error));
    }
  }

  UpstreamPool& pool_;
  std::size_t server_;
  net::Deadline deadline_;
  std::unique_ptr<net::Stream> stream_;
  std::unique_ptr<net::Stream> retired_stream_;
};

UpstreamPool::UpstreamPool(net::Loop& loop, std::shared_ptr<Servers> servers,
                           const conf::UpstreamSettings& settings, std::size_t idle_max,
                           OnChange on_change, std::shared_ptr<const net::TlsConnector> tls)
    : loop_(loop),
      servers_(std::move(servers)),
      settings_(settings),
      answer_limits_{settings.header_bytes.count, answer_fields_max, 0},
      tls_(std::move(tls)),
      idle_max_(idle_max),
      on_change_(std::move(on_change)),
      connect_deadlines_(loop, settings.connect_timeout),
      idle_deadlines_(loop, settings.idle_timeout),
      probe_deadlines_(loop, settings.probe_interval),
      per_server_(servers_->count()) {}

UpstreamPool::~UpstreamPool() = default;

std::size_t UpstreamPool::choose_server(std::size_t avoid) {
  const auto cost = [&](std::size_t server) {
    const bool is_down = servers_->state(server) == Servers::State::unreachable;
    return (server == avoid ? std::size_t{1} << 40 : 0) + (is_down ? std::size_t{1} << 39 : 0) +
           per_server_[server].in_use;
  };
  std::size_t best = turn_ % per_server_.size();
  for (std::size_t i = 1; i < per_server_.size(); ++i) {
    const std::size_t candidate = (turn_ + i) % per_server_.size();
    if (cost(candidate) < cost(best)) best = candidate;
  }
  ++turn_;
  return best;
}

UpstreamPool::Connection UpstreamPool::take(std::size_t server, UpstreamConnection::User& user,
                                            int& error) {
  PerServer& own = per_server_[server];
  if (own.idle.empty()) return take_new(server, user, error);
  Connection connection = std::move(own.idle.back());
  own.idle.pop_back();
  ++own.in_use;
  connection->deadline_.cancel();
  connection->user_ = &user;
  ++connection->uses_;
  return connection;
}

UpstreamPool::Connection UpstreamPool::take_new(std::size_t server, UpstreamConnection::User& user,
                                                int& error) {
  const net::SocketAddress& address = servers_->address(server);
  net::Fd fd = open_socket(address);
  error = errno;
  if (!fd) return nullptr;
  std::unique_ptr<net::TlsSession> tls;
  if (const std::string& host = servers_->tls_host(server); !host.empty()) {
    auto& memory = per_server_[server].tls_memory;
    if (!memory) memory = net::TlsConnector::make_memory();
    tls = tls_->connect(host, memory);
  }
  auto connection =
      std::make_unique<UpstreamConnection>(*this, loop_, std::move(fd), server, std::move(tls));
  error = connection->stream_.connect(address.get(), address.length);
  if (error != 0) return nullptr;
  connect_deadlines_.set(connection->deadline_);
  connection->user_ = &user;
  connection->uses_ = 1;
  ++per_server_[server].in_use;
  return connection;
}

void UpstreamPool::give_back(Connection connection) {
  PerServer& own = per_server_[connection->server()];
  --own.in_use;
  connection->user_ = nullptr;
  const bool is_usable = !connection->stream_.peer_has_closed() && !connection->stream_.is_broken();
  if (!is_usable || idle_count() >= idle_max_) {
    loop_.retire(std::move(connection));
    return;
  }
  idle_deadlines_.set(connection->deadline_);
  own.idle.push_back(std::move(connection));
}

void UpstreamPool::discard(Connection connection) {
  connection->stream_.give_up();
  --per_server_[connection->server()].in_use;
  connection->user_ = nullptr;
  connection->deadline_.cancel();
  loop_.retire(std::move(connection));
}

void UpstreamPool::discard_idle(UpstreamConnection& connection) {
  auto& idle = per_server_[connection.server()].idle;
  const auto found =
      std::ranges::find_if(idle, [&](const Connection& kept) { return kept.get() == &connection; });
  if (found == idle.end()) return;  // given up in this turn already
  loop_.retire(std::move(*found));
  idle.erase(found);
}

std::size_t UpstreamPool::idle_count() const {
  std::size_t count = 0;
  for (const PerServer& own : per_server_) count += own.idle.size();
  return count;
}

void UpstreamPool::mark_unreachable(std::size_t server, const std::string& why) {
  if (!servers_->mark(server, Servers::State::unreachable)) return;
  on_change_(server, false, why);
  probe(server);
}

void UpstreamPool::mark_reachable(std::size_t server) {
  if (servers_->mark(server, Servers::State::reachable)) on_change_(server, true, {});
}

void UpstreamPool::probe_unproven() {
  for (std::size_t server = 0; server < per_server_.size(); ++server)
    if (servers_->state(server) != Servers::State::reachable) probe(server);
}

bool UpstreamPool::is_in_use() const {
  return std::ranges::any_of(per_server_, [](const PerServer& own) { return own.in_use > 0; });
}

void UpstreamPool::probe(std::size_t server) {
  std::unique_ptr<ServerProbe>& probe = per_server_[server].probe;
  if (probe) loop_.retire(std::move(probe));
  // Retired first: it may be the one that called us.
  probe = std::make_unique<ServerProbe>(*this, server);
}

}  // namespace classgate::proxy
