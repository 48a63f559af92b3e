#include "admission/simulation/class_traffic.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "admission/measure/units.h"

namespace classgate::simulation {
namespace {

Duration scaled(double seconds) {
  return Duration(static_cast<Duration::rep>(std::min(seconds, 1e9) * 1e9));
}

}  // namespace

ClassTraffic::ClassTraffic(const conf::Workload& workload, const admission::RouteTable& routes,
                           std::vector<Client> clients)
    : workload_(workload), routes_(routes), clients_(std::move(clients)) {
  std::uint32_t client = 0;
  const Time end = Time{} + workload_.duration;
  for (const conf::WorkloadClass& settings : workload_.classes) {
    const std::uint64_t stream = classes_.size() * 4;
    classes_.push_back({.settings = &settings,
                        .route = &routes_.find(settings.path),
                        .service = settings.service.value_or(workload_.upstream.service),
                        .first_client = client,
                        .from = Time{} + settings.from,
                        .to = settings.to ? std::min(end, Time{} + *settings.to) : end,
                        .arrivals = Random(workload_.seed, stream),
                        .sizes = Random(workload_.seed, stream + 1),
                        .retries = Random(workload_.seed, stream + 2),
                        .due = {},
                        .first_visits = {}});
    client += std::max(settings.clients, settings.users);
    Class& made = classes_.back();
    for (std::uint32_t user = 0; user < settings.users; ++user)
      made.first_visits.push_back(made.from + draw(settings.think, made.arrivals));
    std::ranges::sort(made.first_visits, std::greater<>());
    if (settings.users == 0) {
      made.due = made.from;
      plan_next(made);
    }
  }
}

std::string ClassTraffic::client_name(std::uint32_t client) const {
  for (auto of = classes_.rbegin(); of != classes_.rend(); ++of)
    if (client >= of->first_client)
      return of->settings->name + "-" + std::to_string(client - of->first_client + 1);
  return {};
}

double ClassTraffic::rate_at(const Class& of, Time at) const {
  const conf::WorkloadClass& settings = *of.settings;
  const Duration since = at - of.from;
  if (settings.burst_every > Duration::zero() &&
      since % settings.burst_every < settings.burst_length)
    return settings.burst_rate;
  double rate = 0;
  for (const conf::RateStep& step : settings.rates)
    if (step.from <= since) rate = step.rate;
  return rate;
}

// Until when the rate stays as it is at `at`.
Time ClassTraffic::next_change(const Class& of, Time at) const {
  const conf::WorkloadClass& settings = *of.settings;
  const Duration since = at - of.from;
  Time change = of.to;
  if (settings.burst_every > Duration::zero()) {
    const Duration in_turn = since % settings.burst_every;
    change = std::min(change, at - in_turn +
                                  (in_turn < settings.burst_length ? settings.burst_length
                                                                   : settings.burst_every));
  }
  for (const conf::RateStep& step : settings.rates)
    if (step.from > since) change = std::min(change, of.from + step.from);
  return change;
}

// A Poisson process whose rate changes in steps: its hazard grows by `rate` a second, and the next
// arrival is where it has grown by an exponential variable of mean 1 (by 1, if it is regular).
void ClassTraffic::plan_next(Class& of) {
  double hazard = of.settings->is_regular ? 1 : -std::log(of.arrivals.unit());
  Time at = *of.due;
  while (at < of.to) {
    const double rate = rate_at(of, at);
    const Time change = next_change(of, at);
    const double until_change = measure::in_seconds(change - at);
    if (rate > 0 && hazard <= rate * until_change) {
      at += std::max(scaled(hazard / rate), Duration(1));
      break;
    }
    hazard -= rate * until_change;
    at = change;
  }
  of.due = at < of.to ? std::optional(at) : std::nullopt;
}

Wish ClassTraffic::make(std::uint32_t index, Time at, std::uint32_t client) {
  Class& of = classes_[index];
  Wish wish;
  wish.at = at;
  wish.upload = of.settings->upload;
  wish.service = draw(of.service, of.sizes);
  if (of.settings->patience) wish.patience = draw(*of.settings->patience, of.sizes);
  if (workload_.upstream.failures > 0) wish.fails = of.sizes.unit() < workload_.upstream.failures;
  wish.bytes = of.settings->body.count;
  wish.group = index;
  wish.client = client;
  if (!clients_.empty()) {
    wish.client = clients_[client].number;
    wish.plan = clients_[client].plan;
  }
  wish.route = of.route->id;
  wish.cost = of.route->cost;
  wish.priority = static_cast<std::uint8_t>(of.route->priority);
  wish.rate_limited = of.route->rate_limited;
  wish.client_share = of.route->client_share;
  return wish;
}

bool ClassTraffic::next(Wish& wish) {
  std::optional<Time> first;
  std::size_t chosen = 0;
  for (std::size_t i = 0; i < classes_.size(); ++i) {
    const Class& of = classes_[i];
    std::optional<Time> due = of.due;
    if (!of.first_visits.empty()) due = of.first_visits.back();
    if (!due || (first && *due >= *first)) continue;
    first = due;
    chosen = i;
  }
  if (!first) return false;
  Class& of = classes_[chosen];
  const std::uint32_t clients = std::max(of.settings->clients, of.settings->users);
  wish = make(static_cast<std::uint32_t>(chosen), *first, of.first_client + of.turn);
  of.turn = (of.turn + 1) % clients;
  if (of.first_visits.empty())
    plan_next(of);
  else
    of.first_visits.pop_back();
  return true;
}

bool ClassTraffic::after(const Wish& wish, const Ending& ending, Time now, Wish& follow) {
  Class& of = classes_[wish.group];
  const bool may_retry =
      ending.kind == Ending::Kind::rejected || ending.kind == Ending::Kind::failed;
  if (may_retry && wish.attempt < of.settings->retries) {
    Duration delay = draw(of.settings->retry_delay, of.retries);
    // Whole seconds, as the field says it: who was told the same one comes back together.
    if (of.settings->honours_retry_after)
      delay += std::chrono::ceil<std::chrono::seconds>(ending.retry_after);
    follow = wish;
    follow.at = now + delay;
    ++follow.attempt;
    return follow.at < of.to;
  }
  if (of.settings->users == 0) return false;
  const Time at = now + std::max(draw(of.settings->think, of.retries), Duration(1));
  if (at >= of.to) return false;
  follow = make(wish.group, at, wish.client);
  return true;
}

}  // namespace classgate::simulation
