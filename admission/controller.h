#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "admission/books.h"
#include "admission/ceilings.h"
#include "admission/client_table.h"
#include "admission/congestion.h"
#include "admission/deadline_rule.h"
#include "admission/ids.h"
#include "admission/limits.h"
#include "admission/line_pace.h"
#include "admission/rate_follower.h"
#include "admission/recent_keys.h"
#include "admission/retry_after.h"
#include "admission/shares.h"
#include "admission/verdict.h"
#include "admission/wait_queue.h"
#include "admission/worker_search.h"
#include "conf/settings.h"

namespace classgate::admission {

struct Explanation;
class TopClients;

// Decides who goes in. Single-threaded, deterministic, pure: the same calls with the same times
// give the same verdicts, in a test, a simulator or the gateway (which shares one behind a Gate).
//
// A request arrives; it is admitted, waits, or is rejected with a reason; a waiter leaves; a worker
// comes back with an outcome, and next() says who goes in now. The rules, in order:
//   on the head (screen)       1 draining   2 a client whose retries are too many   3 rate limits
//                              4 its deadline cannot be kept
//                              5 a queue with no place left, for all or for the client
//   when it is ready (arrive)  4 again, then
//                              6 its workers are free, its client may have them, and this one would
//                                be the next to get them (Shares; without reserves: nobody of the
//                                same or a better priority waits who could go in): admitted
//                              7 room in the queue, or someone of a worse priority gives way, or
//                                the newest of a client that has more waiting: waits
//   when it is its turn (next) 8 waited for too long, or has missed its deadline or surely will
//                                (with the adaptive discipline: too long is what Congestion says)
// Inside a priority, clients take turns (WaitQueue). Without identities (Arrival::client is 0)
// everybody is alike, and it is first come first served.
// Invariants, asserted here and by the property tests: workers out <= workers, waiters <=
// queue_size (after a reconfigure() to less: never more than before), no worker idles while someone
// waits who may have it (once next() has been asked until it is silent), and the books balance at
// every instant.
class Controller {
 public:
  // `ids`: of the routes and plans of the conf that the settings are of; requests come with them.
  Controller(const conf::AdmissionSettings& settings, const Ids& ids);
  explicit Controller(const conf::AdmissionSettings& settings)
      : Controller(settings, Ids(settings)) {}

  // The rules that need only the head. A rejection is in the books; nothing is when it passes, so
  // that a request whose client leaves before it is ready must be reported with abandon(). What
  // [observe] lets pass is noted in the arrival.
  std::optional<Rejection> screen(Arrival& arrival, Time now);
  std::optional<Rejection> screen(Arrival&& arrival, Time now) { return screen(arrival, now); }
  // The verdict on a request that passed screen() and is ready to be sent.
  Verdict arrive(const Arrival& arrival, Time now);

  // A waiter leaves before its turn. False when it no longer waits (its news is on the way).
  bool leave(Ticket ticket, Departure why, Time now);
  // A worker comes back.
  void finish(const Outcome& outcome, const Seat& seat, Time now);
  // Who has news: those that gave way, and those whose turn has come. Call until it is silent after
  // every arrive(), finish(), leave() and reconfigure().
  std::optional<Notice> next(Time now);

  // The cost of a request that has gone in has turned out to be another, by its cost_found.
  void settle(const Arrival& arrival, Time now);
  // A request that never got as far as arrive(): refused for what it is, or its client left.
  void refuse(conf::Reason reason, Time now);
  void abandon();
  // A worker is from now on working for nobody: its client left or got its 504.
  void orphan() { ++orphans_; }
  void adopt() { --orphans_; }

