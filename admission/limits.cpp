#include "admission/limits.h"

#include <algorithm>
#include <utility>

namespace classgate::admission {

Limits::Limits(const conf::AdmissionSettings& settings, const Ids& ids, ClientTable& clients)
    : all_{TokenBucket(settings.rate, settings.burst)}, clients_(clients) {
  reconfigure(settings, ids, {});
}

// A route keeps its tokens wherever it stands in the new conf.
void Limits::reconfigure(const conf::AdmissionSettings& settings, const Ids& ids, Time now) {
  // One that follows the service is each gateway's own.
  all_.whole_rate = settings.rate_is_auto ? 0 : settings.rate;
  all_.whole_burst = settings.burst;
  const double part = settings.rate_is_auto ? 1 : part_;
  all_.reconfigure(settings.rate * part, settings.burst * part, now);
  all_.returns.set_spread(settings.retry_after_spread);
  if (!settings.fairness.is_on) all_.expect_nobody();
  reserve_ = settings.fairness.reserve;
  ById<RouteId, Shared> routes;
  route_ids_.clear();
  for (const conf::RouteRate& route : settings.route_rates) {
    const RouteId id = ids.route(route.path);
    if (id == RouteId{}) continue;  // a shadow's: nobody comes on it
    const Shared* const known = routes_.find(id);
    Shared& shared = *routes.find_or_add(id);
    shared = known ? *known : Shared{TokenBucket(route.rate, route.burst)};
    shared.route = route.path;
    shared.whole_rate = route.rate;
    shared.whole_burst = route.burst;
    shared.reconfigure(route.rate * part_, route.burst * part_, now);
    route_ids_.push_back(id);
    shared.returns.set_spread(settings.retry_after_spread);
    if (!settings.fairness.is_on) shared.expect_nobody();
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

// For the due 15 %, as of the places in the queue, and of small buckets up to two tokens. Who asks
// for less than its part goes before those who ask for more: it leaves a request less than they.
// Who comes before its time, and has had its part, gets what the others leave: while the bucket is
// fuller than four fifths, and than those that come anew would leave it; of one that is too
// small for that nothing.
Limits::Kept Limits::kept(const Shared& shared, const Arrival& arrival, bool is_greedy,
                          Coming coming, Time now) const {
  if (is_due(coming)) return {};
  const double burst = shared.bucket.burst();
  Kept kept{.for_content = is_greedy ? reserve_ * burst : 0};
  if (!shared.expects_others(arrival.client, now)) return kept;
  const double of_due = std::max(0.15 * burst, std::min(burst / 4, 2.0));
  const double most = burst - arrival.cost;
  if (!is_greedy)
    kept.for_due = std::clamp(std::max(reserve_ * burst, of_due) - arrival.cost, 0.0, of_due);
  else if (coming != Coming::early)
    kept.for_due = std::min(of_due, std::max(most, 0.0));
  else
    kept.for_due = most < of_due + 1 ? std::numeric_limits<double>::infinity()
                                     : std::min(std::max(0.8 * burst, of_due + 1), most);
  // Who cannot be told apart is never due.
  if (arrival.client == 0) kept = {.for_content = std::max(kept.for_content, kept.for_due)};
  return kept;
}

// Who is told to come for tokens is due then, and need not leave those.
Duration Limits::wait_for(TokenBucket& bucket, double cost, const Kept& kept, Time now) {
  const Duration wait = bucket.wait_for(cost + kept.for_content, now);
  if (bucket.rate() <= 0 || kept.for_due <= kept.for_content) return wait;
  const bool is_there = kept.for_due < bucket.burst() &&
                        bucket.wait_for(cost + kept.for_due, now) == Duration::zero();
  return is_there ? wait
                  : std::max(wait, TokenBucket::time_to(cost, 0, bucket.rate(), bucket.burst()));
}

Limits::Wait Limits::wait_in_all(const Arrival& arrival, ClientNumber client,
                                 const Comings& comings, Time now) {
  Shared* const route = routes_.find(arrival.route);
  const bool is_greedy = client != no_client && asks_shared(arrival) &&
                         clients_.asks_greedily(client, arrival.cost, now);
  const auto wait_in = [&](Shared& shared, Coming coming) {
    if (shared.bucket.rate() <= 0) return Duration::zero();
    return wait_for(shared.bucket, arrival.cost, kept(shared, arrival, is_greedy, coming, now),
                    now);
  };
  const Duration of_route = route ? wait_in(*route, comings.to_route) : Duration::zero();
  const bool asks_all = arrival.rate_limited;
  const Duration of_client = asks_all && client != no_client
                                 ? clients_.wait_for(client, arrival.cost, now)
                                 : Duration::zero();
  const Duration of_all = asks_all ? wait_in(all_, comings.to_all) : Duration::zero();
  const Wait wait = longest(of_route, of_client, of_all);
  // A part of the whole is more than a small route has: who asks for all of that pays for asking.
  if (of_route > Duration::zero() && wait.reason == conf::Reason::route_rate && client != no_client)
    clients_.charge_part(client, arrival.cost);
  return wait;
}

double Limits::could_have(const Shared& shared, double tokens, const Kept& of_this,
                          const Arrival& arrival, const std::optional<ClientTable::Look>& client,
                          Coming coming, Time now) const {
  const auto but_for = [tokens](const Kept& kept) {
    return tokens - std::max(kept.for_content, kept.for_due);
  };
  const bool others_are_due = shared.expects_others(arrival.client, now);
  const bool others_ask = client && client->part_burst > 0 && reserve_ > 0;
  if (tokens <= 0 || (!others_are_due && !others_ask)) return tokens;
  const bool is_content = client && client->is_content(arrival.cost);
  double with_favour = std::max(but_for(of_this), 0.0);
  if (admission::is_due(coming))
    with_favour = std::min(with_favour, static_cast<double>(arrival.cost));
  else if (is_content)
    with_favour = std::min(with_favour, double{client->credit});
  const Coming after = admission::is_due(coming) ? Coming::anew : coming;
  return std::max(with_favour, but_for(kept(shared, arrival, true, after, now)));
}

Limits::Buckets Limits::look(const Arrival& arrival, const std::optional<ClientTable::Look>& client,
                             const Comings& comings, TokenBucket all, Time now) const {
  Buckets found;
  const bool is_greedy = client && client->is_greedy(arrival.cost);
  const auto look_into = [&](const Shared& shared, TokenBucket bucket,
                             Coming coming) -> std::optional<Bucket> {
    const Kept others = kept(shared, arrival, is_greedy, coming, now);
    const Duration wait = wait_for(bucket, arrival.cost, others, now);
    if (bucket.rate() <= 0) return std::nullopt;
    return Bucket{
        .tokens = could_have(shared, bucket.tokens(), others, arrival, client, coming, now),
        .rate = bucket.rate(),
        .burst = bucket.burst(),
        .wait = wait,
        .there = bucket.tokens(),
        .kept_for_content = std::min(others.for_content, bucket.burst()),
        .kept_for_due = std::min(others.for_due, bucket.burst()),
        .coming = coming};
  };
  if (const Shared* const route = routes_.find(arrival.route))
    found.route = look_into(*route, route->bucket, comings.to_route);
  if (arrival.rate_limited) {
    if (client && (client->rate > 0 || client->tokens < 0))
      found.client = {.tokens = client->tokens,
                      .rate = client->rate > 0 ? client->rate : client->debt_rate,
                      .burst = client->burst,
                      .wait = client->wait_for(arrival.cost),
                      .there = client->tokens};
    found.all = look_into(all_, all, comings.to_all);
  }
  const auto wait_of = [](const std::optional<Bucket>& bucket) {
    return bucket ? bucket->wait : Duration::zero();
  };
  found.wait = longest(wait_of(found.route), wait_of(found.client), wait_of(found.all));
  return found;
}

void Limits::write_to(Rejection& rejection, const Arrival& arrival, ClientNumber client) const {
  const auto look_of = [](const TokenBucket& bucket) -> Rejection::LookedAt {
    if (bucket.rate() <= 0) return {};
    return {static_cast<float>(bucket.tokens()), static_cast<float>(bucket.rate()),
            static_cast<float>(bucket.burst())};
  };
  auto& [all, of_route, of_client] = rejection.looked_at;
  if (const Shared* const route = routes_.find(arrival.route)) of_route = look_of(route->bucket);
  if (!arrival.rate_limited) return;
  all = look_of(all_.bucket);
  if (client != no_client) of_client = clients_.look_of(client);
}

void Limits::settle(const Arrival& arrival, ClientNumber client, double more,
                    const Comings& comings) {
  double owed = 0;
  const auto take_from = [more, &owed](Shared& shared, Coming coming) {
    const TokenBucket& bucket = shared.bucket;
    const double taken =
        bucket.rate() > 0 ? std::min(more, std::max(bucket.tokens() + bucket.burst(), 0.0)) : more;
    owed = std::max(owed, more - taken);
    shared.bucket.take(taken);
    shared.asked += taken;
    if (coming != Coming::early) shared.taken += taken;
  };
  Shared* const route = routes_.find(arrival.route);
  if (route) take_from(*route, comings.to_route);
  if (client != no_client && (arrival.rate_limited || route)) clients_.charge_part(client, more);
  if (arrival.rate_limited) {
    if (client != no_client) clients_.take(client, more);
    take_from(all_, comings.to_all);
  }
  if (owed > 0 && client != no_client) clients_.owe(client, owed);
}

// ---- Rates that several gateways have together --------------------------------------------------

std::vector<Limits::RateUse> Limits::take_uses(Time now) {
  std::vector<RateUse> uses;
  for_each_rate([&](Shared& shared) {
    const double spilled = shared.bucket.take_spilled(now);
    uses.push_back({.route = shared.route,
                    .rate = shared.whole_rate,
                    .burst = shared.whole_burst,
                    .tokens = shared.bucket.tokens(),
                    .asked = std::exchange(shared.asked, 0.0),
                    .spilled = spilled});
  });
  return uses;
}

void Limits::lend(double part, std::span<const RateLoan> loans, Time now) {
  part_ = std::clamp(part, 1e-4, 1.0);
  auto next = loans.begin();
  for_each_rate([&](Shared& shared) {
    if (next == loans.end() || next->route != shared.route)
      return shared.lend(shared.whole_rate * part_, Time::max(), shared.whole_rate, part_, now);
    const double whole =
        next->whole > 0 ? std::min(next->whole, shared.whole_rate) : shared.whole_rate;
    shared.lend(next->rate, next->until, whole, part_, now);
    ++next;
  });
  share_out();
}

// ---- When to come back -------------------------------------------------------------------------

Duration Limits::return_time(const Rejection& rejection, const Arrival& arrival,
                             const Returns::Asker& asker, Time now) {
  Shared* const shared = shared_of(*this, rejection.reason, arrival.route);
  if (shared == nullptr) return rejection.retry_after;
  const Duration told = shared->returns.next(rejection.retry_after, arrival.cost,
                                             shared->capacity(rejection.rate), asker, now);
  shared->taken = shared->used = 0;
  if (asker.note_told(told, now)) shared->note_told(arrival.client, now + told);
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
