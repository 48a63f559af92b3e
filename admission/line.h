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
#include "admission/line_pace.h"
#include "admission/retry_after.h"
#include "admission/shares.h"
#include "admission/verdict.h"
#include "admission/wait_queue.h"
#include "admission/worker_search.h"
#include "conf/settings.h"

namespace classgate::admission {

struct Explanation;
struct PolicyMemo;

// The line before one service: its workers, those who wait for them, and the books of both. It
// knows nothing of tokens, retries or a drain (Intake): what comes here may wait. Inside a
// priority clients take turns, and who has all the workers of its plan is passed over (parked).
// line.cpp has those who come, wait and go; line_places.cpp what place one would have, and whether
// there is any. Owned by the Controller, which has the rules in their order; uses the clients of
// its Intake. Not thread-safe.
class Line {
 public:
  Line(const conf::AdmissionSettings& settings, ClientTable& clients, RetryAfter& retry_after);
  // After the clients have got their new plans. What was accepted stays accepted.
  void reconfigure(const conf::AdmissionSettings& settings);
  void set_ceiling(Ceilings::Source source, std::uint32_t workers) {
    ceilings_.set(source, workers);
    count_workers();
  }
  void set_kept_elsewhere(std::uint32_t workers) {
    ceilings_.set_kept_elsewhere(workers);
    count_workers();
  }

  // --- Who comes. ---
  // A client has got a number; one that stood for another before when it is new.
  void expect(ClientNumber client, bool is_new, int priority) {
    queue_.prefetch(client, priority);
    if (is_new) queue_.forget(client);
  }
  // A client has all that its route's client_share gives to one at once: what it asks for besides
  // is let in without favour, last of all.
  bool is_beyond_share(const Arrival& arrival, ClientNumber client) const {
    return is_favoured(arrival, client) && has_its_share(arrival, client);
  }
  static void take_favour(Arrival& arrival) {
    arrival.priority = conf::priority_worst;
    arrival.client_share = 1;
  }
  // Who asks, as far as the rules here want to know.
  struct Asker {
    ClientNumber number = no_client;
    bool has_all_its_workers = false;
    bool has_all_its_places = false;
    int plan_priority = 3;
    std::uint32_t weight = 1;
  };
  Asker asker_of(ClientNumber client) const {
    if (client == no_client) return {};
    return {.number = client,
            .has_all_its_workers = clients_.has_all_its_workers(client),
            .has_all_its_places = clients_.has_all_its_places(client),
            .plan_priority = static_cast<int>(clients_.plan_of(client).priority),
            .weight = clients_.plan_of(client).weight};
  }

  // --- What the rules here say to a head; they change nothing. ---
  // It would not have to wait.
  bool may_go_in(const Arrival& arrival, const Asker& asker, Time now) const {
    if (!has_free_workers(arrival.workers) || asker.has_all_its_workers) return false;
    const PrioritySet waiting = queue_.with_front();
    if (waiting.contains(arrival.priority)) return false;
    // As if it waited too.
    return whose_turn(waiting.with(arrival.priority), now) == arrival.priority &&
           !is_ahead_of_its_turn(arrival, asker, now);
  }
  // It was told to come now, for a worker.
  bool is_due(const Arrival& arrival, const Asker& asker, Time now) const {
    return retry_after_.is_due(comer_of(arrival, asker), queue_state(), now);
  }
  // What the queue may hold: its limits, or, when it is longer than a new limit, what it holds.
  struct Room {
    std::size_t places = 0;
    std::uint64_t bytes = 0;
    bool is_for_others = false;  // it is ahead of its turn
  };
  struct Judgement {
    std::optional<Rejection> rejection = std::nullopt;
    Room room{};                       // for one that would wait
    bool goes_in = false;              // there are workers for it now
    bool is_a_try = false;             // let through to learn how long its route takes by now
    bool would_miss_deadline = false;  // was not refused for it: [observe]
  };
  Judgement judge(const Arrival& arrival, const Asker& asker, bool goes_in, Time now) const {
    Judgement judgement{.goes_in = goes_in};
    if (arrival.deadline != Time::max()) judgement = judge_deadline(arrival, asker, goes_in, now);
    if (judgement.rejection || goes_in) return judgement;
    judgement.room = room_for(arrival, asker, now);
    if (const auto full = no_place_in(judgement.room, arrival, asker))
      judgement.rejection = Rejection{*full, drain_time()};
    return judgement;
  }

