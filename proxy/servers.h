#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/net/loop.h"
#include "proxy/net/socket_address.h"

namespace classgate::proxy {

// The servers of the upstream and what is known of each; shared by all loops. A host name stands
// for as many servers as it has addresses. The list never changes: another one takes over what is
// known of the servers that both have.
//
//   unknown -> reachable <-> unreachable   by connecting to it, or by its checks
//   ejected for a while, besides           by exchanges that failed one after the other
class Servers {
 public:
  enum class State : int { unknown, reachable, unreachable };

  // Looks those up whose host `former` does not have; blocks, for upstream.resolve_timeout at most.
  struct Name {
    conf::Address wanted;
    std::expected<std::vector<net::Endpoint>, std::string> endpoints;  // or why there are none
    // That, as one line for an operator.
    std::string mistake() const;
  };
  using Names = std::vector<Name>;
  static Names look_up(const conf::UpstreamSettings& settings, const Servers* former = nullptr);
  // These, at the addresses that `former` has for their hosts, or else at those looked up. What
  // `former` knows of the same servers is taken over. A name without addresses is one server that
  // is unreachable, and knows why.
  static std::unique_ptr<Servers> make(const std::vector<conf::Address>& addresses,
                                       const Servers* former, const Names& names);
  // The same, but for the name in `wanted`, which has other addresses now.
  std::unique_ptr<Servers> with(const conf::Address& wanted,
                                const std::vector<net::Endpoint>& endpoints) const;
  // The same, but for the name in `wanted`, which has no addresses: why it has none now.
  std::unique_ptr<Servers> without(const conf::Address& wanted, const std::string& why) const;
  // The same names at the same addresses, as much liked.
  bool is_same_as(const Servers& other) const;

  std::size_t count() const { return servers_.size(); }
  // False of a name whose addresses are not known yet: it is never asked anything.
  bool has_address(std::size_t index) const { return servers_[index]->address.length != 0; }
  // One line: why it has none, as far as that is known.
  const std::string& why_no_address(std::size_t index) const { return servers_[index]->why; }
  // "model.example:9000: no such name; ...", for a log. Empty: all have some.
  std::string why_no_addresses() const;
  // The addresses of a host, with the port that is wanted; empty when they are not known.
  std::vector<net::Endpoint> endpoints_of(const conf::Address& wanted) const;
  // Of a service in DNS: those of rank 0 come first, 255 at most; a share of 256 is a full one.
  struct Preference {
    std::uint16_t priority = 0;  // as DNS has them
    std::uint16_t weight = 1;
    std::uint8_t rank = 0;
    std::uint16_t share = 256;
    bool operator==(const Preference&) const = default;
  };
  const Preference& preference(std::size_t index) const { return preferences_[index]; }
  // Where this very server stands in another list; `not_there` when it does not.
  static constexpr std::size_t not_there = static_cast<std::size_t>(-1);
  std::size_t index_in(const Servers& other, std::size_t index) const;
  const net::SocketAddress& address(std::size_t index) const { return servers_[index]->address; }
  // As the conf has it; with the address where that is a name: "model.example:9000/192.0.2.1".
  const std::string& name(std::size_t index) const { return servers_[index]->name; }
  const conf::Address& wanted(std::size_t index) const { return servers_[index]->wanted; }
  // As Host says it: with the port where that is not the scheme's own, an IPv6 address in brackets,
  // "localhost" for a Unix socket (RFC 9110 section 7.2); without zone and final dot.
  const std::string& authority(std::size_t index) const { return servers_[index]->authority; }
  // The host whose certificate a server with TLS must show; empty without TLS.
  const std::string& tls_host(std::size_t index) const { return servers_[index]->tls_host; }
  State state(std::size_t index) const {
    return servers_[index]->state.load(std::memory_order_relaxed);
  }
  // True when this call changed it: the caller is the one to act on it.
  bool mark(std::size_t index, State state);
  bool none_reachable() const { return reachable_count() == 0; }
  // Not known to be unreachable.
  std::size_t reachable_count() const;

  // Requests that it works on. enter() is false when it has `most` already (0: no limit).
  bool enter(std::size_t index, std::uint32_t most);
  void leave(std::size_t index);
  std::uint32_t requests(std::size_t index) const {
    return servers_[index]->requests.load(std::memory_order_relaxed);
  }

