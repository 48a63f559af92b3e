#pragma once

#include <chrono>
#include <expected>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "conf/settings.h"
#include "proxy/net/loop.h"
#include "proxy/net/socket_address.h"
#include "proxy/net/timer.h"

struct ares_addrinfo;
struct ares_channeldata;

namespace classgate::proxy::net {

struct Target;

// Looks host names up without blocking (c-ares): /etc/hosts, then DNS with EDNS, over TCP what does
// not fit, with the search list of /etc/resolv.conf. The IPv4 addresses, or, where there are none,
// the IPv6 ones (RFC 1035, 3596, 6891, 7766). Of a service the hosts that its SRV records name (RFC
// 2782). Addresses that nobody can have are left out. Lives on a loop; what is still being looked
// up when it is destroyed is never told.
class Resolver {
 public:
  struct Answer {
    std::vector<Endpoint> endpoints;  // tidy(); at least one
    std::size_t left_out = 0;         // more than are used
    std::chrono::seconds time_to_live{0};
    // What no answer could be had about: who knows more than this should keep it. Empty: nothing.
    std::string lacks;
  };
  struct Failure {
    std::string why;         // as part of a line
    bool is_certain = true;  // there is none; else it could not be learnt
  };
  using Result = std::expected<Answer, Failure>;
  using OnAnswer = std::function<void(Result)>;

  // `nameservers` empty: those in /etc/resolv.conf, as it is now. `timeout`: for one name, with all
  // attempts.
  Resolver(Loop& loop, const std::vector<conf::Address>& nameservers,
           std::chrono::milliseconds timeout);
  ~Resolver();

  // `on_answer` is called once, later, never from within this.
  void look_up(const conf::Address& wanted, OnAnswer on_answer);
  // Whether /etc/hosts has it: then DNS has nothing to say.
  static bool is_in_hosts_file(const std::string& host);

 private:
  struct Query;
  struct Service;
  void look_up_host(const std::string& host, std::uint16_t port, OnAnswer on_answer);
  void look_up_service(const std::string& name, OnAnswer on_answer);
  static void on_records(void* service, int status, int timeouts, unsigned char* bytes, int size);
  void on_records(Service& service, int status, std::span<const unsigned char> message);
  void on_host(Service& service, const Target& target, const Result& result);
  void conclude(Service& service);
  void ask(Query& query, int family);
  static void on_result(void* query, int status, int timeouts, ares_addrinfo* found);
  void on_result(Query& query, int status, const ares_addrinfo* found);
  void conclude(Query& query, Result result);
  void deliver();
  static void on_socket(void* self, int fd, int readable, int writable);
  static void on_event(int fd, short what, void* self);
  void process(int read_fd, int write_fd);

  struct DestroyChannel {
    void operator()(ares_channeldata* channel) const;
  };
  Loop& loop_;
  const std::chrono::milliseconds timeout_;
  std::string broken_;  // why nothing can be looked up
  std::list<std::unique_ptr<Query>> queries_;
  std::list<std::unique_ptr<Service>> services_;
  std::map<int, Event> sockets_;
  Timer process_timer_;
  Timer deliver_timer_;
  bool is_ending_ = false;
  std::unique_ptr<ares_channeldata, DestroyChannel> channel_;  // calls back with all of these
};

// For a start or a reload: looks all of them up at once, and blocks until they have answered, for
// `timeout` at most. In their order.
std::vector<Resolver::Result> look_up_now(const std::vector<conf::Address>& names,
                                          const std::vector<conf::Address>& nameservers,
                                          std::chrono::milliseconds timeout);

}  // namespace classgate::proxy::net