  void drain() { draining_ = true; }
  // New limits. What was accepted stays accepted, on the terms it was accepted on: waiters keep
  // their places and deadlines, workers beyond a lower limit finish, tokens and counters stay. A
  // queue that is longer than its new limit takes nobody but in the place of somebody. What is
  // known of a route or a plan stays known as long as that keeps its name, wherever it stands now;
  // `ids` follow those from before.
  void reconfigure(const conf::AdmissionSettings& settings, const Ids& ids, Time now);
  void reconfigure(const conf::AdmissionSettings& settings, Time now) {
    Ids ids = ids_;
    ids.follow(settings);
    reconfigure(settings, ids, now);
  }
  // One more bound of the workers in force, beside the setting; Ceilings::none takes it away. What
  // is beyond a lower one finishes. Forgets nothing and counts nothing anew: O(1), and may come as
  // often as it likes. Whether somebody may go in now is for next() to say.
  void set_ceiling(Ceilings::Source source, std::uint32_t workers) {
    ceilings_.set(source, workers);
  }
  bool has_waiters() const { return queue_.size() > 0; }
  std::size_t waiting() const { return queue_.size(); }
  std::uint32_t limit() const { return workers(); }
  // How long requests of a route keep a worker lately; all of them, when it is new.
  Duration usual_work(RouteId route) const;
  Snapshot snapshot(Time now) const;
  // What screen() and arrive() would say to this request now, and why (explain.cpp). Changes
  // nothing: no token is taken, no client remembered, nothing counted.
  Explanation explain(Arrival arrival, Time now) const;
  // Shows the clients with these numbers, and returns the number after the last there is.
  ClientNumber show_clients(ClientNumber first, ClientNumber count, Time now, TopClients& to) const;
  // Until a place in the queue could be had and served, at the rate workers come back lately. At
  // least a second.
  Duration drain_time() const { return RetryAfter::drain_time(queue_state()); }
  // The honest Retry-After of one more who is refused for want of a worker.
  // To one of this client; 0: nobody knows whose.
  Duration return_time(std::uint64_t client, Time now) {
    return retry_after_.time_for_worker(drain_time(), {.client = client}, queue_state(), now);
  }
  // The token buckets that apply to a request. Changes nothing.
  Limits::Buckets allowances(const Arrival& arrival, Time now) const;

