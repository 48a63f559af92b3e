#pragma once

#include <algorithm>
#include <optional>

#include "admission/client_table.h"
#include "admission/ids.h"
#include "admission/limits.h"
#include "admission/rate_follower.h"
#include "admission/recent_keys.h"
#include "admission/verdict.h"
#include "conf/settings.h"

namespace classgate::admission {

// What decides about a request before it may come to a line: whether anybody is still let in, who
// asks, whether it only repeats itself, whether the tokens are there. It knows nothing of workers
// and of who waits (Line), but remembers the clients for all who ask about them. Owned by the
// Controller, which has the rules in their order. Not thread-safe.
class Intake {
 public:
  Intake(const conf::AdmissionSettings& settings, const Ids& ids);
  // `ids` follow those from before. Tokens and counters stay.
  void reconfigure(const conf::AdmissionSettings& settings, const Ids& ids, Time now);
  const Ids& ids() const { return ids_; }

  void drain() { draining_ = true; }
  bool is_draining() const { return draining_; }

  ClientTable& clients() { return clients_; }
  const ClientTable& clients() const { return clients_; }
  Limits& limits() { return limits_; }
  const Limits& limits() const { return limits_; }

  // --- Who asks. ---
  bool knows_clients() const { return settings_.fairness.is_on; }
  bool wants_client(const Arrival& arrival) const {
    return arrival.client != 0 && settings_.fairness.is_on;
  }
  // Most ask twice in a row, with their head and when they are ready. Only a newcomer, which would
  // be another one here, makes anybody forgotten.
  bool is_recognised(const Arrival& arrival) const {
    return arrival.client == recognised_id_ && arrival.plan == recognised_plan_;
  }
  ClientNumber recognised() const { return recognised_; }
  ClientTable::Found recognise(const Arrival& arrival, Time now) {
    const ClientTable::Found found =
        clients_.find_or_add(arrival.client, arrival.plan, now, arrival.client_kind);
    recognised_id_ = arrival.client;
    recognised_plan_ = arrival.plan;
    recognised_ = found.number;
    return found;
  }
  // Nobody, where nobody wants to know. With such parts, which count it where it asks for what is
  // shared; changes nothing.
  std::optional<ClientTable::Look> look_for(const Arrival& arrival, Time now,
                                            const EqualParts& parts, bool asks) const;

  // --- The head of a request. ---
  // What is known of it that the rules here want to know.
  struct Findings {
    bool is_retry = false;
    bool retries_too_much = false;  // with this one
    Limits::Wait wait{};            // for tokens
    // Until it is usual for its client; counts while the service is short.
    Duration pattern_wait{};
  };
  bool follows_pattern(const Arrival& arrival, ClientNumber client) const {
    return clients_.follows_patterns() && client != no_client && arrival.rate_limited;
  }
  // Notes that it has asked.
  Findings examine(const Arrival& arrival, ClientNumber client, const Limits::Comings& comings,
                   Time now) {
    Findings findings;
    if (client != no_client) {
      findings.is_retry = is_retry(arrival, now);
      if (arrival.attempt != 0) attempts_.note(arrival.attempt, now);
    }
    findings.wait = limits_.wait_for(arrival, client, comings, now);
    findings.retries_too_much = findings.is_retry && !clients_.may_retry(client, now);
    if (follows_pattern(arrival, client)) [[unlikely]]
      findings.pattern_wait = clients_.pattern_wait(client, arrival.cost, now);
    return findings;
  }
  // What examine() would find with these buckets; changes nothing.
  // `pattern_wait` is left to whoever knows whether the service is short.
  Findings foresee(const Arrival& arrival, const std::optional<ClientTable::Look>& client,
                   const Limits::Buckets& buckets, Time now) const;
  // Why it is refused; `goes_in`: it would not have to wait.
  std::optional<conf::Reason> refusal(const Findings& findings, bool goes_in) const {
    // A retry too many does no harm while there are workers to spare.
    if (findings.retries_too_much && !goes_in) return conf::Reason::retry_budget;
    if (findings.wait.time > Duration::zero() && !settings_.observe.rate)
      return findings.wait.reason;
    if (findings.pattern_wait > Duration::zero() && !settings_.observe.pattern)
      return conf::Reason::client_pattern;
    return std::nullopt;
  }
  // It passes, whatever else there was to say about it: takes its tokens, where they are there, and
  // counts it for its client.
  void let_pass(const Arrival& arrival, ClientNumber client, const Findings& findings,
                const Limits::Comings& comings) {
    if (findings.wait.time <= Duration::zero()) limits_.take(arrival, client, comings);
    if (follows_pattern(arrival, client)) [[unlikely]]
      clients_.take_of_pattern(client, arrival.cost);
    if (client != no_client)
      findings.is_retry ? clients_.note_retry(client) : clients_.note_first_attempt(client);
  }
  // The cost has turned out to be another by so much.
  void settle(const Arrival& arrival, ClientNumber client) {
    limits_.settle(arrival, client, arrival.cost_found);
    if (follows_pattern(arrival, client)) [[unlikely]]
      clients_.take_of_pattern(client, arrival.cost_found);
  }

  // --- A rate that follows the service (rate = "auto"). ---
  void follow_rate(bool is_line_empty, Time now) {
    if (settings_.rate_is_auto) tick_rate(is_line_empty, now);
  }
  // A worker has come back.
  void follow_rate(const Outcome& outcome, bool is_line_empty, Time now) {
    if (!settings_.rate_is_auto) return;
    if (outcome.kind == Outcome::Kind::processed) rate_follower_.note_finish();
    tick_rate(is_line_empty, now);
  }
  bool is_rate_auto() const { return settings_.rate_is_auto; }
  void resume_rate(double rate, Time at);  // it goes on from there
  double rate() const { return settings_.rate_is_auto ? rate_follower_.rate() : settings_.rate; }
  // The bucket for all as it would be after follow_rate(); none: it stays as it is.
  std::optional<TokenBucket> foresee_rate(bool is_line_empty, Time now) const;

  std::optional<ClientTable::Look> look(ClientNumber client, Time now) const {
    if (client == no_client) return std::nullopt;
    return clients_.look(client, now);
  }
  Limits::Buckets allowances(const Arrival& arrival, const std::optional<ClientTable::Look>& client,
                             const Limits::Comings& comings, Time now) const {
    return limits_.look(arrival, client, comings, limits_.all(), now);
  }
  // What is usual for the client that asks; none: nobody wants to know.
  std::optional<ClientPatterns::Look> look_at_pattern(
      const Arrival& arrival, const std::optional<ClientTable::Look>& client, Time now) const {
    if (!clients_.follows_patterns() || !client || !arrival.rate_limited) return std::nullopt;
    return clients_.look_at_pattern(client->is_shared() ? 0 : arrival.client, client->plan, now);
  }

 private:
  bool is_retry(const Arrival& arrival, Time now) const {
    return arrival.is_retry ||
           (arrival.attempt != 0 &&
            attempts_.contains(arrival.attempt, now - settings_.fairness.retry_window));
  }
  void use_clients(Time now);
  void tick_rate(bool is_line_empty, Time now);

  conf::AdmissionSettings settings_;
  Ids ids_;
  ClientTable clients_;
  Limits limits_{settings_, ids_, clients_};
  RecentKeys attempts_;
  std::uint64_t recognised_id_ = 0;  // the last client that was, or 0
  PlanId recognised_plan_;
  ClientNumber recognised_ = no_client;
  RateFollower rate_follower_;
  bool draining_ = false;
};

}  // namespace classgate::admission
