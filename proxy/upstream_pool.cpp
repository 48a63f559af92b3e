#include "proxy/upstream_pool.h"

#include <linux/tcp.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include "proxy/http1_upstream.h"

namespace classgate::proxy {
namespace {

constexpr std::size_t answer_fields_max = 1000;
constexpr std::chrono::seconds surplus_time{1};
constexpr std::chrono::seconds proof_time{1};  // a way there and back, with one repetition

net::Fd open_socket(const net::SocketAddress& address) {
  net::Fd fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  if (fd && address.storage.ss_family != AF_UNIX)
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

// One request that was counted at the server by enter(): it is taken back, unless the connection
// that it was counted for was made (`stays`).
struct Entered {
  ~Entered() {
    if (!stays) servers.leave(server);
  }
  Servers& servers;
  std::size_t server;
  bool stays = false;
};

}  // namespace

UpstreamPool::Timeouts::Timeouts(net::Loop& loop, const conf::UpstreamSettings& settings)
    : connect(loop, settings.connect_timeout),
      idle(loop, settings.idle_timeout),
      surplus(loop, std::min<std::chrono::milliseconds>(surplus_time, settings.idle_timeout)),
      proof(loop, std::min<std::chrono::milliseconds>(proof_time, settings.connect_timeout)),
      probe_interval(loop, settings.probe_interval),
      check_interval(loop, settings.check.interval),
      check(loop, settings.check.timeout),
      ping_interval(loop, std::max(settings.ping_interval, std::chrono::milliseconds(1))),
      ping(loop, settings.ping_timeout) {}

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
      timeouts_(loop, settings),
      retry_budget_(settings.retry_budget),
      per_server_(servers_->count()) {}

UpstreamPool::~UpstreamPool() = default;

// What speaks against a server, the heaviest in the highest bits; the lowest cost is chosen, and
// `cannot_be_had` never. From the heaviest: it waits for its first check; it has just been tried
// (`avoid`); it is ejected; DNS prefers others (its rank, RFC 2782); and within a rank the requests
// that it has already, divided by its share.
std::uint64_t UpstreamPool::cost_of(std::size_t server, std::size_t avoid) {
  const std::uint64_t requests = servers_->requests(server);
  const bool is_full =
      settings_.requests_per_server != 0 && requests >= settings_.requests_per_server;
  if (is_full || servers_->state(server) == Servers::State::unreachable ||
      !has_stream_place(server))
    return cannot_be_had;
  const Servers::Preference& preference = servers_->preference(server);
  return (is_unproven(server) ? std::uint64_t{1} << 42 : 0) +
         (server == avoid ? std::uint64_t{1} << 41 : 0) +
         (servers_->is_ejected(server, loop_.now()) ? std::uint64_t{1} << 40 : 0) +
         (std::uint64_t{preference.rank} << 32) + (requests * 256 + 255) / preference.share;
}

std::size_t UpstreamPool::choose_server(std::size_t avoid) {
  const std::size_t count = per_server_.size();
  if (count == 1) return cost_of(0, avoid) == cannot_be_had ? none : 0;
  std::size_t best = none;
  std::uint64_t best_cost = cannot_be_had;
  if (++turn_ >= count) turn_ = 0;
  for (std::size_t i = 0, server = turn_; i < count; ++i) {
    const std::uint64_t cost = cost_of(server, avoid);
    if (cost < best_cost) {
      best = server;
      best_cost = cost;
    }
    if (++server == count) server = 0;
  }
  return best;
}

bool UpstreamPool::has_place() {
  for (std::size_t server = 0; server < per_server_.size(); ++server)
    if (cost_of(server, none) != cannot_be_had) return true;
  return false;
}

UpstreamStream* UpstreamPool::open(std::size_t server, Which which, Http1Upstream& room,
                                   int& error) {
  if (speaks_http2(server)) [[unlikely]]
    return open_http2(server, which, room, error);
  return room.open(*this, server, which != Which::any, error) ? &room : nullptr;
}

// ---- HTTP/2 ------------------------------------------------------------------------------------

bool UpstreamPool::speaks_http2(std::size_t server) {
  const conf::Address& wanted = servers_->wanted(server);
  if (wanted.is_http2) return true;
  return wanted.is_tls && settings_.offers_http2 && loop_.now() >= per_server_[server].http1_until;
}

// The oldest with room; one that is doubted only when there is no other.
Http2UpstreamConnection* UpstreamPool::find_http2(std::size_t server) {
  Http2UpstreamConnection* doubted = nullptr;
  for (const auto& connection : per_server_[server].http2) {
    if (connection->room() == 0) continue;
    if (!connection->is_doubted()) return connection.get();
    if (doubted == nullptr) doubted = connection.get();
  }
  return doubted;
}

// One that is lost is none any more, though it still tells its requests.
bool UpstreamPool::may_connect_http2(std::size_t server) const {
  const auto& all = per_server_[server].http2;
  const std::size_t most = settings_.connections;
  if (most == 0 || all.size() < most) return true;
  const auto lost = std::ranges::count_if(all, [](const auto& one) { return one->is_lost(); });
  return all.size() - static_cast<std::size_t>(lost) < most;
}

bool UpstreamPool::has_stream_place(std::size_t server) {
  if (may_connect_http2(server)) return true;
  return !speaks_http2(server) || find_http2(server) != nullptr;
}

UpstreamStream* UpstreamPool::open_http2(std::size_t server, Which which, Http1Upstream& room,
                                         int& error) {
  PerServer& own = per_server_[server];
  const bool is_isolated = which == Which::isolated;
  Http2UpstreamConnection* found = is_isolated ? nullptr : find_http2(server);
  const bool may_connect = may_connect_http2(server);
  error = EBUSY;
  if (found == nullptr && !may_connect) return nullptr;
  if (!servers_->enter(server, settings_.requests_per_server)) return nullptr;
  Entered entered{*servers_, server};
  if (found == nullptr || (found->is_doubted() && may_connect)) {
    Http2UpstreamConnection::Owner& owner = *this;
    auto made = std::make_unique<Http2UpstreamConnection>(*this, owner, server);
    error = made->connect();
    if (error != 0) return nullptr;
    own.http2.push_back(std::move(made));
    found = own.http2.back().get();
  }
  Http2Upstream& stream = found->open(room.listener(), room.reader(), true);
  if (is_isolated) found->isolate();
  entered.stays = true;
  ++own.in_use;
  return &stream;
}

void UpstreamPool::on_stream_over(Http2UpstreamConnection& connection,
                                  const Http2Upstream& stream) {
  if (!stream.is_counted()) return;
  --per_server_[connection.server()].in_use;
  servers_->leave(connection.server());
}

// Asked again after a while: servers are upgraded, and there may be others behind their address.
void UpstreamPool::on_http1_chosen(Connection connection) {
  constexpr std::chrono::minutes believed{1};
  per_server_[connection->server()].http1_until = loop_.now() + believed;
  connection->user_ = nullptr;
  connection->cancel_timeout();
  keep(std::move(connection));
}

void UpstreamPool::on_connection_over(Http2UpstreamConnection& connection) {
  auto& all = per_server_[connection.server()].http2;
  const auto found =
      std::ranges::find_if(all, [&](const auto& kept) { return kept.get() == &connection; });
  if (found == all.end()) return;
  loop_.retire(std::move(*found));
  all.erase(found);
}

std::span<char> UpstreamPool::read_buffer() {
  constexpr std::size_t size = 32 * 1024;
  if (!read_buffer_) read_buffer_ = std::make_unique_for_overwrite<char[]>(size);
  return {read_buffer_.get(), size};
}

// ---- HTTP/1 ------------------------------------------------------------------------------------

UpstreamPool::Connection UpstreamPool::take(std::size_t server, UpstreamConnection::User& user,
                                            int& error) {
  PerServer& own = per_server_[server];
  if (own.idle.empty() || servers_->speaks_unasked(server, loop_.now()))
    return take_new(server, user, error);
  error = EBUSY;
  if (!servers_->enter(server, settings_.requests_per_server)) return nullptr;
  Connection connection = std::move(own.idle.back());
  own.idle.pop_back();
  ++own.in_use;
  connection->cancel_timeout();
  connection->user_ = &user;
  ++connection->uses_;
  return connection;
}

UpstreamPool::Connection UpstreamPool::take_new(std::size_t server, UpstreamConnection::User& user,
                                                int& error) {
  PerServer& own = per_server_[server];
  const std::size_t most = own.idle.size() + own.in_use + 1;
  if (own.idle.capacity() < most) own.idle.reserve(2 * most);  // who gives back asks for no memory
  error = EBUSY;
  if (!servers_->enter(server, settings_.requests_per_server)) return nullptr;
  Entered entered{*servers_, server};
  Connection connection = connect(server, user, false, error);
  if (!connection) return nullptr;
  entered.stays = true;
  connection->uses_ = 1;
  ++own.in_use;
  return connection;
}

UpstreamPool::Connection UpstreamPool::connect(std::size_t server, UpstreamConnection::User& user,
                                               bool by_http2, int& error) {
  const net::SocketAddress& address = servers_->address(server);
  net::Fd fd = open_socket(address);
  error = fd ? 0 : errno;
  if (!fd) return nullptr;
  auto connection = std::make_unique<UpstreamConnection>(*this, loop_, std::move(fd), server,
                                                         begin_tls(server, by_http2));
  error = connection->stream_.connect(address.get(), address.length);
  if (error != 0) return nullptr;
  connection->set_timeout(timeouts_.connect, UpstreamConnection::Waits::to_stand);
  connection->user_ = &user;
  return connection;
}

// Null without TLS.
std::unique_ptr<net::TlsSession> UpstreamPool::begin_tls(std::size_t server, bool offers_http2) {
  const std::string& host = servers_->tls_host(server);
  if (host.empty()) return nullptr;
  auto& memory = per_server_[server].tls_memory;
  if (!memory) memory = net::TlsConnector::make_memory();
  return tls_->connect(host, memory, offers_http2);
}

std::unique_ptr<net::Stream> UpstreamPool::open_stream(std::size_t server,
                                                       net::Stream::Handler& handler, int& error) {
  const net::SocketAddress& address = servers_->address(server);
  net::Fd fd = open_socket(address);
  error = errno;
  if (!fd) return nullptr;
  auto stream = std::make_unique<net::Stream>(loop_, std::move(fd), handler, begin_tls(server));
  error = stream->connect(address.get(), address.length);
  return error == 0 ? std::move(stream) : nullptr;
}

bool UpstreamPool::is_our_fault(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM ||
         error == EADDRNOTAVAIL || error == EBUSY;
}

void UpstreamPool::give_back(Connection connection) {
  const std::size_t server = connection->server();
  --per_server_[server].in_use;
  servers_->leave(server);
  connection->user_ = nullptr;
  connection->cancel_timeout();
  if (successor_ == nullptr) return keep(std::move(connection));
  connection->server_ = servers_->index_in(*successor_->servers_, server);
  if (connection->server_ == Servers::not_there) return loop_.retire(std::move(connection));
  connection->pool_ = successor_;
  successor_->keep(std::move(connection));
}

void UpstreamPool::keep(Connection connection) {
  PerServer& own = per_server_[connection->server()];
  const bool is_usable = !connection->stream_.peer_has_closed() && !connection->stream_.is_broken();
  if (!is_usable || idle_max_ == 0) return loop_.retire(std::move(connection));
  if (servers_->speaks_unasked(connection->server(), loop_.now()) && idle_count() >= idle_max_) {
    if (own.idle.empty()) return loop_.retire(std::move(connection));
    discard_idle(*own.idle.front());
  }
  connection->set_timeout(idle_count() < idle_max_ ? timeouts_.idle : timeouts_.surplus,
                          UpstreamConnection::Waits::for_use);
  own.idle.push_back(std::move(connection));
}

void UpstreamPool::take_over(UpstreamPool& former) {
  former.successor_ = this;
  for (std::size_t server = 0; server < former.per_server_.size(); ++server) {
    const std::size_t index = former.servers_->index_in(*servers_, server);
    if (index == Servers::not_there) continue;
    PerServer& theirs = former.per_server_[server];
    if (theirs.tls_memory) per_server_[index].tls_memory = theirs.tls_memory;
    for (Connection& connection : std::exchange(theirs.idle, {})) {
      connection->cancel_timeout();
      connection->server_ = index;
      connection->pool_ = this;
      keep(std::move(connection));
    }
  }
}

void UpstreamPool::discard(Connection connection) {
  --per_server_[connection->server()].in_use;
  servers_->leave(connection->server());
  close(std::move(connection));
}

void UpstreamPool::close(Connection connection) {
  connection->stream_.give_up();
  connection->user_ = nullptr;
  connection->cancel_timeout();
  loop_.retire(std::move(connection));
}

void UpstreamPool::discard_idle(UpstreamConnection& connection) {
  auto& idle = per_server_[connection.server()].idle;
  const auto found =
      std::ranges::find_if(idle, [&](const Connection& kept) { return kept.get() == &connection; });
  if (found == idle.end()) return;  // given up in this turn already
  connection.cancel_timeout();
  loop_.retire(std::move(*found));
  idle.erase(found);
}

// Closed, or it speaks. With TLS it may be a ticket for the next connection only.
void UpstreamPool::listen_to_idle(UpstreamConnection& connection) {
  std::array<char, 256> words;
  while (connection.stream_.may_read()) {
    const net::Stream::ReadResult result = connection.stream_.read(words);
    if (result.what == net::Stream::Read::nothing_now) return;
    if (result.what == net::Stream::Read::some)
      note_unasked(connection.server(), {words.data(), result.size}, false);
    return discard_idle(connection);
  }
}

// An empty line between messages is nothing (RFC 9112 section 2.2), and 408 is how a server may say
// that it closes an unused connection (RFC 9110 section 15.5.9).
void UpstreamPool::note_unasked(std::size_t server, std::string_view words, bool is_lost) {
  if (words.find_first_not_of("\r\n") == std::string_view::npos) return;
  const bool is_farewell = words.starts_with("HTTP/1.1 408 ") || words.starts_with("HTTP/1.0 408 ");
  if (servers_->note_unasked(server, settings_.unasked_pause, !is_lost && !is_farewell,
                             loop_.now()))
    on_unasked_(server);
}

std::size_t UpstreamPool::idle_count() const {
  std::size_t count = 0;
  for (const PerServer& own : per_server_) count += own.idle.size();
  return count;
}

bool UpstreamPool::note_unreachable(std::size_t server, const std::string& why) {
  if (is_former_) return false;
  servers_->note_down(server, loop_.now());
  if (!servers_->mark(server, Servers::State::unreachable)) return false;
  on_change_(server, false, why);
  return true;
}

void UpstreamPool::mark_unreachable(std::size_t server, const std::string& why) {
  if (note_unreachable(server, why) && !settings_.check.is_on()) probe(server);
}

void UpstreamPool::mark_reachable(std::size_t server) {
  if (!is_former_ && servers_->mark(server, Servers::State::reachable))
    on_change_(server, true, {});
}

void UpstreamPool::note_answer(std::size_t server, int status) {
  if (servers_->note_answer(server, status, {settings_.eject_errors, settings_.eject_time},
                            loop_.now()))
    on_failing_(server);
}

bool UpstreamPool::note_failure(std::size_t server) {
  const auto time =
      servers_->note_failure(server, {settings_.eject_after, settings_.eject_time}, loop_.now());
  if (time.count() == 0) return false;
  if (servers_->count() > 1) on_ejection_(server, time);
  return true;
}

void UpstreamPool::probe_unproven() {
  if (settings_.check.is_on()) return;  // that tells
  for (std::size_t server = 0; server < per_server_.size(); ++server)
    if (servers_->has_address(server) && servers_->state(server) != Servers::State::reachable)
      probe(server);
}

void UpstreamPool::check_all() {
  if (!settings_.check.is_on()) return;
  for (std::size_t server = 0; server < per_server_.size(); ++server)
    if (servers_->has_address(server))
      per_server_[server].check =
          std::make_unique<ServerCheck>(*this, server, ServerCheck::Kind::check);
}

void UpstreamPool::retire() {
  is_former_ = true;
  for (PerServer& own : per_server_) {
    loop_.retire(std::move(own.check));
    loop_.retire(std::move(own.probe));
    std::vector<Http2UpstreamConnection*> all;  // those that have nothing to do leave at once
    for (const auto& connection : own.http2) all.push_back(connection.get());
    for (Http2UpstreamConnection* const connection : all) connection->wind_up();
  }
}

bool UpstreamPool::is_in_use() const {
  return std::ranges::any_of(per_server_, [](const PerServer& own) { return own.in_use > 0; });
}

void UpstreamPool::end_probe(std::size_t server) {
  loop_.retire(std::move(per_server_[server].probe));
}

void UpstreamPool::probe(std::size_t server) {
  end_probe(server);
  per_server_[server].probe =
      std::make_unique<ServerCheck>(*this, server, ServerCheck::Kind::probe);
}

}  // namespace classgate::proxy