  // --- What happens; as the Controller has it. ---
  Verdict arrive(const Arrival& arrival, ClientNumber client, Time now);
  // The same of one that judge() has just let pass, with what was known there: `goes_in` as
  // may_go_in() said, and the room for it.
  Verdict enter(const Arrival& arrival, const Asker& asker, bool goes_in, const Room& room,
                Time now) {
    return goes_in ? let_in(arrival, asker, now) : let_wait(arrival, asker, room, now);
  }
  bool leave(Ticket ticket, Departure why, Time now);
  void finish(const Outcome& outcome, const Seat& seat, Time now);
  std::optional<Notice> next(Time now);
  void charge(const Arrival& arrival, ClientNumber client, std::int32_t cost) {
    queue_.charge(client, arrival.priority, weight_of(client), cost);
  }
  void note_try(RouteId route, Time now) { deadlines_.note_try(route, now); }
  // Refused, and from then on to be told: what it ran against, and a time of its own. When tokens
  // are there is not known here.
  void reject(Rejection& rejection, const Arrival& arrival, const Asker& asker, Time now);
  void refuse(conf::Reason reason, Time now) {
    books_.enter();
    books_.reject(reason, now);
  }
  void abandon() {
    books_.enter();
    books_.abandon();
  }
  // A request is refused once, by the first rule that does: so it is observed once.
  void observe(std::optional<conf::Reason>& note, conf::Reason reason) {
    if (note) return;
    books_.observe(reason);
    note = reason;
  }
  void orphan() { ++orphans_; }
  void adopt() { --orphans_; }

  // --- How it stands. ---
  std::uint32_t workers() const { return workers_; }
  std::size_t waiting() const { return queue_.size(); }
  // Somebody who could go in has been waiting for a worker for the target, or more, and another one
  // before, without a moment in which nobody waited.
  bool is_standing(Time now) const {
    return queue_.with_front().best() != 0 && !has_free_workers(1) &&
           now - waited_since_ >= settings_.target_wait;
  }
  Duration usual_work(RouteId route) const;
  RetryAfter::Queue queue_state() const { return {queue_.size(), workers(), books_.usual_turn()}; }
  Duration drain_time() const { return RetryAfter::drain_time(queue_state()); }
  // The place, 1 the first, that the last one had who came to wait.
  std::uint32_t last_place() const { return last_place_; }
  // What is known of its place.
  void describe(Rejection& rejection, const Arrival& arrival, const Asker& asker, Time now) const;
  void write_to(Snapshot& snapshot, Time now) const;
  Wanted wanted() const;
  // For a process that takes over, and from the one before (memo.cpp).
  void write_to(PolicyMemo& memo) const;
  void take_up(const PolicyMemo& memo);
  ProcessTime::Learnt learnt_work(RouteId route) const { return deadlines_.learnt_work(route); }
  void resume_work(RouteId route, const ProcessTime::Learnt& learnt, Time at) {
    deadlines_.resume_work(route, learnt, at);
  }
  void write_to(Explanation& said, const Arrival& arrival, const Asker& asker, bool goes_in,
                Time now) const;

 private:
  // Asked for ten times in a decision: so they are kept, and counted anew when what they hang on
  // has changed.
  void count_workers() {
    workers_ =
        ceilings_.share_of(settings_.workers_are_auto ? worker_search_.limit() : Ceilings::none);
  }
  static std::size_t index(int priority) { return static_cast<std::size_t>(priority - 1); }
  std::uint32_t free_workers() const { return workers() - std::min(active_, workers()); }
  // A request that wants more than there are takes all.
  bool has_free_workers(std::uint32_t wanted) const {
    return active_ + std::max(std::min(wanted, workers()), 1U) <= workers();
  }
  // What a request that wants so many gets when it goes in.
  std::uint16_t workers_for(std::uint16_t wanted) const {
    return static_cast<std::uint16_t>(std::clamp<std::uint32_t>(wanted, 1, workers()));
  }
  // The priority that gets the next worker, if one is free.
  int whose_turn(PrioritySet waiting, Time now) const {
    return shares_.whose_turn(workers(), free_workers(), now, waiting);
  }
  static bool is_favoured(const Arrival& arrival, ClientNumber client) {
    return arrival.client_share < 1 && client != no_client;
  }
  bool has_its_share(const Arrival& arrival, ClientNumber client) const;
  std::uint16_t weight_of(ClientNumber client) const {
    return client == no_client ? std::uint16_t{1}
                               : static_cast<std::uint16_t>(clients_.plan_of(client).weight);
  }

