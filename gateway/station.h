#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gateway/access_lines.h"
#include "gateway/connection_table.h"
#include "gateway/decision_ring.h"
#include "gateway/exchange_pool.h"
#include "gateway/health.h"
#include "gateway/held_exchanges.h"
#include "gateway/letter.h"
#include "gateway/memory_budget.h"
#include "gateway/policy.h"
#include "gateway/refusal.h"
#include "gateway/request_ids.h"
#include "gateway/rule_metrics.h"
#include "gateway/shared.h"
#include "gateway/spares.h"
#include "gateway/upstreams.h"
#include "proxy/net/mailbox.h"
#include "proxy/net/timer.h"

namespace classgate::gateway {

// One event loop with all that lives on it: client connections (ConnectionTable), exchanges
// (ExchangePool, HeldExchanges), connections to the service (Upstreams), timers. Built by the
// Server, run by one thread. What other threads may do is send it letters.
class Station final : private admission::Waiters {
 public:
  // Told on the loop's thread, each once after a Drain letter.
  struct Milestones {
    std::function<void()> empty;    // the last connection has gone
    std::function<void()> resumed;  // ... but more will come
  };

  Station(Shared& shared, std::shared_ptr<const Policy> policy, const Sockets& sockets,
          Milestones milestones);
  ~Station();

  void run() { loop_.run(); }
  void send(Letter letter) { mailbox_.send(std::move(letter)); }
  const LoopMetrics& numbers() const { return metrics_.all(); }

  // --- For connections and exchanges, on the loop. ---
  Shared& shared() { return shared_; }
  const Policy& policy() const { return *policy_; }
  const Rules& rules() const { return *rules_; }
  const conf::Settings& settings() const { return rules_->settings; }
  LoopMetrics& metrics() { return metrics_.all(); }
  RouteMetrics& metrics_of(const admission::Route& route) { return metrics_.of(route); }
  RouteMetrics& unrouted() { return metrics_.unrouted(); }
  PlanMetrics& metrics_of(admission::PlanId plan) { return metrics_.of(plan); }
  proxy::net::Loop& loop() { return loop_; }
  proxy::net::Gather& gather() { return spares_.gather(); }
  proxy::wire::Head& spare_head() { return spares_.head(); }
  proxy::wire::Http2Fields& spare_fields() { return spares_.fields(); }
  // Of the policy in force; an exchange stays with the one it began with.
  proxy::UpstreamPool& upstreams() { return upstreams_.pool(); }
  // Others than the policy's own, for tests that have servers without sockets; before any request.
  void use_upstreams(std::unique_ptr<proxy::UpstreamPool> pool) { upstreams_.use(std::move(pool)); }
  std::uint32_t number() const { return number_; }
  bool is_draining() const { return drain_.is_on; }
  // Draining, but whoever has a connection may ask once more.
  bool serves_on() const { return drain_.serves_on; }
  // Draining, but whoever has asked nothing yet may do so.
  bool spares_silent() const { return drain_.spares_silent; }
  // The connection that ends now must be gone at once: another one waits for its room.
  bool is_making_room() const { return connections_.is_making_room(); }

  MemoryCount& memory() { return memory_; }
  // Whoever holds most gives way, if that is needed. Nobody's method may be on the stack that goes
  // on afterwards.
  void relieve_memory() {
    if (memory_.is_tight()) [[unlikely]]
      connections_.take_memory_back();
  }
  // What may be held of an answer for a client that reads slowly.
  std::size_t response_buffer() const;

  // No server can be had: what has a worker waits for one. None is up, and has not been for less
  // than upstream.hold; or those that are have all that they may: there have been more places until
  // now.
  bool holds();
  // Exchange::on_hold_over() will come, or on_due() when it has waited for as long as it may.
  void hold(Exchange& exchange) { held_.hold(exchange); }
  void let_go(Exchange& exchange) { held_.let_go(exchange); }
  Exchange& take_exchange() { return exchanges_.take(); }
  void retire_exchange(Exchange& exchange) { exchanges_.retire(exchange); }
  std::unique_ptr<proxy::wire::Parser> take_parser() { return spares_.take_parser(); }
  void return_parser(std::unique_ptr<proxy::wire::Parser> parser) {
    spares_.return_parser(std::move(parser));
  }
  void close_connection(ClientConnection& connection) { connections_.close(connection); }
  // More of its input is used in a turn to come (TurnLine).
  void wait_for_turn(ClientConnection& connection) { connections_.wait_for_turn(connection); }
  // Counts it among the connections of its address; false when that has too many already.
  bool count_client(ClientConnection& connection) { return connections_.count_client(connection); }
  // What GET /queue/health says where clients are accepted.
  const HealthPage& strangers_health() {
    return strangers_health_.at(loop_.now(), shared_, *policy_);
  }
  // A worker waits for a client to send or take so many bytes in a stream_window, and somebody for
  // the worker.
  static constexpr std::chrono::seconds stream_window{1};
  bool is_too_slow_for_waiters(std::uint64_t bytes_in_window);
  // What a connection hears that may not stay.
  void append_refusal_of_connection(std::string& out, conf::Reason reason,
                                    const ClientIdentities::Listener* listener);

