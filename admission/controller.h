#pragma once

#include <optional>

#include "admission/client_table.h"
#include "admission/ids.h"
#include "admission/limits.h"
#include "admission/line.h"
#include "admission/rate_follower.h"
#include "admission/recent_keys.h"
#include "admission/retry_after.h"
#include "admission/verdict.h"
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
  bool leave(Ticket ticket, Departure why, Time now) { return line_.leave(ticket, why, now); }
  // A worker comes back.
  void finish(const Outcome& outcome, const Seat& seat, Time now) {
    if (settings_.rate_is_auto) follow_rate(outcome, now);
    line_.finish(outcome, seat, now);
  }
  // Who has news: those that gave way, and those whose turn has come. Call until it is silent after
  // every arrive(), finish(), leave() and reconfigure().
  std::optional<Notice> next(Time now) { return line_.next(now); }

  // The cost of a request that has gone in has turned out to be another, by its cost_found.
  void settle(const Arrival& arrival, Time now);
  // A request that never got as far as arrive(): refused for what it is, or its client left.
  void refuse(conf::Reason reason, Time now) { line_.refuse(reason, now); }
  void abandon() { line_.abandon(); }
  // A worker is from now on working for nobody: its client left or got its 504.
  void orphan() { line_.orphan(); }
  void adopt() { line_.adopt(); }

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
    line_.set_ceiling(source, workers);
  }
  bool has_waiters() const { return line_.waiting() > 0; }
  std::size_t waiting() const { return line_.waiting(); }
  std::uint32_t limit() const { return line_.workers(); }
  // How long requests of a route keep a worker lately; all of them, when it is new.
  Duration usual_work(RouteId route) const { return line_.usual_work(route); }
  Snapshot snapshot(Time now) const;
  // What screen() and arrive() would say to this request now, and why (explain.cpp). Changes
  // nothing: no token is taken, no client remembered, nothing counted.
  Explanation explain(Arrival arrival, Time now) const;
  // Shows the clients with these numbers, and returns the number after the last there is.
  ClientNumber show_clients(ClientNumber first, ClientNumber count, Time now, TopClients& to) const;
  // Until a place in the queue could be had and served, at the rate workers come back lately. At
  // least a second.
  Duration drain_time() const { return line_.drain_time(); }
  // The honest Retry-After of one more who is refused for want of a worker.
  // To one of this client; 0: nobody knows whose.
  Duration return_time(std::uint64_t client, Time now) {
    return retry_after_.time_for_worker(drain_time(), {.client = client}, line_.queue_state(), now);
  }
  // The token buckets that apply to a request. Changes nothing.
  Limits::Buckets allowances(const Arrival& arrival, Time now) const;

 private:
  // Who asks, as far as the rules want to know.
  struct Asker {
    Line::Asker in_line;
    bool retries_too_much = false;  // with this request
  };
  void use_clients(Time now);
  bool is_recognised(const Arrival& arrival) const {
    return arrival.client == recognised_id_ && arrival.plan == recognised_plan_;
  }
  ClientNumber recognise(const Arrival& arrival, Time now);
  bool is_retry(const Arrival& arrival) const {
    return arrival.is_retry || (arrival.attempt != 0 && attempts_.contains(arrival.attempt));
  }
  Line::Judgement judge(const Arrival& arrival, const Asker& asker, const Limits::Wait& wait,
                        Time now) const;
  Rejection reject(const Rejection& rejection, const Arrival& arrival, const Line::Asker& asker,
                   Time now);
  void follow_rate(Time now);
  void follow_rate(const Outcome& outcome, Time now) {
    if (outcome.kind == Outcome::Kind::processed) rate_follower_.note_finish();
    follow_rate(now);
  }
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
  RateFollower rate_follower_;
  RetryAfter retry_after_{settings_, clients_};
  Line line_{settings_, clients_, retry_after_};
  bool draining_ = false;
};

}  // namespace classgate::admission
