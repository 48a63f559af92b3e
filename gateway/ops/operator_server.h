#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "conf/settings.h"
#include "gateway/ops/grpc_server.h"
#include "proxy/net/listener.h"
#include "proxy/net/stream.h"
#include "proxy/net/timeout_list.h"
#include "proxy/net/tls_context.h"
#include "proxy/wire/parser.h"

namespace classgate::gateway {

// What counts as one: of IPv6 the network that one machine has to itself (RFC 6177).
inline conf::IpAddress operators_client_of(const conf::IpAddress& address) {
  return address.is_v4() || address.is_unix() ? address : address.as_client(64);
}

// HTTP for operators: few connections, small messages, on the main thread's loop, so that neither
// the data path disturbs it nor it the data path. One request at a time on a connection; bounds:
// ops.max_connections, ops.connections_per_address, ops.timeout, 16 KiB of header, 64 KiB of body,
// one answer that has not been taken.
//
// Whoever can connect can be silent, or not read: a newcomer always gets in, and for it gives way
// the connection that has been silent for longest (since its last answer, however it dribbles), of
// the newcomer's address when that has its share, else of the address that has most. Only one that
// waits for an answer of ours never gives way. Whose answer goes on is not counted among them: its
// number is bounded by who begins such answers.
class OperatorServer {
 public:
  struct Request {
    std::string method;
    std::string path;   // without the query
    std::string query;  // after '?'
    std::string accept;
    std::string body;
    std::string host;  // of the target, else of Host
    std::string authorization;
    std::string cookie;  // of all its Cookie lines (RFC 9113 section 8.2.3)
    std::string origin;
    std::string fetch_site;     // Sec-Fetch-Site
    std::string last_event_id;  // of a viewer who comes again
    conf::IpAddress address{};
    bool is_tls = false;
    bool is_local = false;  // by the control socket: root and the group only
    std::optional<std::uint32_t> user = std::nullopt;  // who asks there (SO_PEERCRED, unix(7))
    std::uint64_t connection = 0;                      // by which a viewer is sent more (send())
  };
  struct Reply {
    int status = 200;
    std::string_view content_type = "text/plain; charset=utf-8";
    std::string body;
    std::string allow = {};   // methods, with a 405
    std::string fields = {};  // further lines of the head, each with its CRLF
    bool goes_on = false;     // the body is what has come of it so far: send() adds to it
  };
  using Responder = std::function<void(const Reply&)>;
  // Calls it, now or later, exactly once; a reply for a connection that has gone is dropped.
  using Handler = std::function<void(const Request&, Responder)>;

  // Answers a call of gRPC (HTTP/2 without TLS): a POST whose body is its message.
  using CallHandler = std::function<GrpcAnswer(const Request&)>;

  OperatorServer(proxy::net::Loop& loop, Handler handler, CallHandler call_handler);
  ~OperatorServer();

  // Sockets to accept from, from now on.
  using Sockets = std::vector<std::shared_ptr<const proxy::net::ListeningSocket>>;
  void listen_on(const Sockets& sockets, const conf::OpsSettings& settings);
  // Where https:// is listened on, by these certificates; null: nobody is answered there.
  void use_certificates(std::shared_ptr<const proxy::net::TlsAcceptor> acceptor) {
    acceptor_ = std::move(acceptor);
  }
  // More for one whose answer goes on. One that does not read is cut off after ops.timeout.
  enum class Sent : std::uint8_t { sent, not_now, gone };
  Sent send(std::uint64_t connection, std::string_view text);
  // One more message for each call to that path whose answer goes on. Who does not read is cut off.
  void send_to_calls(std::string_view path, std::string_view message);
  bool has(std::uint64_t connection) const { return connections_.contains(connection); }
  // What was sent to it is still delivered.
  void close(std::uint64_t connection);
  struct Counts {
    std::size_t open = 0;
    std::uint64_t over_address = 0;  // gave way, ops.connections_per_address
    std::uint64_t over_all = 0;      // gave way, ops.max_connections
    std::uint64_t refused = 0;       // newcomers: all others waited for answers
    std::size_t viewers = 0;         // of those that are open: whose answer goes on
  };
  Counts counts() const;
  void stop_listening() { listeners_.clear(); }

 private:
  class Connection;
  void accept(proxy::net::Fd fd, const conf::IpAddress& address, bool is_local, bool is_tls);
  bool make_room(const conf::IpAddress& address, bool is_local);
  void tell_who_gave_way();

  proxy::net::Loop& loop_;
  Handler handler_;
  CallHandler call_handler_;
  std::uint32_t connections_max_ = 0;
  std::uint32_t connections_per_address_ = 0;
  Counts counts_;  // but for `open`
  std::shared_ptr<const proxy::net::TlsAcceptor> acceptor_;
  std::uint64_t told_ = 0;
  proxy::net::Time told_at_{};
  proxy::net::TimeoutList timeouts_;
  std::vector<std::unique_ptr<proxy::net::Listener>> listeners_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Connection>> connections_;
  std::uint64_t last_number_ = 0;
};

}  // namespace classgate::gateway
