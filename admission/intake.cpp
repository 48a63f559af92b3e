#include "admission/intake.h"

namespace classgate::admission {
namespace {

RateFollower::Bounds rate_bounds(const conf::AdmissionSettings& settings) {
  return {std::min(settings.autos.rate_min, settings.rate), settings.rate};
}

}  // namespace

Intake::Intake(const conf::AdmissionSettings& settings, const Ids& ids)
    : settings_(settings), ids_(ids), rate_follower_(rate_bounds(settings)) {
  if (settings.fairness.is_on) use_clients({});
}

void Intake::reconfigure(const conf::AdmissionSettings& settings, const Ids& ids, Time now) {
  settings_ = settings;
  ids_ = ids;
  rate_follower_.reconfigure(rate_bounds(settings));
  limits_.reconfigure(settings, ids, now);
  if (settings.rate_is_auto) limits_.set_rate(rate_follower_.rate(), settings.burst, now);
  if (settings.fairness.is_on) use_clients(now);
}

void Intake::use_clients(Time now) {
  clients_.use(settings_.fairness, ids_, now);
  limits_.share_out();
  recognised_id_ = 0;
}

std::optional<ClientTable::Look> Intake::look_for(const Arrival& arrival, Time now,
                                                  const EqualParts& parts, bool asks) const {
  if (!wants_client(arrival)) return std::nullopt;
  if (is_recognised(arrival)) return clients_.look(recognised_, now, parts, asks);
  return clients_.look_for(arrival.client, arrival.plan, now, parts, asks, arrival.client_kind);
}

Intake::Findings Intake::foresee(const Arrival& arrival,
                                 const std::optional<ClientTable::Look>& client,
                                 const Limits::Buckets& buckets, Time now) const {
  const bool retries = client && is_retry(arrival, now);
  return {
      .is_retry = retries, .retries_too_much = retries && !client->may_retry, .wait = buckets.wait};
}

void Intake::tick_rate(bool is_line_empty, Time now) {
  if (rate_follower_.tick(is_line_empty, now))
    limits_.set_rate(rate_follower_.rate(), settings_.burst, now);
}

std::optional<TokenBucket> Intake::foresee_rate(bool is_line_empty, Time now) const {
  RateFollower follower = rate_follower_;
  if (!settings_.rate_is_auto || !follower.tick(is_line_empty, now)) return std::nullopt;
  TokenBucket all = limits_.all();
  all.reconfigure(follower.rate(), settings_.burst, now);
  return all;
}

}  // namespace classgate::admission
