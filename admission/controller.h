#pragma once

#include <optional>

#include "admission/ids.h"
#include "admission/intake.h"
#include "admission/limits.h"
#include "admission/line.h"
#include "admission/retry_after.h"
#include "admission/shortage.h"
#include "admission/verdict.h"
#include "conf/settings.h"

namespace classgate::admission {

struct Explanation;
struct PolicyMemo;
class Debtors;
class TopClients;

// Decides who goes in. Single-threaded, deterministic, pure: the same calls with the same times
// give the same verdicts, in a test, a simulator or the gateway (which shares one behind a Gate).
// It has two parts, and here is the order in which they are asked: the Intake, for what is known of
// a request and its client before it may wait (rules 1 to 3), and the Line before the service, for
// workers and those who wait for them (4 to 8). RetryAfter says to the refused when to come back.
//
// A request arrives; it is admitted, waits, or is rejected with a reason; a waiter leaves; a worker
// comes back with an outcome, and next() says who goes in now. The rules, in order:
//   on the head (screen)       1 draining   2 a client whose retries are too many   3 rate limits
//                              and, while the service is short, more than is usual for its client
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
// Invariants, asserted in the Line and by the property tests: workers out <= workers, waiters <=
// queue_size (after a reconfigure() to less: never more than before), no worker idles while someone
// waits who may have it (once next() has been asked until it is silent), and the books balance at
// every instant.
class Controller {
 public:
  // `ids`: of the routes and plans of the conf that the settings are of; requests come with them.
  Controller(const conf::AdmissionSettings& settings, const Ids& ids)
      : intake_(settings, ids),
        retry_after_(settings, intake_.clients()),
        line_(settings, intake_.clients(), retry_after_) {}
  explicit Controller(const conf::AdmissionSettings& settings)
      : Controller(settings, Ids(settings)) {}
  // Its parts know each other by address.
  Controller(const Controller&) = delete;
  Controller& operator=(const Controller&) = delete;

  // The rules that need only the head. A rejection is in the books; nothing is when it passes, so
  // that a request whose client leaves before it is ready must be reported with abandon(). What
  // [observe] lets pass is noted in the arrival.
  std::optional<Rejection> screen(Arrival& arrival, Time now);
  std::optional<Rejection> screen(Arrival&& arrival, Time now) { return screen(arrival, now); }
  // Both moments in one, for a request that is ready to be sent when its head is there.
  Verdict decide(Arrival& arrival, Time now);
  // The verdict on a request that passed screen() and is ready to be sent.
  Verdict arrive(const Arrival& arrival, Time now) {
    if (arrival.deadline <= now) return reject_late(arrival, now);
    const ClientNumber client = recognise(arrival, now);
    if (line_.is_beyond_share(arrival, client)) return arrive_without_favour(arrival, now);
    if (arrival.cost_found != 0) intake_.settle(arrival, client);
    return line_.arrive(arrival, client, now);
  }

