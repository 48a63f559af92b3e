#include "admission/limits.h"

#include <algorithm>

namespace classgate::admission {

Limits::Limits(const conf::AdmissionSettings& settings, ClientTable& clients)
    : all_(settings.rate, settings.burst), clients_(clients) {
  for (const conf::RouteRate& route : settings.route_rates)
    routes_.push_back({route.path, TokenBucket(route.rate, route.burst)});
}

// A route keeps its tokens wherever it stands in the new conf.
void Limits::reconfigure(const conf::AdmissionSettings& settings, Time now) {
  all_.reconfigure(settings.rate, settings.burst, now);
  std::vector<RouteBucket> routes;
  for (const conf::RouteRate& route : settings.route_rates) {
    const auto known = std::ranges::find(routes_, route.path, &RouteBucket::path);
    routes.push_back(known != routes_.end()
                         ? *known
                         : RouteBucket{route.path, TokenBucket(route.rate, route.burst)});
    routes.back().bucket.reconfigure(route.rate, route.burst, now);
  }
  routes_ = std::move(routes);
}

Limits::Wait Limits::wait_for(const Arrival& arrival, ClientNumber client, Time now) {
  Wait longest;
  const auto consider = [&](conf::Reason reason, Duration time) {
    if (time > longest.time) longest = {reason, time};
  };
  if (TokenBucket* const route = bucket_of(arrival.route))
    consider(conf::Reason::route_rate, route->wait_for(arrival.cost, now));
  if (!arrival.rate_limited) return longest;
  if (client != no_client)
    consider(conf::Reason::client_rate, clients_.wait_for(client, arrival.cost, now));
  consider(conf::Reason::rate_limited, all_.wait_for(arrival.cost, now));
  return longest;
}

void Limits::take(const Arrival& arrival, ClientNumber client) {
  settle(arrival, client, arrival.cost);
}

void Limits::settle(const Arrival& arrival, ClientNumber client, double more) {
  if (TokenBucket* const route = bucket_of(arrival.route)) route->take(more);
  if (!arrival.rate_limited) return;
  if (client != no_client) clients_.take(client, more);
  all_.take(more);
  taken_lately_ += more;
}

Limits::Allowances Limits::allowances(const Arrival& arrival, ClientNumber client, Time now) {
  Allowances all;
  const auto add = [&](conf::Reason reason, double rate, double burst, double tokens) {
    if (rate > 0) all.add({reason, rate, burst, tokens});
  };
  if (arrival.rate_limited && client != no_client) {
    const conf::PlanSettings& plan = clients_.plan_of(client);
    add(conf::Reason::client_rate, plan.rate, plan.burst, clients_.tokens(client, now));
  }
  if (TokenBucket* const route = bucket_of(arrival.route))
    add(conf::Reason::route_rate, route->rate(), route->burst(), route->tokens(now));
  if (arrival.rate_limited)
    add(conf::Reason::rate_limited, all_.rate(), all_.burst(), all_.tokens(now));
  return all;
}

}  // namespace classgate::admission
