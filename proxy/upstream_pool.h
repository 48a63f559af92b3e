#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "conf/settings.h"
#include "proxy/http2_upstream_connection.h"
#include "proxy/net/tls_context.h"
#include "proxy/retry_budget.h"
#include "proxy/server_check.h"
#include "proxy/servers.h"
#include "proxy/upstream_connection.h"
#include "proxy/wire/parser.h"

namespace classgate::proxy {

class Http1Upstream;
class UpstreamStream;

// The upstream connections of one loop. Idle ones are kept, the last used is taken first (so that
// the rest grow old and close), `idle_max` of them for the idle timeout. What is more is kept for a
// second, in which a loop that has more than its share of the workers at times would have to
// connect anew; there are never more of these than requests were in flight. None when `idle_max` is
// 0.
//
// A server that speaks without being asked would have its words taken for the answer to the next
// request. For upstream.unasked_pause its connections are used once, then only listened to: the
// latest `idle_max` of them, so that what it goes on saying is heard and prolongs the pause.
//
// By HTTP/2 many requests share a connection: the oldest that has room gets the next one, so that
// there are few. One is opened when none has room that is not doubted, as long as there are fewer
// than upstream.connections; those of a former pool end with the requests that they have. What was
// lost with a connection that it shared gets one to itself: were it the reason, nobody would be
// lost with it twice.
class UpstreamPool : public net::Retirable, private Http2UpstreamConnection::Owner {
 public:
  // Told once when a server becomes unreachable or reachable again, for the log.
  using OnChange = std::function<void(std::size_t server, bool reachable, const std::string& why)>;

  UpstreamPool(net::Loop& loop, std::shared_ptr<Servers> servers,
               const conf::UpstreamSettings& settings, std::size_t idle_max, OnChange on_change,
               std::shared_ptr<const net::TlsConnector> tls = nullptr);
  ~UpstreamPool() override;

  using Connection = std::unique_ptr<UpstreamConnection>;

  // The server for the next exchange: of those that are not unreachable and have room, the one with
  // the fewest requests of all loops; one that is ejected, then `avoid`, then one that no check has
  // found well yet, only when there is no other. `none` when none can be had.
  std::size_t choose_server(std::size_t avoid = none);
  static constexpr std::size_t none = static_cast<std::size_t>(-1);
  // Whether one could be chosen; nobody's turn is over.
  bool has_place();
  // Which connection a stream is to have: any, which others may share; by HTTP/1 one that is new;
  // or one of which that is true, and which by HTTP/2 no other request shares.
  enum class Which : std::uint8_t { any, fresh, isolated };
  // A stream to it: one of HTTP/1 lives in `room`, which whoever asks has for it; one of HTTP/2 is
  // its connection's, lasts to the end of the turn in which it is over, and speaks to the same.
  // Null, with errno in `error`, when none can be had, as for take().
  // Virtual for tests.
  virtual UpstreamStream* open(std::size_t server, Which which, Http1Upstream& room, int& error);
  // An idle connection or a new one, which may be still connecting. Null, with errno in `error`,
  // when none can be had; EBUSY: the server has all the requests it may have.
  Connection take(std::size_t server, UpstreamConnection::User& user, int& error);
  Connection take_new(std::size_t server, UpstreamConnection::User& user, int& error);
  // After an exchange: kept for the next one, or closed.
  void give_back(Connection connection);
  void discard(Connection connection);

  // Goes on in the place of `former`, on the same loop: takes its unused connections to servers
  // that both have, and those in use there when they are given back. Outlives it, or is followed by
  // another.
  void take_over(UpstreamPool& former);
  // Whoever gives its connections to `one` gives them to `next` from now on; null: to nobody.
  void follow(const UpstreamPool& one, UpstreamPool* next) {
    if (successor_ == &one) successor_ = next;
  }

  // The server did not let itself be connected to: it is tried again until it does.
  void mark_unreachable(std::size_t server, const std::string& why);
  // How an exchange with it ended. True when this failure was one too many in a row.
  bool note_failure(std::size_t server);
  void note_success(std::size_t server) { servers_->note_success(server, loop_.now()); }
  void note_answer(std::size_t server, int status);
  using OnFailing = std::function<void(std::size_t server)>;  // too many of its answers are 5xx
  void at_failing(OnFailing hook) { on_failing_ = std::move(hook); }
  // The server said `words` where nothing was due. On a connection that `is_lost` nobody could have
  // taken them for an answer.
  void note_unasked(std::size_t server, std::string_view words, bool is_lost);
  using OnUnasked = std::function<void(std::size_t server)>;  // once an episode
  void at_unasked(OnUnasked hook) { on_unasked_ = std::move(hook); }
  // Errors that say nothing of the server: out of descriptors, ports, memory, or of its places.
  static bool is_our_fault(int error);
  RetryBudget& retry_budget() { return retry_budget_; }
  using OnEjection = std::function<void(std::size_t server, std::chrono::milliseconds time)>;
  void at_ejection(OnEjection hook) { on_ejection_ = std::move(hook); }
  // Tries each server that is not known to be reachable, so that health is known before the first
  // request.
  void probe_unproven();
  // Begins to check every server, if the settings want that. On one loop only.
  void check_all();
  // A reload has put another pool in its place: it serves what it has, and asks and says nothing of
  // the servers any more, which it might do under settings (certificates, checks) that are past.
  void retire();
  // For connections that are made from now on. Not null when a server wants TLS.
  void use_tls(std::shared_ptr<const net::TlsConnector> tls) { tls_ = std::move(tls); }
  // Whether an exchange holds one of its connections.
  bool is_in_use() const;

