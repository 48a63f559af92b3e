#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "admission/sharing/holding.h"
#include "admission/sharing/rate_holding.h"
#include "conf/settings.h"
#include "gateway/sharing/board.h"
#include "gateway/sharing/member_lock.h"
#include "gateway/sharing/rate_notes.h"
#include "gateway/sharing/redis_connection.h"
#include "proxy/net/loop.h"
#include "proxy/net/mailbox.h"
#include "proxy/net/resolver.h"
#include "proxy/net/timer.h"
#include "proxy/net/tls_context.h"

namespace classgate::gateway {

// This gateway's part of the workers and rates that several have together: a thread with a loop of
// its own that, each sharing.period, reports to the ledger in Redis what is in use and wanted, and
// lends the gate what the answer gives. No request waits for it, nor it for any: the gate's lock is
// held for two numbers at a time.
//
//   no connection   tries the next of sharing.redis each period, and after a round of all of them
//                   a pause that grows to a quarter of a second
//   connecting      name, TCP, TLS, login, role and script; all servers in turn within a lease
//   asking          one report at a time; without an answer within 3/10 of a lease the
//                   connection is given up: what comes after that is of little use
// Whatever happens, what was lent ends by itself (Gate::Loan), and the sum of what all gateways
// have stays within the workers (admission/sharing/ledger.h).
class Sharing final : private RedisConnection::Owner {
 public:
  // The gate, as far as it is asked here. Called on the thread of this.
  class Workers {
   public:
    struct Use {
      std::uint32_t in_use = 0;
      sharing::Demand demand{};
    };
    virtual Use use() const = 0;
    // So many until then, and after that so many.
    virtual void lend(std::uint32_t workers, proxy::net::Time until, std::uint32_t then) = 0;
    // Of the rates, in an order that stays until a reload; and how many clients ask.
    struct RateUses {
      std::vector<sharing::RateHolding::Use> rates{};
      std::uint32_t clients = 1;
    };
    virtual RateUses take_rate_uses(proxy::net::Time now) = 0;
    // Its part of each rate, and until a time of some, in their order, another rate.
    virtual void lend_rates(double part, const std::vector<sharing::RateHolding::Loan>& loans,
                            proxy::net::Time now) = 0;

   protected:
    ~Workers() = default;
  };
  // What a reload may change.
  struct Limits {
    std::uint32_t workers = 0;
    // From the moment that a request gets its worker until it is over for certain.
    std::chrono::milliseconds request_time_max{};
  };

  // Reads what it needs of files, and keeps one in `folder`, if it can. The error is one line for
  // an operator.
  static std::expected<std::unique_ptr<Sharing>, std::string> open(
      const conf::SharingSettings& settings, const std::string& folder, const Limits& limits,
      Workers& workers, SharingBoard& board);
  ~Sharing();  // finish()
  Sharing(const Sharing&) = delete;
  Sharing& operator=(const Sharing&) = delete;

  void start();
  // Any thread.
  void set_limits(const Limits& limits) { mailbox_.send(Letter{limits, false}); }
  // Nothing begins any more. If nothing is in use, the others are told that its part is theirs; for
  // that it waits a moment. Ends the thread. Once.
  void finish();

 private:
  using Time = proxy::net::Time;
  struct Letter {
    Limits limits;
    bool is_end = false;
  };

  Sharing(const conf::SharingSettings& settings, const std::string& folder, const Limits& limits,
          Workers& workers, SharingBoard& board, std::string password,
          std::shared_ptr<const proxy::net::TlsConnector> tls);
  static Time clock() { return std::chrono::steady_clock::now(); }
  void read(const Letter& letter);
  void on_tick();
  void turn(Time now);
  void connect(Time now);
  void connect_to(const proxy::net::SocketAddress& address);
  void on_address(const proxy::net::Resolver::Result& result);
  void exchange(Time now);
  void look_for_predecessors(Time now);
  void bury_predecessors();
  void note_buried();
  void note_unheard(Time now);
  void on_redis_ready() override;
  void on_redis_answer(const RedisReply& reply) override;
  void on_redis_failed(SharingFailure kind, const std::string& why) override;
  void fail(SharingFailure kind, const std::string& why, Time now);
  void drop_connection();
  void lend(Time now);
  void lend_rates(const sharing::Share* share, Time now);
  void tell(Time now);
  void tell_change(SharingHealth::State before, Time now) const;
  void leave();
  void end() { loop_.stop(); }
  const conf::RedisServer& server() const { return settings_.redis[attempts_.server]; }
  std::vector<std::string> arguments(const std::string& verb) const;
  std::chrono::milliseconds answer_time() const { return settings_.lease * 3 / 10; }

  const conf::SharingSettings settings_;
  const std::string password_;
  const std::shared_ptr<const proxy::net::TlsConnector> tls_;  // null: no server wants it
  Workers& workers_;
  SharingBoard& board_;
  const std::string key_;
  MemberLock lock_;
  // That have died on this machine, as far as we know.
  struct Predecessors {
    std::vector<std::string> names{};
    bool are_buried = false;  // an engine has been told of all of them
    std::size_t awaited = 0;  // answers to that
    Time looked_for{};
  };
  Predecessors predecessors_;
  sharing::Holding::Settings terms_;
  sharing::Holding holding_;
  struct Rates {
    sharing::RateHolding holding;
    RateNotes notes;
    double part = 1;  // of each, as it was lent last
  };
  Rates rates_;
  SharingHealth health_;
  proxy::net::Loop loop_;
  proxy::net::Timer tick_;
  proxy::net::Timer end_;
  proxy::net::Mailbox<Letter> mailbox_;
  proxy::net::Resolver resolver_;
  std::unique_ptr<RedisConnection> connection_;
  struct Attempts {
    std::size_t server = 0;  // of the conf, the one that is used or tried next
    std::size_t failures_in_a_row = 0;
    bool is_looking_up = false;
    Time again{};  // not before
  };
  Attempts attempts_;
  std::array<Time, sharing_failure_count> complained_{};  // in the log, last; zero: not yet
  Time unheard_since_{};  // answers came that heard no report; zero: the last one heard it
  bool is_leaving_ = false;
  Time shown_{};  // that all gateways were asked for, last
  Time began_{};  // connecting, or the report that is not answered yet
  std::thread thread_;
};

}  // namespace classgate::gateway
