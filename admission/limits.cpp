#include "admission/limits.h"

#include <algorithm>

namespace classgate::admission {

Limits::Limits(const conf::AdmissionSettings& settings, const Ids& ids, ClientTable& clients)
    : all_{TokenBucket(settings.rate, settings.burst)}, clients_(clients) {
  reconfigure(settings, ids, {});
}

// A route keeps its tokens wherever it stands in the new conf.
void Limits::reconfigure(const conf::AdmissionSettings& settings, const Ids& ids, Time now) {
  all_.reconfigure(settings.rate, settings.burst, now);
  all_.returns.set_spread(settings.retry_after_spread);
  reserve_ = settings.fairness.reserve;
  ById<RouteId, Shared> routes;
  for (const conf::RouteRate& route : settings.route_rates) {
    const RouteId id = ids.route(route.path);
    if (id == RouteId{}) continue;  // a shadow's: nobody comes on it
    const Shared* const known = routes_.find(id);
    Shared& shared = *routes.find_or_add(id);
    shared = known ? *known : Shared{TokenBucket(route.rate, route.burst)};
    shared.reconfigure(route.rate, route.burst, now);
    shared.returns.set_spread(settings.retry_after_spread);
  }
  routes_ = std::move(routes);
}

TokenBucket Limits::shared_out(const TokenBucket& all) const {
  const TokenBucket* widest = &all;
  if (all.rate() <= 0)
    routes_.for_each([&widest](const Shared& route) {
      if (route.bucket.rate() > widest->rate()) widest = &route.bucket;
    });
  return *widest;
}

Limits::Wait Limits::longest(Duration route, Duration client, Duration all) {
  Wait longest{conf::Reason::route_rate, route};
  if (client > longest.time) longest = {conf::Reason::client_rate, client};
  if (all > longest.time) longest = {conf::Reason::rate_limited, all};
  return longest;
}

Limits::Wait Limits::wait_for(const Arrival& arrival, ClientNumber client, Time now) {
  Shared* const route = routes_.find(arrival.route);
  const double share = client != no_client && asks_shared(arrival) &&
                               clients_.asks_greedily(client, arrival.cost, now)
                           ? reserve_
                           : 0;
  const Duration of_route =
      route ? route->bucket.wait_for(arrival.cost + kept(share, route->bucket), now)
            : Duration::zero();
  const bool asks_all = arrival.rate_limited;
  const Duration of_client = asks_all && client != no_client
                                 ? clients_.wait_for(client, arrival.cost, now)
                                 : Duration::zero();
  const Duration of_all = asks_all
                              ? all_.bucket.wait_for(arrival.cost + kept(share, all_.bucket), now)
                              : Duration::zero();
  const Wait wait = longest(of_route, of_client, of_all);
  // A part of the whole is more than a small route has: who asks for all of that pays for asking.
  if (of_route > Duration::zero() && wait.reason == conf::Reason::route_rate && client != no_client)
    clients_.charge_part(client, arrival.cost);
  return wait;
}

Limits::Buckets Limits::look(const Arrival& arrival, const std::optional<ClientTable::Look>& client,
                             TokenBucket all, Time now) const {
  Buckets found;
  const double share = client && client->is_greedy(arrival.cost) ? reserve_ : 0;
  const auto look_into = [&](TokenBucket bucket) -> std::optional<Bucket> {
    const double others = kept(share, bucket);
    const Duration wait = bucket.wait_for(arrival.cost + others, now);
    if (bucket.rate() <= 0) return std::nullopt;
    return Bucket{bucket.tokens() - others, bucket.rate(), bucket.burst(), wait};
  };
  if (const Shared* const route = routes_.find(arrival.route))
    found.route = look_into(route->bucket);
  if (arrival.rate_limited) {
    if (client && (client->rate > 0 || client->tokens < 0))
      found.client = {client->tokens, client->rate > 0 ? client->rate : client->debt_rate,
                      client->burst, client->wait_for(arrival.cost)};
    found.all = look_into(all);
  }
  const auto wait_of = [](const std::optional<Bucket>& bucket) {
    return bucket ? bucket->wait : Duration::zero();
  };
  found.wait = longest(wait_of(found.route), wait_of(found.client), wait_of(found.all));
  return found;
}

void Limits::take(const Arrival& arrival, ClientNumber client) {
  settle(arrival, client, arrival.cost);
}

void Limits::settle(const Arrival& arrival, ClientNumber client, double more) {
  double owed = 0;
  const auto take_from = [more, &owed](Shared& shared) {
    const TokenBucket& bucket = shared.bucket;
    const double taken =
        bucket.rate() > 0 ? std::min(more, std::max(bucket.tokens() + bucket.burst(), 0.0)) : more;
    owed = std::max(owed, more - taken);
    shared.bucket.take(taken);
    shared.taken += taken;
  };
  Shared* const route = routes_.find(arrival.route);
  if (route) take_from(*route);
  if (client != no_client && (arrival.rate_limited || route)) clients_.charge_part(client, more);
  if (arrival.rate_limited) {
    if (client != no_client) clients_.take(client, more);
    take_from(all_);
  }
  if (owed > 0 && client != no_client) clients_.owe(client, owed);
}

// ---- When to come back -------------------------------------------------------------------------

Duration Limits::return_time(const Rejection& rejection, const Arrival& arrival,
                             const Returns::Asker& asker, Time now) {
  Shared* const shared = shared_of(*this, rejection.reason, arrival.route);
  if (shared == nullptr) return rejection.retry_after;
  const Duration told = shared->returns.next(rejection.retry_after, arrival.cost,
                                             shared->capacity(rejection.rate), asker, now);
  shared->taken = shared->used = 0;
  return told;
}

Duration Limits::foretell_return_time(const Rejection& rejection, const Arrival& arrival,
                                      const Returns::Asker& asker, Time now) const {
  const Shared* const shared = shared_of(*this, rejection.reason, arrival.route);
  if (shared == nullptr) return rejection.retry_after;
  Returns returns = shared->returns;
  return returns.next(rejection.retry_after, arrival.cost, shared->capacity(rejection.rate), asker,
                      now);
}

}  // namespace classgate::admission