  Servers& servers() { return *servers_; }
  const conf::UpstreamSettings& settings() const { return settings_; }
  const wire::HeadLimits& answer_limits() const { return answer_limits_; }
  // What an answer by HTTP/2 may bring before any of it is taken; bytes.
  std::uint64_t answer_window() const { return answer_window_; }
  void set_answer_window(std::uint64_t bytes) { answer_window_ = bytes; }
  std::size_t http2_connections(std::size_t server) const {
    return per_server_[server].http2.size();
  }
  net::Loop& loop() { return loop_; }
  std::size_t idle_count() const;

 private:
  friend class UpstreamConnection;
  friend class Http2Check;
  friend class Http2UpstreamConnection;
  friend class ServerCheck;
  // Http2UpstreamConnection::Owner
  void on_stream_over(Http2UpstreamConnection& connection, const Http2Upstream& stream) override;
  void on_http1_chosen(Connection connection) override;
  void on_connection_over(Http2UpstreamConnection& connection) override;

  // Counted nowhere; with `by_http2` that is offered to a server with TLS.
  Connection connect(std::size_t server, UpstreamConnection::User& user, bool by_http2, int& error);
  void close(Connection connection);
  UpstreamStream* open_http2(std::size_t server, Which which, Http1Upstream& room, int& error);
  bool may_connect_http2(std::size_t server) const;
  Http2UpstreamConnection* find_http2(std::size_t server);
  bool speaks_http2(std::size_t server);
  bool has_stream_place(std::size_t server);
  // As the server has said it last.
  std::size_t streams_allowed(std::size_t server) const {
    return per_server_[server].streams_allowed;
  }
  void note_streams_allowed(std::size_t server, std::size_t count) {
    per_server_[server].streams_allowed = count;
  }
  std::span<char> read_buffer();
  void keep(Connection connection);
  void discard_idle(UpstreamConnection& connection);
  void listen_to_idle(UpstreamConnection& connection);
  void probe(std::size_t server);
  void end_probe(std::size_t server);  // may be called by it; its connection is closed
  void mark_reachable(std::size_t server);
  bool note_unreachable(std::size_t server, const std::string& why);
  std::uint64_t cost_of(std::size_t server, std::size_t avoid);
  static constexpr std::uint64_t cannot_be_had = static_cast<std::uint64_t>(-1);
  bool is_unproven(std::size_t server) const {
    return settings_.check.is_on() && servers_->state(server) == Servers::State::unknown;
  }
  std::unique_ptr<net::TlsSession> begin_tls(std::size_t server, bool offers_http2 = false);
  std::unique_ptr<net::Stream> open_stream(std::size_t server, net::Stream::Handler& handler,
                                           int& error);

  struct PerServer {
    std::vector<Connection> idle;  // oldest first
    std::size_t in_use = 0;
    std::unique_ptr<ServerCheck> probe;
    std::unique_ptr<ServerCheck> check;
    std::shared_ptr<net::TlsConnector::Memory> tls_memory;        // with TLS
    std::vector<std::unique_ptr<Http2UpstreamConnection>> http2;  // oldest first
    std::size_t streams_allowed = static_cast<std::size_t>(-1);
    net::Time http1_until = net::Time::min();  // it chose that (ALPN): HTTP/2 is not offered again
  };

  struct Timeouts {
    Timeouts(net::Loop& loop, const conf::UpstreamSettings& settings);
    net::TimeoutList connect;
    net::TimeoutList idle;
    net::TimeoutList surplus;  // of idle ones that are more than `idle_max`
    net::TimeoutList proof;    // that one that was idle still stands
    net::TimeoutList probe_interval;
    net::TimeoutList check_interval;
    net::TimeoutList check;
    net::TimeoutList ping_interval;
    net::TimeoutList ping;
  };

  net::Loop& loop_;
  const std::shared_ptr<Servers> servers_;
  const conf::UpstreamSettings settings_;
  const wire::HeadLimits answer_limits_;
  std::shared_ptr<const net::TlsConnector> tls_;
  std::size_t idle_max_;
  OnChange on_change_;
  Timeouts timeouts_;
  RetryBudget retry_budget_;
  OnEjection on_ejection_ = [](std::size_t, std::chrono::milliseconds) {};
  OnUnasked on_unasked_ = [](std::size_t) {};
  OnFailing on_failing_ = [](std::size_t) {};
  std::vector<PerServer> per_server_;
  std::size_t turn_ = 0;
  std::uint64_t answer_window_ = 256 * 1024;
  // Of HTTP/2: what a read has brought must last while others read into the loop's.
  std::unique_ptr<char[]> read_buffer_;
  bool is_former_ = false;
  UpstreamPool* successor_ = nullptr;
};

}  // namespace classgate::proxy
