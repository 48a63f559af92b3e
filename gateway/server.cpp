#include "gateway/server.h"

#include <fmt/ranges.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <algorithm>

#include "conf/format.h"
#include "gateway/clients/secret.h"
#include "gateway/history/usage_history.h"
#include "gateway/shared_workers.h"
#include "proxy/net/sandbox.h"

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

// What the descriptors allow after everything else has got its own: a connection to each worker and
// each kept one (no more are kept than there were requests at once), listeners, loops, logs, and
// one for the client that has to be turned away.
struct Descriptors {
  std::uint64_t all;
  std::uint64_t left;  // for clients' connections
};
Descriptors descriptors_for(const conf::Settings& settings) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const std::uint64_t workers = settings.admission.workers;
  const std::uint64_t others = 64 + settings.listen.size() + 8ULL * settings.threads + workers +
                               std::min<std::uint64_t>(settings.upstream.idle_connections, workers);
  return {limit.rlim_cur, limit.rlim_cur > others + 16 ? limit.rlim_cur - others : 16};
}

std::uint32_t connection_limit(const conf::Settings& settings) {
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(descriptors_for(settings).left, settings.client.max_connections));
}

// What the loops will be kept in; the error when that is less than what is required.
std::expected<std::string, std::string> check_sandbox(conf::Sandbox wanted) {
  if (wanted == conf::Sandbox::off) return "none";
  const proxy::net::SandboxState state = proxy::net::try_sandbox();
  if (wanted == conf::Sandbox::required && !state.is_whole())
    return std::unexpected("sandbox = \"required\", and there is " + state.text());
  return state.text();
}

}  // namespace

std::string lack_of_descriptors(const conf::Settings& settings) {
  const auto [all, left] = descriptors_for(settings);
  if (left >= settings.client.max_connections) return {};
  return fmt::format(
      "{} file descriptors leave room for {} client connections beside {} workers, not "
      "client.max_connections = {}: raise LimitNOFILE (ulimit -n)",
      all, left, settings.admission.workers, settings.client.max_connections);
}

std::expected<Policy::Tls, std::string> open_tls(
    const conf::Settings& settings, std::shared_ptr<const proxy::net::TicketKeys> keys) {
  Policy::Tls tls;
  std::string errors;
  if (!settings.tls.certificates.empty()) {
    // Not before: OpenSSL that is not used saves 2 MiB.
    if (!keys) keys = proxy::net::TicketKeys::fresh();
    auto acceptor = proxy::net::TlsAcceptor::open(settings.tls, std::move(keys));
    if (acceptor)
      tls.clients = std::move(*acceptor);
    else
      errors = fmt::format("{}", fmt::join(acceptor.error(), "\n"));
  }
  if (std::ranges::any_of(settings.upstream.servers, &conf::Address::is_tls)) {
    auto connector = proxy::net::TlsConnector::open(settings.upstream.tls);
    if (connector)
      tls.upstream = std::move(*connector);
    else
      errors += (errors.empty() ? "" : "\n") + connector.error();
  }
  if (!errors.empty()) return std::unexpected(errors);
  return tls;
}