  // A waiter leaves before its turn. False when it no longer waits (its news is on the way).
  bool leave(Ticket ticket, Departure why, Time now) { return line_.leave(ticket, why, now); }
  // A worker comes back.
  void finish(const Outcome& outcome, const Seat& seat, Time now) {
    intake_.follow_rate(outcome, line_.waiting() == 0, now);
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

  void drain() { intake_.drain(); }
  // New limits. What was accepted stays accepted, on the terms it was accepted on: waiters keep
  // their places and deadlines, workers beyond a lower limit finish, tokens and counters stay. A
  // queue that is longer than its new limit takes nobody but in the place of somebody. What is
  // known of a route or a plan stays known as long as that keeps its name, wherever it stands now;
  // `ids` follow those from before.
  void reconfigure(const conf::AdmissionSettings& settings, const Ids& ids, Time now);
  void reconfigure(const conf::AdmissionSettings& settings, Time now) {
    Ids ids = intake_.ids();
    ids.follow(settings);
    reconfigure(settings, ids, now);
  }
  // One more bound of the workers in force, beside the setting; Ceilings::none takes it away. What
  // is beyond a lower one finishes. Forgets nothing and counts nothing anew: O(1), and may come as
  // often as it likes. Whether somebody may go in now is for next() to say.
  void set_ceiling(Ceilings::Source source, std::uint32_t workers) {
    line_.set_ceiling(source, workers);
  }
  // Of those, so many are another process's (Ceilings).
  void set_kept_elsewhere(std::uint32_t workers) { line_.set_kept_elsewhere(workers); }
  Wanted wanted() const { return line_.wanted(); }
  // Of rates that several gateways have together.
  std::vector<Limits::RateUse> take_rate_uses(Time now) { return intake_.limits().take_uses(now); }
  void lend_rates(double part, std::span<const Limits::RateLoan> loans, Time now) {
    intake_.limits().lend(part, loans, now);
  }
  std::uint32_t clients_asking() const { return intake_.clients().parts().asking(); }
  bool has_waiters() const { return line_.waiting() > 0; }
  std::size_t waiting() const { return line_.waiting(); }
  std::uint32_t limit() const { return line_.workers(); }
  // How long requests of a route keep a worker lately; all of them, when it is new.
  Duration usual_work(RouteId route) const { return line_.usual_work(route); }
  std::uint32_t last_place() const { return line_.last_place(); }
  ClientTable::Counts client_counts() const { return intake_.clients().counts(); }
  Snapshot snapshot(Time now) const;
  // What screen() and arrive() would say to this request now, and why (explain.cpp). Changes
  // nothing: no token is taken, no client remembered, nothing counted.
  Explanation explain(Arrival arrival, Time now) const;
  // Shows the clients with these numbers, and returns the number after the last there is.
  ClientNumber show_clients(ClientNumber first, ClientNumber count, Time now, TopClients& to) const;
  // What has been learnt so far, but for the clients (memo.cpp). These are shown in parts, from
  // this place on; returns how many there are.
  PolicyMemo learnt(Time now) const;
  std::size_t show_debtors(std::size_t first, std::size_t count, Time now, Debtors& to) const;
  // Goes on from what another one had learnt by then. Before anybody comes.
  void take_up(const PolicyMemo& memo, Time at);
  // What is usual for each client.
  const ClientPatterns& patterns() const { return intake_.clients().patterns(); }
  ClientPatterns& patterns() { return intake_.clients().patterns(); }
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
  // What screen() knew of one that it let pass.
  struct Passed {
    Line::Asker asker;
    Line::Room room;
    bool goes_in = false;
  };
  std::optional<Rejection> judge_head(Arrival& arrival, Passed& passed, Time now);
  ClientNumber recognise(const Arrival& arrival, Time now) {
    if (!intake_.wants_client(arrival)) return no_client;
    return intake_.is_recognised(arrival) ? intake_.recognised() : meet(arrival, now);
  }
  ClientNumber meet(const Arrival& arrival, Time now);
  Verdict reject_late(const Arrival& arrival, Time now);
  Verdict arrive_without_favour(Arrival arrival, Time now);
  Rejection reject(Rejection rejection, const Arrival& arrival, const Line::Asker& asker,
                   const Limits::Comings& comings, Time now);
  // A retry at the time that it was told for it is none too many.
  Intake::Findings excused(Intake::Findings findings, const Arrival& arrival,
                           const Line::Asker& asker, Time now) const {
    if (findings.retries_too_much) findings.retries_too_much = !line_.is_due(arrival, asker, now);
    return findings;
  }
  Rejection refused_by_intake(conf::Reason reason, const Intake::Findings& findings) const {
    return {reason, reason == conf::Reason::retry_budget     ? drain_time()
                    : reason == conf::Reason::client_pattern ? findings.pattern_wait
                                                             : findings.wait.time};
  }
  // What is usual counts for nothing while there is enough for all.
  bool is_short_seen(Time now) const {
    return line_.is_standing(now) || intake_.limits().is_low(now);
  }
  static std::optional<Limits::Bucket> bucket_of(const std::optional<ClientPatterns::Look>& pattern,
                                                 double cost);

  Intake intake_;
  RetryAfter retry_after_;
  Line line_;
  Shortage shortage_;
};

}  // namespace classgate::admission