  // While those are expected who were told to come, who comes before its time takes the worker or
  // the place of one of them, and lengthens the times of all. So it has only its part, as long as
  // they use almost all that there is and less than a quarter of the workers is free. A request
  // that may send a worse priority away, or has a worker of its reserve left, is not kept out.
  // (Beside real SDKs at twice the load, one that stormed took four times its part, in the moments
  // in which a worker was free; others were told a tenth more.)
  bool is_ahead_of_its_turn(const Arrival& arrival, const Asker& asker, Time now) const {
    return free_workers() * 4 < workers() && retry_after_.expects_returns(now) &&
           queue_.size_worse_than(arrival.priority) == 0 &&
           !shares_.is_owed(arrival.priority, workers()) &&
           retry_after_.is_ahead_of_its_turn(comer_of(arrival, asker), queue_state(), now);
  }
  RetryAfter::Comer comer_of(const Arrival& arrival, const Asker& asker) const {
    return {arrival.client, static_cast<double>(asker.weight),
            static_cast<double>(workers_for(arrival.workers)), arrival.at};
  }
  // The last 15 % of the places are kept for those who were refused, and come when they were told
  // to: else they would be refused again as often as those who come as they like. Only while
  // somebody is expected; a request that may send a worse priority away is not kept out.
  // (Of real SDKs at twice the load, a queue of 20: with 10 %, 94 % found a place at once.)
  std::size_t kept_places() const { return (std::size_t{settings_.queue_size} * 3 + 10) / 20; }
  Room room_for(const Arrival& arrival, const Asker& asker, Time now) const {
    Room room{std::max<std::size_t>(settings_.queue_size, queue_.size()),
              std::max(settings_.queue_bytes.count, queue_.bytes()), false};
    if (retry_after_.expects_returns(now)) keep_room(room, arrival, asker, now);
    return room;
  }
  void keep_room(Room& room, const Arrival& arrival, const Asker& asker, Time now) const {
    const std::size_t open = settings_.queue_size - kept_places();
    if (queue_.size() >= open && queue_.size_worse_than(arrival.priority) == 0 &&
        !is_due(arrival, asker, now))
      room.places = std::max(open, queue_.size());
    room.is_for_others = is_ahead_of_its_turn(arrival, asker, now);
  }
  bool has_place_in(const Room& room, const Arrival& arrival) const {
    return queue_.size() < room.places && queue_.bytes() + arrival.bytes <= room.bytes;
  }
  // Why it could not wait, if it had to.
  std::optional<conf::Reason> no_place_in(const Room& room, const Arrival& arrival,
                                          const Asker& asker) const {
    if (asker.has_all_its_places) return conf::Reason::client_queue;
    if (room.is_for_others) return conf::Reason::too_soon;
    return has_place_in(room, arrival) ? std::nullopt : full_for(room, arrival, asker.number);
  }
  std::optional<conf::Reason> full_for(const Room& room, const Arrival& arrival,
                                       ClientNumber client) const;
  Verdict let_in(const Arrival& arrival, const Asker& asker, Time now);
  Verdict let_wait(const Arrival& arrival, const Asker& asker, const Room& room, Time now);
  void make_room_for(const Room& room, const Arrival& arrival, Time now);
  void send_away(const WaitQueue::Entry& waiting, conf::Reason reason, Time now);

  Judgement judge_deadline(const Arrival& arrival, const Asker& asker, bool goes_in,
                           Time now) const;
  std::size_t ahead_in_line(const Arrival& arrival, const Asker& asker) const;
  std::size_t place_of(const Arrival& arrival, const Asker& asker) const;
  Duration expected_wait(const Arrival& arrival, const Asker& asker, Time now) const;
  Duration longest_wait(const Arrival& arrival, const Asker& asker, Time now) const;
  Duration guessed_pace(int priority) const;

  // One that comes: whether it is early. The others count when they take their workers.
  bool note_came(const Arrival& arrival, const Asker& asker, Time now) {
    return retry_after_.expects_returns(now) &&
           retry_after_.note_came(comer_of(arrival, asker), queue_state(), now);
  }
  void note_in_turn(std::uint32_t workers, Time now) {
    if (retry_after_.expects_returns(now)) retry_after_.note_in_turn(workers, queue_state(), now);
  }
  // It has waited, and leaves without a worker.
  void note_in_vain(const Waiter& waiter) {
    deadlines_.note_in_vain();
    paces_[index(waiter.priority)].drop();
  }
  void note_joined(int priority, Time now);
  void note_turn(const Waiter& waiter, Time now);
  bool note_gone_in(int priority, Duration waited, Time now);
  std::optional<Notice> shed_overdue(Time now);
  Notice turn_away(const WaitQueue::Entry& entry, conf::Reason reason, Time now);
  WaitQueue::Order order_of(int priority) const {
    const bool is_adaptive = settings_.discipline == conf::Discipline::adaptive &&
                             congestions_[index(priority)].is_on() && !settings_.observe.shedding;
    return is_adaptive ? WaitQueue::Order::newest_first : WaitQueue::Order::oldest_first;
  }
  void take_workers(const Seat& seat, Duration waited, Time now);
  // What is served teaches what is usual.
  void note_served(ClientNumber client, bool is_limited, std::uint32_t cost, Time now) {
    if (clients_.follows_patterns() && client != no_client && is_limited) [[unlikely]]
      clients_.note_served(client, cost, now);
  }
  void left_queue(const Waiter& waiter, Time now);
  void follow(const Outcome& outcome, const Seat& seat, Time now);

  conf::AdmissionSettings settings_;
  ClientTable& clients_;
  RetryAfter& retry_after_;
  WaitQueue queue_;
  std::vector<Notice> displaced_;  // told by the next next()
  Shares shares_;
  WorkerSearch worker_search_;
  Ceilings ceilings_;            // of the workers
  std::uint32_t workers_ = 0;    // in force
  std::uint32_t active_ = 0;     // workers
  std::uint64_t in_flight_ = 0;  // requests that have them
  std::uint32_t orphans_ = 0;
  std::uint32_t last_place_ = 0;
  Time waited_since_{};  // when the first came of those who wait
  std::array<LinePace, conf::priority_count> paces_;
  std::array<Congestion, conf::priority_count> congestions_;
  DeadlineRule deadlines_;
  Books books_;
  bool plans_are_new_ = false;  // somebody may be parked by a plan from before a reload
};

}  // namespace classgate::admission