std::expected<std::unique_ptr<Server>, std::string> Server::open(const conf::Settings& settings,
                                                                 Inherited inherited) {
  std::unique_ptr<Server> server(new Server);
  const auto names = proxy::Servers::look_up(settings.upstream);
  for (const proxy::Servers::Name& name : names) {
    if (name.endpoints) continue;
    if (!name.wanted.is_name()) return std::unexpected(name.mistake() + " (see upstream.servers)");
    spdlog::warn("{}; looked up again until it is known (upstream.servers)", name.mistake());
  }
  std::string via_name = std::move(inherited.via_name);
  server->take_inherited(std::move(inherited));
  auto sockets = open_sockets(settings, server->sockets_, server->sockets_are_given_);
  if (!sockets) return std::unexpected(sockets.error());
  auto tls = open_tls(settings);
  if (!tls) return std::unexpected(tls.error());
  if (const auto wrong = check_jwt(settings.jwt); !wrong.empty())
    return std::unexpected(fmt::format("{}", fmt::join(wrong, "\n")));
  auto sandbox = check_sandbox(settings.sandbox);
  if (!sandbox) return std::unexpected(sandbox.error());
  server->sandbox_text_ = std::move(*sandbox);
  auto secret = take_secret(settings.clients);
  if (!secret) return std::unexpected(secret.error());
  server->hash_key_ = secret->key;
  server->ids_last_ = secret->is_lasting;
  auto quotas = open_quotas(settings, server->hash_key_, server->ids_last_);
  if (!quotas) return std::unexpected(quotas.error());
  // Last: a start that fails leaves no file behind.
  auto log = AccessLog::open(settings.log);
  if (!log) return std::unexpected(log.error());
  server->access_log_ = std::move(*log);
  if (!secret->warning.empty()) spdlog::warn("{}", secret->warning);
  if (secret->is_made && !via_name.empty())
    spdlog::warn(
        "clients.secret: {}: was not there any more, and is made anew: clients have other ids than "
        "those of the process before",
        settings.clients.secret);
  else if (secret->is_made)
    spdlog::info("clients.secret: {}: was not there, and is made: ids of clients begin with it",
                 settings.clients.secret);
  server->sockets_ = sockets->keep();
  const admission::Ids ids(settings);
  server->shared_ = std::make_unique<Shared>(settings, ids, *server->access_log_, make_hash_key(),
                                             std::move(via_name));
  if (settings.sharing.is_on()) {
    server->shared_workers_ = std::make_unique<SharedWorkers>(server->shared_->gate);
    auto sharing = Sharing::open(settings.sharing, state_folder_of(settings),
                                 SharedWorkers::limits_of(settings), *server->shared_workers_,
                                 server->shared_->sharing);
    if (!sharing) return std::unexpected(sharing.error());
    server->sharing_ = std::move(*sharing);
  }
  if (const std::string lack = lack_of_descriptors(settings); !lack.empty())
    spdlog::warn("{}", lack);
  server->policy_ = std::make_shared<const Policy>(
      Policy{.rules = std::make_shared<const Rules>(settings, ids, connection_limit(settings),
                                                    server->hash_key_),
             .servers = proxy::Servers::make(settings.upstream.servers, nullptr, names),
             .tls = std::move(*tls),
             .quotas = std::move(*quotas),
             .history = {}});
  server->shared_->follow(server->policy_, std::chrono::steady_clock::now());
  Server* self = server.get();
  const Station::Milestones milestones{
      .empty =
          [self] {
            if (self->stations_not_empty_.fetch_sub(1) == 1) self->on_drained_();
          },
      .resumed = [self] { self->stations_not_empty_.fetch_add(1); }};
  for (std::uint32_t i = 0; i < settings.threads; ++i)
    server->stations_.push_back(
        std::make_unique<Station>(*server->shared_, server->policy_, server->sockets_, milestones));
  return server;
}

// None where nobody has one.
std::expected<std::shared_ptr<Quotas>, std::string> Server::open_quotas(
    const conf::Settings& settings, const HashKey& key, bool ids_last) {
  if (!Quotas::are_wanted_by(settings)) return nullptr;
  if (!ids_last)
    return std::unexpected(fmt::format(
        "clients.secret: {}: cannot be kept, and a plan has a quota, which is counted by the ids "
        "that it makes: let the user of classgate write there, or name another place",
        settings.clients.secret));
  return Quotas::open(settings.clients, key, quota_names_of(settings, key));
}

void Server::take_inherited(Inherited inherited) {
  sockets_are_given_ = inherited.are_given;
  for (proxy::net::ListeningSocket& socket : inherited.sockets)
    sockets_.push_back(std::make_shared<const proxy::net::ListeningSocket>(std::move(socket)));
}

// What the exchanges give back is counted too: they go before the quotas and the history are
// written.
Server::~Server() {
  stop();
  memory_keeper_.reset();
  stations_.clear();
  if (sharing_) sharing_->finish();
  if (policy_ && policy_->quotas)
    policy_->quotas->finish(has_successor_ ? patience_beside_successor : patience_at_end);
  if (usage_) usage_->finish(has_successor_ ? patience_beside_successor : patience_at_end);
}

void Server::start(std::function<void()> on_drained) {
  on_drained_ = std::move(on_drained);
  stations_not_empty_ = stations_.size();
  spdlog::info("sandbox of the loops: {}", sandbox_text_);
  const SignalsBlocked blocked;
  if (settings().history.keep) usage_ = std::make_unique<UsageHistory>(shared_->usage, settings());
  if (sharing_) sharing_->start();
  const bool is_sandboxed = settings().sandbox != conf::Sandbox::off;
  memory_keeper_ = std::make_unique<MemoryKeeper>(shared_->memory, [this] {
    for (const auto& station : stations_) station->send(Ping{});
  });
  for (const auto& station : stations_)
    threads_.emplace_back([&station = *station, is_sandboxed] {
      ::pthread_setname_np(::pthread_self(), "loop");
      if (is_sandboxed) proxy::net::enter_sandbox();
      station.run();
    });
}

Server::InForce Server::in_force() const {
  return {policy_, sockets_, sockets_are_given_, hash_key_, ids_last_};
}

