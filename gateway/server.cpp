#include "gateway/server.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <algorithm>

namespace classgate::gateway {
namespace {

// Loops must never run a signal handler: signals are main's.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

}  // namespace

// What the descriptors allow after everything else has got its own: a connection to each worker and
// each kept one, listeners, loops, logs, and one for the client that has to be turned away.
std::uint32_t Server::connection_limit(const conf::Settings& settings) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const std::uint64_t others = 32 + settings.listen.size() + 8ULL * settings.threads +
                               settings.admission.workers + settings.upstream.idle_connections;
  const std::uint64_t left = limit.rlim_cur > others + 16 ? limit.rlim_cur - others : 16;
  if (left < settings.client.max_connections)
    spdlog::warn(
        "{} file descriptors leave room for {} client connections, not "
        "client.max_connections = {}: raise LimitNOFILE (ulimit -n)",
        limit.rlim_cur, left, settings.client.max_connections);
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(left, settings.client.max_connections));
}

std::expected<std::unique_ptr<Server>, std::string> Server::open(const conf::Settings& settings) {
  std::unique_ptr<Server> server(new Server);
  auto log = AccessLog::open(settings.log);
  if (!log) return std::unexpected(log.error());
  server->access_log_ = std::move(*log);
  auto servers = proxy::Servers::resolve(settings.upstream.servers);
  if (!servers) return std::unexpected(servers.error());
  server->servers_ = std::move(*servers);
  for (const conf::Address& address : settings.listen) {
    auto socket = proxy::net::listen_on(address);
    if (!socket) return std::unexpected(socket.error());
    server->sockets_.push_back(std::move(*socket));
  }
  server->shared_ = std::make_unique<Shared>(settings, *server->servers_, *server->access_log_);
  server->shared_->connection_limit = connection_limit(settings);
  Server* self = server.get();
  // The last to stop closes the sockets, so that whoever comes now is refused by the kernel.
  const Station::Milestones milestones{.stopped_listening =
                                           [self] {
                                             if (self->stations_listening_.fetch_sub(1) == 1)
                                               self->sockets_.clear();
                                           },
                                       .empty =
                                           [self] {
                                             if (self->stations_not_empty_.fetch_sub(1) == 1)
                                               self->on_drained_();
                                           }};
  for (std::uint32_t i = 0; i < settings.threads; ++i)
    server->stations_.push_back(
        std::make_unique<Station>(*server->shared_, server->sockets_, milestones));
  return server;
}

Server::~Server() { stop(); }

void Server::start(std::function<void()> on_drained) {
  on_drained_ = std::move(on_drained);
  stations_listening_ = stations_not_empty_ = stations_.size();
  const SignalsBlocked blocked;
  for (const auto& station : stations_)
    threads_.emplace_back([&station = *station] { station.run(); });
}

void Server::drain() {
  shared_->gate.drain();
  for (const auto& station : stations_) station->send(Drain{});
}

void Server::stop() {
  for (const auto& station : stations_) station->send(Stop{});
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

std::vector<std::string> Server::listen_addresses() const {
  std::vector<std::string> addresses;
  for (const proxy::net::Fd& socket : sockets_)
    addresses.push_back(proxy::net::local_address(socket).text());
  return addresses;
}

std::string Server::description() const {
  const conf::Settings& settings = shared_->settings;
  const conf::AdmissionSettings& limits = settings.admission;
  std::vector<std::string> upstreams;
  for (std::size_t i = 0; i < servers_->count(); ++i) upstreams.push_back(servers_->name(i));
  const std::string rate = limits.rate > 0
                               ? fmt::format("{} requests/s, burst {}", limits.rate, limits.burst)
                               : std::string("no rate limit");
  return fmt::format(
      "listening on {}, forwarding to {}: {} workers, queue {}, {}, "
      "request timeout {} ms, {} threads, {} connections",
      fmt::join(listen_addresses(), ", "), fmt::join(upstreams, ", "), limits.workers,
      limits.queue_size, rate, limits.request_timeout.count(), settings.threads,
      shared_->connection_limit);
}

admission::Snapshot Server::snapshot() const {
  return shared_->gate.snapshot(std::chrono::steady_clock::now());
}

}  // namespace classgate::gateway