  // After `after` failures without a success between them (0: never) it is ejected: passed over for
  // `time`, for twice as long when that happens again before it has served a request, and so on.
  // Says for how long when this failure was the one.
  struct Ejection {
    std::uint32_t after;
    std::chrono::milliseconds time;
  };
  std::chrono::milliseconds note_failure(std::size_t index, const Ejection& law, net::Time now);
  void note_success(std::size_t index, net::Time now);
  // Its answer's status. Of each `answers_in_window` answers in a row, those with 5xx are counted:
  // from a `share` of them on (0: never) it is failing, until a window has less, and where there
  // are others it is ejected for `time`. True when it has begun to fail.
  static constexpr std::uint32_t answers_in_window = 20;
  struct ErrorLaw {
    double share;
    std::chrono::milliseconds time;
  };
  bool note_answer(std::size_t index, int status, const ErrorLaw& law, net::Time now);
  bool is_failing(std::size_t index) const {
    return servers_[index]->is_failing.load(std::memory_order_relaxed);
  }
  // Answers so far, by status class: 0 is 2xx.
  static constexpr std::size_t class_count = 4;
  static constexpr std::array<std::string_view, class_count> class_words{"2xx", "3xx", "4xx",
                                                                         "5xx"};
  std::uint64_t answers(std::size_t index, std::size_t of_class) const {
    return servers_[index]->answers[of_class].load(std::memory_order_relaxed);
  }
  // Before mark(): it is unreachable as of now.
  void note_down(std::size_t index, net::Time now);
  // When the last of them became unreachable.
  net::Time down_since() const;
  // It has answered a request since.
  bool has_answered_since(std::size_t index, net::Time when) const {
    return servers_[index]->answered_at.load(std::memory_order_relaxed) >=
           when.time_since_epoch().count();
  }
  bool is_ejected(std::size_t index, net::Time now) const;
  // It has said what nobody had asked for: for `pause` from now on its connections are not used
  // twice. With `may_shift`, what is due on those that have been used may be the answer to another
  // request. True when this begins an episode.
  bool note_unasked(std::size_t index, std::chrono::milliseconds pause, bool may_shift,
                    net::Time now);
  bool speaks_unasked(std::size_t index, net::Time now) const {
    return now.time_since_epoch().count() <
           servers_[index]->speaks_unasked_until.load(std::memory_order_relaxed);
  }
  bool may_shift_answers(std::size_t index, net::Time now) const {
    return now.time_since_epoch().count() <
           servers_[index]->may_shift_until.load(std::memory_order_relaxed);
  }
  std::uint64_t unasked(std::size_t index) const {
    return servers_[index]->unasked.load(std::memory_order_relaxed);
  }
  std::uint64_t ejections(std::size_t index) const {
    return servers_[index]->ejections.load(std::memory_order_relaxed);
  }

 private:
  struct Server {
    Server(conf::Address from, const net::SocketAddress& at, std::string why_none);
    const conf::Address wanted;
    const net::SocketAddress address;
    const std::string why;  // it has no address
    const std::string name;
    const std::string authority;
    const std::string tls_host;
    std::atomic<State> state{State::unknown};
    std::atomic<std::uint32_t> requests{0};
    std::atomic<std::uint32_t> failures{0};
    std::atomic<std::uint32_t> ejections_in_a_row{0};
    std::atomic<std::uint64_t> ejections{0};
    std::atomic<net::Time::rep> ejected_until{net::Time::min().time_since_epoch().count()};
    std::atomic<net::Time::rep> speaks_unasked_until{net::Time::min().time_since_epoch().count()};
    std::atomic<net::Time::rep> may_shift_until{net::Time::min().time_since_epoch().count()};
    std::atomic<std::uint64_t> unasked{0};
    std::array<std::atomic<std::uint64_t>, class_count> answers{};
    std::atomic<std::uint32_t> window{0};  // answers, and with 5xx in the upper half
    std::atomic<bool> is_failing{false};
    std::atomic<net::Time::rep> down_at{net::Time::min().time_since_epoch().count()};
    std::atomic<net::Time::rep> answered_at{net::Time::min().time_since_epoch().count()};
  };
  bool has_host(const conf::Address& wanted) const;
  void add(const conf::Address& wanted, const std::vector<net::Endpoint>& endpoints,
           const Servers* former, const std::string& why_none = {});
  void replace(const conf::Address& wanted, const std::vector<net::Endpoint>& endpoints,
               const Servers& former, const std::string& why_none);
  std::shared_ptr<Server> known(const conf::Address& wanted,
                                const net::SocketAddress& address) const;
  std::string why_unknown(const conf::Address& wanted) const;
  void remember_departed(const Servers& former);

  std::vector<std::shared_ptr<Server>> servers_;
  std::vector<Preference> preferences_;  // of each
  // No longer of the list, but somebody still has requests there: those count when they return.
  std::vector<std::weak_ptr<Server>> departed_;
};

}  // namespace classgate::proxy