std::expected<Server::Preparation, std::string> Server::prepare(const conf::Settings& settings,
                                                                const InForce& now, Files files) {
  const Policy& policy = *now.policy;
  auto names = proxy::Servers::look_up(settings.upstream, policy.servers.get());
  // A new name that nobody knows may be a slip of the pen: what there is serves on.
  for (const proxy::Servers::Name& name : names)
    if (!name.endpoints) return std::unexpected(name.mistake() + " (see upstream.servers)");
  auto sockets = open_sockets(settings, now.sockets, now.sockets_are_given);
  if (!sockets) return std::unexpected(sockets.error());
  const bool has_same_tls = settings.tls == policy.rules->settings.tls &&
                            settings.upstream.tls == policy.rules->settings.upstream.tls &&
                            settings.upstream.servers == policy.rules->settings.upstream.servers;
  auto tls =
      files == Files::as_they_were && has_same_tls
          ? policy.tls
          : open_tls(settings, policy.tls.clients ? policy.tls.clients->ticket_keys() : nullptr);
  if (!tls) return std::unexpected(tls.error());
  if (const auto wrong = check_jwt(settings.jwt); !wrong.empty())
    return std::unexpected(fmt::format("{}", fmt::join(wrong, "\n")));
  std::expected<std::shared_ptr<Quotas>, std::string> quotas = policy.quotas;
  if (!*quotas) quotas = open_quotas(settings, now.hash_key, now.ids_last);
  if (!quotas) return std::unexpected(quotas.error());
  auto zone = conf::TimeZone::load(settings.clients.time_zone);
  if (!zone) return std::unexpected("clients.time_zone: " + zone.error());
  auto access_log = AccessLog::open_target(settings.log);
  if (!access_log) return std::unexpected(access_log.error());
  return Preparation{.settings = settings,
                     .names = std::move(names),
                     .sockets = std::move(*sockets),
                     .tls = std::move(*tls),
                     .quotas = std::move(*quotas),
                     .time_zone = std::move(*zone),
                     .quota_names = quota_names_of(settings, now.hash_key),
                     .access_log = std::move(*access_log)};
}

// What needs memory comes first: until the gate has the new rules nothing has happened, and from
// then on nothing fails.
std::expected<void, std::string> Server::reconfigure(Preparation&& ready, ConfHistory history) {
  conf::Settings& settings = ready.settings;
  settings.threads = policy_->rules->settings.threads;  // until the next start
  // What has been learnt while it was prepared holds: addresses of names, keys for tickets.
  std::shared_ptr<proxy::Servers> upstream = policy_->servers;
  auto servers =
      proxy::Servers::make(settings.upstream.servers, policy_->servers.get(), ready.names);
  if (!servers->is_same_as(*upstream)) upstream = std::move(servers);
  if (ready.tls.clients && policy_->tls.clients)
    ready.tls.clients = ready.tls.clients->with_keys(policy_->tls.clients->ticket_keys());
  admission::Ids ids = policy_->rules->ids;
  ids.follow(settings);
  auto policy = std::make_shared<const Policy>(Policy{
      .rules = std::make_shared<const Rules>(settings, std::move(ids), connection_limit(settings),
                                             hash_key_, policy_->rules->generation + 1),
      .servers = std::move(upstream),
      .tls = std::move(ready.tls),
      .quotas = std::move(ready.quotas),
      .history = std::move(history)});
  if (auto log = access_log_->reconfigure(settings.log, std::move(ready.access_log)); !log)
    return log;
  // The lesser of the places in the servers first: who has a worker has a place.
  shared_->follow(policy, std::chrono::steady_clock::now());
  try {
    // Before the loops: what comes with the ids of new routes and plans must be known here.
    shared_->gate.reconfigure(settings.admission, policy->rules->ids,
                              std::chrono::steady_clock::now());
  } catch (...) {
    take_back_rules();
    throw;
  }
  if (sharing_) sharing_->set_limits(SharedWorkers::limits_of(settings));
  shared_->memory.set_limit(settings.client.memory.count);
  if (policy->quotas) policy->quotas->use(settings.clients, ready.time_zone, ready.quota_names);
  for (const Sockets before = std::exchange(sockets_, ready.sockets.keep());
       const auto& socket : before)
    close_to_newcomers(*socket, sockets_);
  tell_stations(std::move(policy));
  return {};
}

