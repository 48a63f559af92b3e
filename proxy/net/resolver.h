#pragma once

#include <event2/dns.h>

#include <chrono>
#include <expected>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "conf/settings.h"
#include "proxy/net/loop.h"
#include "proxy/net/socket_address.h"

namespace classgate::proxy::net {

// Looks host names up without blocking (libevent's evdns): the IPv4 addresses, or, where there are
// none, the IPv6 ones, with the time for which they may be believed. Knows DNS only. Lives on a
// loop; what is still being looked up when it is destroyed is never told.
class Resolver {
 public:
  struct Answer {
    std::vector<SocketAddress> addresses;  // tidy(); at least one
    std::chrono::seconds time_to_live;
  };
  using OnAnswer = std::function<void(std::expected<Answer, std::string>)>;

  // Empty: those in /etc/resolv.conf, as it is now.
  Resolver(Loop& loop, const std::vector<conf::Address>& nameservers);
  ~Resolver();

  void look_up(const std::string& host, std::uint16_t port, OnAnswer on_answer);
  // Whether /etc/hosts has it: then DNS has nothing to say.
  static bool is_in_hosts_file(const std::string& host);

 private:
  struct Query;
  static void on_result(int error, char type, int count, int ttl, void* addresses, void* query);
  void conclude(Query& query, std::expected<Answer, std::string> answer);

  struct FreeBase {
    void operator()(evdns_base* base) const { evdns_base_free(base, 0); }
  };
  std::list<std::unique_ptr<Query>> queries_;  // outlive the base, which calls them
  std::unique_ptr<evdns_base, FreeBase> base_;
};

// For a start or a reload: blocks until they have answered. As resolve_all() (socket_address.h),
// but names that DNS must tell are looked up by these nameservers, if there are any.
std::expected<std::vector<SocketAddress>, std::string> resolve_all(
    const conf::Address& address, const std::vector<conf::Address>& nameservers);

}  // namespace classgate::proxy::net