 private:
  std::uint32_t workers() const {
    return settings_.workers_are_auto ? std::min(worker_search_.limit(), ceilings_.least())
                                      : ceilings_.least();
  }
  std::uint32_t free_workers() const { return workers() - std::min(active_, workers()); }
  // A request that wants more than there are takes all.
  bool has_free_workers(std::uint32_t wanted) const {
    return active_ + std::max(std::min(wanted, workers()), 1U) <= workers();
  }
  int whose_turn(PrioritySet waiting, Time now) const;
  // What the queue may hold: its limits, or, when it is longer than a new limit, what it holds.
  struct Room {
    std::size_t places;
    std::uint64_t bytes;
  };
  Room room() const;
  bool has_place_for(const Arrival& arrival) const {
    return queue_.size() < settings_.queue_size &&
           queue_.bytes() + arrival.bytes <= settings_.queue_bytes.count;
  }
  // Who asks, as far as the rules want to know.
  struct Asker {
    ClientNumber number = no_client;
    bool has_all_its_workers = false;
    bool has_all_its_places = false;
    bool retries_too_much = false;  // with this request
  };
  // What the rules say to a head.
  struct Judgement {
    std::optional<Rejection> rejection = std::nullopt;
    bool goes_in = false;              // there are workers for it now
    bool is_a_try = false;             // let through to learn how long its route takes by now
    bool would_miss_deadline = false;  // was not refused for it: [observe]
  };
  void use_clients(Time now);
  bool is_recognised(const Arrival& arrival) const {
    return arrival.client == recognised_id_ && arrival.plan == recognised_plan_;
  }
  ClientNumber recognise(const Arrival& arrival, Time now);
  bool is_retry(const Arrival& arrival) const {
    return arrival.is_retry || (arrival.attempt != 0 && attempts_.contains(arrival.attempt));
  }
  std::uint16_t weight_of(ClientNumber client) const;
  static bool is_favoured(const Arrival& arrival, ClientNumber client) {
    return arrival.client_share < 1 && client != no_client;
  }
  bool is_beyond_share(const Arrival& arrival, ClientNumber client) const;
  static void take_favour(Arrival& arrival);
  Asker asker_of(ClientNumber client) const;
  Judgement judge(const Arrival& arrival, const Asker& asker, const Limits::Wait& wait,
                  Time now) const;
  std::optional<conf::Reason> no_place_for(const Arrival& arrival, const Asker& asker) const;
  std::optional<conf::Reason> full_for(const Arrival& arrival, ClientNumber client) const;
  bool may_go_in(const Arrival& arrival, const Asker& asker, Time now) const;
  Judgement judge_deadline(const Arrival& arrival, const Asker& asker, bool goes_in,
                           Time now) const;
  void observe(std::optional<conf::Reason>& note, conf::Reason reason);
  std::size_t ahead_in_line(const Arrival& arrival, const Asker& asker) const;
  std::size_t place_of(const Arrival& arrival, const Asker& asker) const;
  std::size_t waiting_better_than(int priority) const;
  Duration expected_wait(const Arrival& arrival, const Asker& asker, Time now) const;
  Duration guessed_pace(int priority) const;
  void note_joined(int priority, Time now);
  bool note_gone_in(int priority, Duration waited, Time now);
  std::optional<Notice> shed_overdue(Time now);
  Notice turn_away(const WaitQueue::Entry& entry, conf::Reason reason, Time now);
  WaitQueue::Order order_of(int priority) const;
  void follow(const Outcome& outcome, const Seat& seat, Time now);
  void follow_rate(Time now);
  bool needs_room_for(const Arrival& arrival) const;
  void make_room_for(const Arrival& arrival, Time now);
  void send_away(const WaitQueue::Entry& waiting, conf::Reason reason, Time now);
  // What a request that wants so many gets when it goes in.
  std::uint16_t workers_for(std::uint16_t wanted) const {
    return static_cast<std::uint16_t>(std::clamp<std::uint32_t>(wanted, 1, workers()));
  }
  void take_workers(const Seat& seat, Duration waited, Time now);
  void left_queue(const Waiter& waiter, Time now);
  // Refused, and from then on to be told: what it ran against, and a time of its own.
  Rejection reject(Rejection rejection, const Arrival& arrival, const Asker& asker, Time now);
  void describe(Rejection& rejection, const Arrival& arrival, const Asker& asker, Time now) const;
  RetryAfter::Queue queue_state() const { return {queue_.size(), workers(), books_.usual_turn()}; }
  std::optional<ClientTable::Look> look_for_client(const Arrival& arrival, Time now,
                                                   const EqualParts& parts, bool asks) const;

  conf::AdmissionSettings settings_;
  Ids ids_;
  ClientTable clients_;
  Limits limits_{settings_, ids_, clients_};
  RecentKeys attempts_;
  std::uint64_t recognised_id_ = 0;  // the last client that was, or 0
  PlanId recognised_plan_;
  ClientNumber recognised_ = no_client;
  WaitQueue queue_;
  Books books_;
  DeadlineRule deadlines_{settings_};
  std::array<LinePace, conf::priority_count> paces_;
  std::array<Congestion, conf::priority_count> congestions_;
  Shares shares_;
  WorkerSearch worker_search_;
  RateFollower rate_follower_;
  bool plans_are_new_ = false;  // somebody may be parked by a plan from before a reload
  RetryAfter retry_after_{settings_, clients_};
  std::vector<Notice> displaced_;  // told by the next next()
  Ceilings ceilings_;              // of the workers
  std::uint32_t active_ = 0;       // workers
  std::uint64_t in_flight_ = 0;    // requests that have them
  std::uint32_t orphans_ = 0;
  bool draining_ = false;
};

}  // namespace classgate::admission