  RequestIds& request_ids() { return request_ids_; }
  TokenCache& tokens() { return known_.tokens; }
  AddressIds& address_ids() { return known_.addresses; }
  RateTexts& rate_texts() { return rate_texts_; }
  // An exchange has ended. How the access log is to tell: asked once for each; then either of the
  // others.
  AccessLines::Wanted wanted_line(const ExchangeFacts& facts) {
    return records_.lines.wanted(facts.kind(), loop_.now(), settings().threads);
  }
  std::chrono::system_clock::time_point wall_time() {
    return records_.lines.wall_time(loop_.now());
  }
  void add_line(const ExchangeRecord& record) { records_.lines.add(record, loop_.now()); }
  // For the history; null: nobody keeps one.
  UsageJournal* usage() { return usage_; }
  // Of one that was refused, failed or left, where they are kept.
  bool keeps_decisions() const { return records_.decisions.most() > 0; }
  void keep(const ExchangeFacts& facts, const DecisionRing::Origin& origin) {
    records_.decisions.keep(facts, origin);
  }
  void roll_up(const RefusalRollup::Refusal& refusal) {
    if (records_.lines.roll_up(refusal, loop_.now()))
      records_.roll_up.start(AccessLines::rolled_up_time);
  }
  std::string_view date_text() { return spares_.date_text(); }

  struct Timeouts {
    Timeouts(proxy::net::Loop& loop, const conf::Settings& settings);
    void change(const conf::Settings& settings);  // for what is set from now on
    proxy::net::TimeoutList header;
    proxy::net::TimeoutList body;
    proxy::net::TimeoutList stream;  // as body, of an upload that holds a worker
    proxy::net::TimeoutList send;
    proxy::net::TimeoutList idle;
    proxy::net::TimeoutList linger;
    proxy::net::TimeoutList request;
    proxy::net::TimeoutList queue;
    proxy::net::TimeoutList stream_idle;  // of an answer that is a stream
    proxy::net::TimeoutList stream_time;
    proxy::net::TimeoutList look;  // whether a client that waits for an answer is still there
  };
  Timeouts& timeouts() { return timeouts_; }
  const proxy::wire::HeadLimits& request_limits() const { return request_limits_; }

 private:
  struct DrainState {
    bool is_on = false;
    bool serves_on = false;
    bool spares_silent = false;
    bool is_reported = false;  // that nobody is left
    proxy::net::Timer grace;   // for which it serves on, or spares the silent
  };

  // admission::Waiters, called on any thread.
  void on_granted(admission::Ticket ticket, std::uint32_t tag, admission::Permit permit) override;
  void on_shed(admission::Ticket ticket, std::uint32_t tag,
               const admission::Rejection& rejection) override;

  void read(Letter& letter);
  void take(Grant& grant);
  void take(const Shed& shed);
  void take(Reconfigure& change);
  void take(const Drain& how);
  void take(const Resume& again);
  void take(const Ping& ping) {
    if (ping.answer) ping.answer();
  }
  void take(const Census& census);
  void take(const Search& search) {
    search.answer(records_.decisions.find(search.id, settings().ops.why_found_max));
  }
  void take(const Stop&) { loop_.stop(); }
  Exchange* waiter(admission::Ticket ticket, std::uint32_t tag);
  void adopt(std::shared_ptr<const Policy> policy);
  void change();
  void on_grace_over();
  void end_turn();

  struct Change {
    proxy::net::Timer again;
    Reconfigure wanted{};  // what change() does
  };
  // What has been found out about clients, and need not be anew.
  struct Known {
    TokenCache tokens;
    AddressIds addresses;
  };

  // What is kept and written of exchanges that have ended.
  struct Records {
    DecisionRing decisions{};
    AccessLines lines;
    proxy::net::Timer roll_up;  // of the lines that stand for several refusals
  };

  Shared& shared_;
  std::shared_ptr<const Policy> policy_;
  const Rules* rules_;  // of it
  RuleMetrics metrics_;
  proxy::net::Loop loop_;
  const Milestones milestones_;
  const std::uint32_t number_;
  UsageJournal* const usage_;
  proxy::wire::HeadLimits request_limits_;
  Spares spares_;
  Timeouts timeouts_;
  Upstreams upstreams_;
  proxy::net::Mailbox<Letter> mailbox_;

  MemoryCount memory_;
  HeldExchanges held_;
  ExchangePool exchanges_;
  ConnectionTable connections_;

  RequestIds request_ids_;
  Known known_;
  RateTexts rate_texts_;
  Records records_;
  StrangersHealth strangers_health_;
  Change change_;
  DrainState drain_;
};

}  // namespace classgate::gateway