// There was no memory for those that were to follow. These need no more than they have, but for
// moments: as long as others have taken that, it is tried again, for a second at most.
void Server::take_back_rules() {
  const Rules& rules = *policy_->rules;
  constexpr int tries_max = 100;
  for (int tries = 1;; ++tries) {
    try {
      shared_->gate.reconfigure(rules.settings.admission, rules.ids,
                                std::chrono::steady_clock::now());
      return shared_->follow(policy_, std::chrono::steady_clock::now());
    } catch (const std::bad_alloc&) {
      if (tries == tries_max) throw;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
}

void Server::note(ConfHistory history) {
  Policy changed = *policy_;
  changed.history = std::move(history);
  policy_ = std::make_shared<const Policy>(std::move(changed));
}

void Server::use_endpoints(const conf::Address& wanted,
                           const std::vector<proxy::net::Endpoint>& endpoints) {
  std::shared_ptr<proxy::Servers> servers = policy_->servers->with(wanted, endpoints);
  if (!use_servers(servers)) return;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < servers->count(); ++i) names.push_back(servers->name(i));
  spdlog::info("\"{}\" has other addresses: forwarding to {}", wanted.text, fmt::join(names, ", "));
}

void Server::note_unknown(const conf::Address& wanted, const std::string& why) {
  use_servers(policy_->servers->without(wanted, why));
}

bool Server::use_servers(std::shared_ptr<proxy::Servers> servers) {
  if (servers->is_same_as(*policy_->servers)) return false;
  Policy changed = *policy_;
  changed.servers = std::move(servers);
  put_in_force(std::make_shared<const Policy>(std::move(changed)));
  return true;
}

void Server::rotate_ticket_keys() {
  const auto& clients = policy_->tls.clients;
  if (!clients) return;
  Policy changed = *policy_;
  changed.tls.clients = clients->with_keys(clients->ticket_keys()->rotated());
  put_in_force(std::make_shared<const Policy>(std::move(changed)));
}

void Server::put_in_force(std::shared_ptr<const Policy> policy) {
  shared_->follow(policy, std::chrono::steady_clock::now());
  tell_stations(std::move(policy));
}

void Server::tell_stations(std::shared_ptr<const Policy> policy) {
  policy_ = std::move(policy);
  for (const auto& station : stations_) station->send(Reconfigure{policy_, sockets_});
}

void Server::drain(const Drain& how) {
  has_successor_ = how.has_successor;
  shared_->is_draining = true;
  if (!how.has_successor) {
    if (how.grace.count() == 0) shared_->gate.drain();  // else when a loop's grace is over
    for (const auto& socket : sockets_) remove_path_of(*socket);
  }
  sockets_.clear();  // closed when the last loop has let go, so that the kernel refuses
  for (const auto& station : stations_) station->send(how);
}

void Server::resume(Sockets sockets) {
  has_successor_ = false;
  sockets_ = std::move(sockets);
  shared_->is_draining = false;
  for (const auto& station : stations_) station->send(Resume{sockets_});
}

std::size_t Server::ask_turns(const std::function<void()>& on_turn) {
  for (const auto& station : stations_) station->send(Ping{on_turn});
  return stations_.size();
}

std::size_t Server::ask_waiters(const OnWaiters& on_waiters) {
  for (const auto& station : stations_) station->send(Census{on_waiters});
  return stations_.size();
}

std::size_t Server::ask_decisions(const std::string& id, const OnDecisions& on_decisions) {
  for (const auto& station : stations_) station->send(Search{id, on_decisions});
  return stations_.size();
}

void Server::set_ceiling(admission::Ceilings::Source source, std::uint32_t workers) {
  shared_->gate.set_ceiling(source, workers, std::chrono::steady_clock::now());
}

void Server::set_kept_elsewhere(std::uint32_t workers) {
  shared_->gate.set_kept_elsewhere(workers, std::chrono::steady_clock::now());
}

void Server::stop() {
  for (const auto& station : stations_) station->send(Stop{});
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

std::vector<std::string> Server::listen_addresses() const {
  std::vector<std::string> addresses;
  for (const auto& socket : sockets_)
    addresses.push_back((socket->wanted.is_tls ? "https://" : "") + socket->text());
  return addresses;
}

std::string Server::description() const {
  const conf::AdmissionSettings& limits = settings().admission;
  std::vector<std::string> upstreams;
  for (std::size_t i = 0; i < policy_->servers->count(); ++i)
    upstreams.push_back(policy_->servers->name(i));
  const std::string rate = limits.rate > 0
                               ? fmt::format("{} requests/s, burst {}", limits.rate, limits.burst)
                               : std::string("no rate limit");
  return fmt::format(
      "listening on {}, forwarding to {}: {} workers, queue {}, {}, "
      "request timeout {} ms, {} threads, {} connections",
      fmt::join(listen_addresses(), ", "), fmt::join(upstreams, ", "), limits.workers,
      limits.queue_size, rate, limits.request_timeout.count(), settings().threads,
      policy_->rules->connection_limit);
}

admission::Snapshot Server::snapshot() const {
  return shared_->gate.snapshot(std::chrono::steady_clock::now());
}

}  // namespace classgate::gateway
