#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gateway/access_lines.h"
#include "gateway/client_connection.h"
#include "gateway/decision_ring.h"
#include "gateway/exchange.h"
#include "gateway/health.h"
#include "gateway/letter.h"
#include "gateway/memory_budget.h"
#include "gateway/policy.h"
#include "gateway/request_ids.h"
#include "gateway/shared.h"
#include "gateway/traffic.h"
#include "proxy/net/gather.h"
#include "proxy/net/listener.h"
#include "proxy/net/mailbox.h"
#include "proxy/net/timer.h"
#include "proxy/upstream_pool.h"

namespace classgate::gateway {

// One event loop with all that lives on it: listeners, client connections, exchanges, upstream
// connections, timers. Built by the Server, run by one thread. What other threads may do is send it
// letters.
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
  const Traffic& numbers() const { return traffic_; }

  // --- For connections and exchanges, on the loop. ---
  Shared& shared() { return shared_; }
  const Policy& policy() const { return *policy_; }
  const Rules& rules() const { return *rules_; }
  const conf::Settings& settings() const { return rules_->settings; }
  Traffic& traffic() { return traffic_; }
  RouteTraffic& traffic_of(const admission::Route& route) { return *route_traffic_[route.index]; }
  RouteTraffic& unrouted() { return *unrouted_; }
  PlanTraffic& traffic_of(admission::PlanId plan) {
    PlanTraffic* const* const own = plan_traffic_.find(plan);
    return own != nullptr && *own != nullptr ? **own : *unplanned_;
  }
  proxy::net::Loop& loop() { return loop_; }
  proxy::net::Gather& gather() { return gather_; }
  // For a head with other fields, until it has been said; its memory is kept.
  proxy::wire::Head& spare_head() { return spare_head_; }
  // Of the policy in force; an exchange stays with the one it began with.
  proxy::UpstreamPool& upstreams() { return *upstreams_; }
  // Others than the policy's own, for tests that have servers without sockets; before any request.
  void use_upstreams(std::unique_ptr<proxy::UpstreamPool> pool) { upstreams_ = std::move(pool); }
  std::uint32_t number() const { return number_; }
  bool is_draining() const { return draining_; }
  // Draining, but whoever has a connection may ask once more.
  bool serves_on() const { return serves_on_; }
  // Draining, but whoever has asked nothing yet may do so.
  bool spares_silent() const { return spares_silent_; }
  // The connection that ends now must be gone at once: another one waits for its room.
  bool is_making_room() const { return is_making_room_; }

  MemoryCount& memory() { return memory_; }
  // Whoever holds most gives way, if that is needed. Nobody's method may be on the stack that goes
  // on afterwards.
  void relieve_memory() {
    if (memory_.is_tight()) [[unlikely]]
      take_memory_back();
  }
  // What may be held of an answer for a client that reads slowly.
  std::size_t response_buffer() const;

  // No server can be had: what has a worker waits for one. None is up, and has not been for less
  // than upstream.hold; or those that are have all that they may: there have been more places until
  // now.
  bool holds();
  // Exchange::on_hold_over() will come, or on_due() when it has waited for as long as it may.
  void hold(Exchange& exchange);
  void let_go(Exchange& exchange) { std::erase(held_exchanges_, &exchange); }
  Exchange& take_exchange();
  void retire_exchange(Exchange& exchange);
  std::unique_ptr<proxy::wire::Parser> take_parser();
  void return_parser(std::unique_ptr<proxy::wire::Parser> parser);
  void close_connection(ClientConnection& connection);
  // Counts it among the connections of its address; false when that has too many already.
  bool count_client(ClientConnection& connection);
  // What GET /queue/health says where clients are accepted.
  const Health& strangers_health() { return strangers_health_.at(loop_.now(), shared_, *policy_); }
  // A worker waits for a client to send or take so many bytes in a stream_window, and somebody for
  // the worker.
  static constexpr std::chrono::seconds stream_window{1};
  bool is_too_slow_for_waiters(std::uint64_t bytes_in_window);
  // What a connection hears that may not stay.
  void append_refusal_of_connection(std::string& out, conf::Reason reason);

  RequestIds& request_ids() { return request_ids_; }
  TokenCache& tokens() { return tokens_; }
  // An exchange has ended. How the access log is to tell: asked once for each; then either of the
  // others.
  AccessLines::Wanted wanted_line(const ExchangeRecord& record) {
    return access_lines_.wanted(record.kind(), loop_.now(), settings().threads);
  }
  void add_line(const ExchangeRecord& record) { access_lines_.add(record, loop_.now()); }
  // For one that was refused, failed or left; null: none is kept. Then to be filled.
  Decision* next_decision() { return decisions_.next(); }
  void keep(Decision& into, const ExchangeRecord& record);
  void roll_up(const RefusalRollup::Refusal& refusal) {
    if (access_lines_.roll_up(refusal, loop_.now()))
      roll_up_timer_.start(AccessLines::rolled_up_time);
  }
  // IMF-fixdate (RFC 9110 section 5.6.7), for the Date field.
  std::string_view date_text();

