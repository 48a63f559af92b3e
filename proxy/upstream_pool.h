#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "conf/settings.h"
#include "proxy/net/tls_context.h"
#include "proxy/servers.h"
#include "proxy/upstream_connection.h"
#include "proxy/wire/parser.h"

namespace classgate::proxy {

class ServerProbe;

// The upstream connections of one loop. Idle ones are kept, the last used is taken first (so that
// the rest grow old and close), at most `idle_max` of them.
class UpstreamPool final : public net::Retirable {
 public:
  // Told once when a server becomes unreachable or reachable again, for the log.
  using OnChange = std::function<void(std::size_t server, bool reachable, const std::string& why)>;

  UpstreamPool(net::Loop& loop, std::shared_ptr<Servers> servers,
               const conf::UpstreamSettings& settings, std::size_t idle_max, OnChange on_change,
               std::shared_ptr<const net::TlsConnector> tls = nullptr);
  ~UpstreamPool() override;

  using Connection = std::unique_ptr<UpstreamConnection>;

  // The server for the next exchange: reachable if there is one, then the one with the fewest
  // exchanges of this loop; `avoid` only when there is no other.
  std::size_t choose_server(std::size_t avoid = none);
  static constexpr std::size_t none = static_cast<std::size_t>(-1);
  // An idle connection or a new one, which may be still connecting. Null, with errno in `error`,
  // when none can be had.
  Connection take(std::size_t server, UpstreamConnection::User& user, int& error);
  Connection take_new(std::size_t server, UpstreamConnection::User& user, int& error);
  // After an exchange: kept for the next one, or closed.
  void give_back(Connection connection);
  void discard(Connection connection);

  // The server did not let itself be connected to: it is tried again until it does.
  void mark_unreachable(std::size_t server, const std::string& why);
  // Tries each server that is not known to be reachable, so that health is known before the first
  // request.
  void probe_unproven();
  // For connections that are made from now on. Not null when a server wants TLS.
  void use_tls(std::shared_ptr<const net::TlsConnector> tls) { tls_ = std::move(tls); }
  // Whether an exchange holds one of its connections.
  bool is_in_use() const;

  Servers& servers() { return *servers_; }
  const conf::UpstreamSettings& settings() const { return settings_; }
  const wire::HeadLimits& answer_limits() const { return answer_limits_; }
  net::Loop& loop() { return loop_; }
  std::size_t idle_count() const;

 private:
  friend class UpstreamConnection;
  friend class ServerProbe;
  void discard_idle(UpstreamConnection& connection);
  void probe(std::size_t server);
  void mark_reachable(std::size_t server);

  struct PerServer {
    std::vector<Connection> idle;  // oldest first
    std::size_t in_use = 0;
    std::unique_ptr<ServerProbe> probe;
    std::shared_ptr<net::TlsConnector::Memory> tls_memory;  // with TLS
  };

  net::Loop& loop_;
  const std::shared_ptr<Servers> servers_;
  const conf::UpstreamSettings settings_;
  const wire::HeadLimits answer_limits_;
  std::shared_ptr<const net::TlsConnector> tls_;
  std::size_t idle_max_;
  OnChange on_change_;
  net::DeadlineList connect_deadlines_;
  net::DeadlineList idle_deadlines_;
  net::DeadlineList probe_deadlines_;
  std::vector<PerServer> per_server_;
  std::size_t turn_ = 0;
};

}  // namespace classgate::proxy
