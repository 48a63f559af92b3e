#include "admission/controller.h"

namespace classgate::admission {
namespace {

RateFollower::Bounds rate_bounds(const conf::AdmissionSettings& settings) {
  return {std::min(settings.autos.rate_min, settings.rate), settings.rate};
}

}  // namespace

Controller::Controller(const conf::AdmissionSettings& settings, const Ids& ids)
    : settings_(settings), ids_(ids), rate_follower_(rate_bounds(settings)) {
  if (settings.fairness.is_on) use_clients({});
}

void Controller::use_clients(Time now) {
  clients_.use(settings_.fairness, ids_, now);
  limits_.share_out();
  recognised_id_ = 0;
}

std::optional<Rejection> Controller::screen(Arrival& arrival, Time now) {
  if (draining_) return reject({conf::Reason::draining, drain_time()}, arrival, {}, now);
  if (settings_.rate_is_auto) follow_rate(now);
  const ClientNumber client = recognise(arrival, now);
  if (line_.is_beyond_share(arrival, client)) Line::take_favour(arrival);
  const bool retries = client != no_client && is_retry(arrival);
  if (client != no_client && arrival.attempt != 0) attempts_.note(arrival.attempt);
  Asker asker{.in_line = line_.asker_of(client)};
  const Limits::Wait wait = limits_.wait_for(arrival, client, now);
  asker.retries_too_much = retries && !clients_.may_retry(client, now);
  const Line::Judgement judgement = judge(arrival, asker, wait, now);
  if (judgement.is_a_try) line_.note_try(arrival.route, now);
  if (judgement.rejection) return reject(*judgement.rejection, arrival, asker.in_line, now);
  const bool exceeds_rate = wait.time > Duration::zero();
  exceeds_rate ? line_.observe(arrival.observed, wait.reason) : limits_.take(arrival, client);
  if (judgement.would_miss_deadline)
    line_.observe(arrival.observed, conf::Reason::would_miss_deadline);
  if (client != no_client)
    retries ? clients_.note_retry(client) : clients_.note_first_attempt(client);
  return std::nullopt;
}

// All that the rules say to a head but the first. Changes nothing: explain() asks too.
Line::Judgement Controller::judge(const Arrival& arrival, const Asker& asker,
                                  const Limits::Wait& wait, Time now) const {
  const bool goes_in = line_.may_go_in(arrival, asker.in_line, now);
  const auto refused = [&](conf::Reason reason, Duration retry_after) {
    return Line::Judgement{.rejection = Rejection{reason, retry_after}, .goes_in = goes_in};
  };
  // A retry too many does no harm while there are workers to spare.
  if (asker.retries_too_much && !goes_in) return refused(conf::Reason::retry_budget, drain_time());
  if (wait.time > Duration::zero() && !settings_.observe.rate)
    return refused(wait.reason, wait.time);
  return line_.judge(arrival, asker.in_line, goes_in, now);
}

Verdict Controller::arrive(const Arrival& arrival, Time now) {
  if (arrival.deadline <= now) return line_.reject({conf::Reason::deadline}, arrival, {}, now);
  const ClientNumber client = recognise(arrival, now);
  if (line_.is_beyond_share(arrival, client)) {
    Arrival common = arrival;
    Line::take_favour(common);
    return arrive(common, now);
  }
  if (arrival.cost_found != 0) limits_.settle(arrival, client, arrival.cost_found);
  return line_.arrive(arrival, client, now);
}

// ---- Clients -----------------------------------------------------------------------------------

inline ClientNumber Controller::recognise(const Arrival& arrival, Time now) {
  if (arrival.client == 0 || !settings_.fairness.is_on) return no_client;
  // Most ask twice in a row, with their head and when they are ready. Only a newcomer, which would
  // be another one here, makes anybody forgotten.
  if (is_recognised(arrival)) return recognised_;
  const ClientTable::Found found = clients_.find_or_add(arrival.client, arrival.plan, now);
  line_.expect(found.number, found.is_new, arrival.priority);
  recognised_id_ = arrival.client;
  recognised_plan_ = arrival.plan;
  return recognised_ = found.number;
}

void Controller::follow_rate(Time now) {
  if (rate_follower_.tick(line_.waiting() == 0, now))
    limits_.set_rate(rate_follower_.rate(), settings_.burst, now);
}

void Controller::settle(const Arrival& arrival, Time now) {
  const ClientNumber client = recognise(arrival, now);
  limits_.settle(arrival, client, arrival.cost_found);
  line_.charge(arrival, client, arrival.cost_found);
}

// ---- What the refused are told -----------------------------------------------------------------

std::optional<ClientTable::Look> Controller::look_for_client(const Arrival& arrival, Time now,
                                                             const EqualParts& parts,
                                                             bool asks) const {
  if (arrival.client == 0 || !settings_.fairness.is_on) return std::nullopt;
  if (is_recognised(arrival)) return clients_.look(recognised_, now, parts, asks);
  return clients_.look_for(arrival.client, arrival.plan, now, parts, asks);
}

Limits::Buckets Controller::allowances(const Arrival& arrival, Time now) const {
  return limits_.look(arrival, look_for_client(arrival, now, clients_.parts(), false),
                      limits_.all(), now);
}

// What it ran against is told by whoever knows.
Rejection Controller::reject(const Rejection& rejection, const Arrival& arrival,
                             const Line::Asker& asker, Time now) {
  Rejection told = line_.reject(rejection, arrival, asker, now);
  if (waits_for_tokens(told.reason))
    retry_after_.tell(told, arrival, limits_, allowances(arrival, now), now);
  return told;
}

void Controller::reconfigure(const conf::AdmissionSettings& settings, const Ids& ids, Time now) {
  settings_ = settings;
  ids_ = ids;
  retry_after_.reconfigure(settings);
  rate_follower_.reconfigure(rate_bounds(settings));
  limits_.reconfigure(settings, ids, now);
  if (settings.rate_is_auto) limits_.set_rate(rate_follower_.rate(), settings.burst, now);
  if (settings.fairness.is_on) use_clients(now);
  line_.reconfigure(settings);
}

Snapshot Controller::snapshot(Time now) const {
  Snapshot snapshot;
  line_.write_to(snapshot, now);
  snapshot.rate = settings_.rate_is_auto ? rate_follower_.rate() : settings_.rate;
  snapshot.draining = draining_;
  snapshot.clients = clients_.counts();
  return snapshot;
}

}  // namespace classgate::admission