  struct Deadlines {
    Deadlines(proxy::net::Loop& loop, const conf::Settings& settings);
    void change(const conf::Settings& settings);  // for what is set from now on
    proxy::net::DeadlineList header;
    proxy::net::DeadlineList body;
    proxy::net::DeadlineList stream;  // as body, of an upload that holds a worker
    proxy::net::DeadlineList send;
    proxy::net::DeadlineList idle;
    proxy::net::DeadlineList linger;
    proxy::net::DeadlineList request;
    proxy::net::DeadlineList queue;
    proxy::net::DeadlineList stream_idle;  // of an answer that is a stream
    proxy::net::DeadlineList stream_time;
  };
  Deadlines& deadlines() { return deadlines_; }
  const proxy::wire::HeadLimits& request_limits() const { return request_limits_; }

 private:
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
    search.answer(decisions_.find(search.id, settings().ops.why_found_max));
  }
  void take(const Stop&) { loop_.stop(); }
  Exchange* waiter(admission::Ticket ticket, std::uint32_t tag);
  void accept(proxy::net::Fd fd, const proxy::net::SocketAddress& address, bool is_tls,
              const std::shared_ptr<const ClientIdentities::Listener>& listener);
  bool take_room();
  bool make_room();
  void turn_away(proxy::net::Fd fd, bool is_tls, conf::Reason reason);
  bool take_client(const conf::IpAddress& address, bool& is_counted);
  void adopt(std::shared_ptr<const Policy> policy);
  std::vector<RouteTraffic*> traffic_under(const Rules& rules);
  admission::ById<admission::PlanId, PlanTraffic*> plan_traffic_under(const Rules& rules);
  void change();
  std::unique_ptr<proxy::UpstreamPool> make_upstreams(const std::shared_ptr<const Policy>& policy);
  void make_tag();
  void look_after_upstreams();
  void begin_upstreams();
  void stop_listening_except(const Sockets& sockets);
  void listen_on(const Sockets& sockets);
  void on_grace_over();
  void take_memory_back();
  void free_exchange(Exchange& exchange);
  void look_after_held();
  void end_turn();

  Shared& shared_;
  std::shared_ptr<const Policy> policy_;
  const Rules* rules_;  // of it
  Traffic traffic_;
  std::vector<RouteTraffic*> route_traffic_;  // of the policy's routes, by their index
  RouteTraffic* unrouted_;
  PlanTraffic* unplanned_;                                         // of everybody else
  admission::ById<admission::PlanId, PlanTraffic*> plan_traffic_;  // of the policy's plans
  proxy::net::Loop loop_;
  const Milestones milestones_;
  std::uint32_t number_;
  proxy::wire::HeadLimits request_limits_;
  proxy::net::Gather gather_;
  proxy::wire::Head spare_head_;
  Deadlines deadlines_;
  std::unique_ptr<proxy::UpstreamPool> upstreams_;
  std::vector<std::unique_ptr<proxy::UpstreamPool>> former_upstreams_;  // while they are in use
  proxy::net::Mailbox<Letter> mailbox_;

  MemoryCount memory_;
  proxy::net::Time next_relief_{};                    // not before: the last one found too little
  std::vector<std::unique_ptr<Exchange>> exchanges_;  // a tag is an index; null: free for another
  std::vector<std::uint32_t> free_tags_;
  std::vector<Exchange*> free_exchanges_;
  std::vector<Exchange*> ended_exchanges_;  // free after this turn
  std::vector<std::unique_ptr<proxy::wire::Parser>> free_parsers_;
  std::vector<std::unique_ptr<ClientConnection>> connections_;
  std::vector<std::unique_ptr<proxy::net::Listener>> listeners_;

  RequestIds request_ids_;
  TokenCache tokens_;
  DecisionRing decisions_;
  AccessLines access_lines_;
  proxy::net::Timer roll_up_timer_;
  StrangersHealth strangers_health_;
  std::string date_text_;
  std::time_t date_text_of_ = 0;
  proxy::net::Timer grace_;
  std::vector<Exchange*> held_exchanges_;  // until a server is up
  std::vector<Exchange*> looked_after_;    // of these, in look_after_held()
  proxy::net::Timer hold_look_;
  bool upstreams_are_new_ = false;  // and have not begun to ask
  Reconfigure wanted_;              // what change() does
  proxy::net::Timer change_again_;
  bool draining_ = false;
  bool serves_on_ = false;
  bool spares_silent_ = false;
  bool is_making_room_ = false;
  bool reported_empty_ = false;
};

}  // namespace classgate::gateway
