#include "admission/controller.h"

namespace classgate::admission {

inline std::optional<Rejection> Controller::judge_head(Arrival& arrival, Passed& passed, Time now) {
  if (intake_.is_draining())
    return reject({conf::Reason::draining, drain_time()}, arrival, {}, {}, now);
  intake_.follow_rate(line_.waiting() == 0, now);
  const ClientNumber client = recognise(arrival, now);
  if (line_.is_beyond_share(arrival, client)) Line::take_favour(arrival);
  const Line::Asker& asker = passed.asker = line_.asker_of(client);
  const Limits::Comings comings =
      retry_after_.comings_of(arrival, asker.weight, intake_.limits(), intake_.limits().all(), now);
  Intake::Findings findings =
      excused(intake_.examine(arrival, client, comings, now), arrival, asker, now);
  arrival.came_before = findings.is_retry;
  const bool goes_in = passed.goes_in = line_.may_go_in(arrival, asker, now);
  if (findings.pattern_wait > Duration::zero() && !shortage_.note(is_short_seen(now), now))
      [[unlikely]]
    findings.pattern_wait = Duration::zero();
  if (const auto reason = intake_.refusal(findings, goes_in))
    return reject(refused_by_intake(*reason, findings), arrival, asker, comings, now);
  const Line::Judgement judgement = line_.judge(arrival, asker, goes_in, now);
  if (judgement.is_a_try) line_.note_try(arrival.route, now);
  if (judgement.rejection) return reject(*judgement.rejection, arrival, asker, comings, now);
  passed.room = judgement.room;
  if (findings.wait.time > Duration::zero()) line_.observe(arrival.observed, findings.wait.reason);
  if (findings.pattern_wait > Duration::zero()) [[unlikely]]
    line_.observe(arrival.observed, conf::Reason::client_pattern);
  if (judgement.would_miss_deadline)
    line_.observe(arrival.observed, conf::Reason::would_miss_deadline);
  intake_.let_pass(arrival, client, findings, comings);
  retry_after_.note_came(arrival, asker.weight, intake_.limits(), comings, now);
  return std::nullopt;
}

std::optional<Rejection> Controller::screen(Arrival& arrival, Time now) {
  Passed passed;
  return judge_head(arrival, passed, now);
}

// Letting it pass changes nothing that the Line looks at: tokens, and who came for them as told. So
// what was known when its head was judged still holds.
Verdict Controller::decide(Arrival& arrival, Time now) {
  Passed passed;
  if (const auto rejection = judge_head(arrival, passed, now)) return *rejection;
  if (arrival.deadline <= now) return reject_late(arrival, now);
  if (arrival.cost_found != 0) return arrive(arrival, now);
  return line_.enter(arrival, passed.asker, passed.goes_in, passed.room, now);
}

// What it ran against is told by whoever knows.
Rejection Controller::reject(Rejection rejection, const Arrival& arrival, const Line::Asker& asker,
                             const Limits::Comings& comings, Time now) {
  line_.reject(rejection, arrival, asker, now);
  if (waits_for_tokens(rejection.reason)) {
    intake_.limits().note_refused(rejection.reason, arrival);
    const auto client = intake_.look(asker.number, now);
    Limits::Buckets buckets = intake_.allowances(arrival, client, comings, now);
    buckets.pattern = bucket_of(intake_.look_at_pattern(arrival, client, now), arrival.cost);
    rejection.looked_at = {Rejection::look_of(buckets.all), Rejection::look_of(buckets.route),
                           Rejection::look_of(buckets.client)};
    retry_after_.tell(rejection, arrival, intake_.limits(), buckets, now);
  } else {
    intake_.limits().write_to(rejection, arrival, asker.number);
  }
  return rejection;
}

// As buckets are told of. None: whatever it asks for is usual.
std::optional<Limits::Bucket> Controller::bucket_of(
    const std::optional<ClientPatterns::Look>& pattern, double cost) {
  if (!pattern || pattern->ground == ClientPatterns::Look::Ground::learning) return std::nullopt;
  return Limits::Bucket{.tokens = pattern->tokens,
                        .rate = pattern->rate,
                        .burst = pattern->burst,
                        .wait = pattern->wait_for(cost),
                        .there = pattern->tokens};
}

Limits::Buckets Controller::allowances(const Arrival& arrival, Time now) const {
  const auto client = intake_.look_for(arrival, now, intake_.clients().parts(), false);
  const Limits& limits = intake_.limits();
  return intake_.allowances(
      arrival, client,
      retry_after_.comings_of(arrival, client ? client->weight : 1, limits, limits.all(), now),
      now);
}

ClientNumber Controller::meet(const Arrival& arrival, Time now) {
  const ClientTable::Found found = intake_.recognise(arrival, now);
  line_.expect(found.number, found.is_new, arrival.priority);
  return found.number;
}

Verdict Controller::reject_late(const Arrival& arrival, Time now) {
  Rejection rejection{conf::Reason::deadline};
  line_.reject(rejection, arrival, {}, now);
  return rejection;
}

Verdict Controller::arrive_without_favour(Arrival arrival, Time now) {
  Line::take_favour(arrival);
  return arrive(arrival, now);
}

void Controller::settle(const Arrival& arrival, Time now) {
  const ClientNumber client = recognise(arrival, now);
  intake_.settle(arrival, client);
  line_.charge(arrival, client, arrival.cost_found);
}

void Controller::reconfigure(const conf::AdmissionSettings& settings, const Ids& ids, Time now) {
  intake_.reconfigure(settings, ids, now);
  retry_after_.reconfigure(settings);
  line_.reconfigure(settings);
}

Snapshot Controller::snapshot(Time now) const {
  Snapshot snapshot;
  line_.write_to(snapshot, now);
  snapshot.rate = intake_.rate();
  snapshot.draining = intake_.is_draining();
  snapshot.clients = intake_.clients().counts();
  snapshot.patterns = intake_.clients().patterns().counts(now);
  snapshot.is_short = shortage_.is_there(is_short_seen(now), now);
  return snapshot;
}

}  // namespace classgate::admission
