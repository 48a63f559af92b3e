#include "admission/retry_after.h"

namespace classgate::admission {

Duration RetryAfter::drain_time(const Queue& queue) {
  const auto ahead = static_cast<Duration::rep>(queue.waiting + 1);
  // Without a worker of its own (all are lent) the time is anybody's guess: as if it had one.
  const Duration estimate = queue.usual_turn * ahead / std::max(queue.workers, 1U);
  return std::max(estimate, soonest);
}

void RetryAfter::tell(Rejection& rejection, const Arrival& arrival, Limits& limits,
                      const Limits::Buckets& buckets, Time now) {
  const Returns::Asker asker = asker_in(line_of(rejection.reason, arrival.route),
                                        {arrival.client, static_cast<double>(arrival.cost)}, now);
  rejection.set_bucket(buckets.of(rejection.reason));
  rejection.retry_after = limits.return_time(rejection, arrival, asker, now);
  if (asker.promise != nullptr) asker.promise->wanted = arrival.cost;
}

Duration RetryAfter::time_for_worker(Duration earliest, const Asker& asker, const Queue& queue,
                                     Time now) {
  const Returns::Asker returner = asker_in(line_for_workers, asker, now);
  const Duration told = workers_returns_.next(earliest, 1, capacity_of(queue, now), returner, now);
  waited_ = {};
  wait_began_ = now;
  if (returner.note_told(told, now)) last_turn_ = std::max(last_turn_, now + told);
  return told;
}

const Promise* RetryAfter::promise_of(std::uint64_t client, std::uint64_t line) const {
  if (client == 0 || !tells_clients_apart_) return nullptr;
  const Promise* const promise = promises_.find(client, line);
  return promise == nullptr || promise->noted == Time::min() ? nullptr : promise;
}

bool RetryAfter::is_due(const Comer& comer, const Queue& queue, Time now) const {
  const Promise* const promise = promise_of(comer.client, line_for_workers);
  return promise != nullptr &&
         admission::is_due(coming_of(*promise, comer, capacity_of(queue, now).pace, now));
}

// The head may have come in time, and a body that is long later.
Coming RetryAfter::coming_of(const Promise& promise, const Comer& comer, double pace,
                             Time now) const {
  const bool wants_more = comer.wants > promise.wanted;
  if (!wants_more && (promise.is_at_its_turn(comer.at) || promise.is_at_its_turn(now)))
    return Coming::in_turn;
  if (!wants_more && (promise.told.has(comer.at) || promise.told.has(now)) &&
      ahead_of(promise, comer.weight, pace, now) <= ahead_as_told * comer.wants)
    return Coming::as_told;
  if (promise.turn > now) return Coming::early;
  // Of what it asked for besides, that is not due yet.
  const double since = measure::in_seconds(now - std::max(promise.noted, promise.turn));
  return promise.behind > std::max(since, 0.0) * own_pace(1, pace) ? Coming::early : Coming::anew;
}

bool RetryAfter::is_ahead_of_its_turn(const Comer& comer, const Queue& queue, Time now) const {
  const Promise* const promise = promise_of(comer.client, line_for_workers);
  if (promise == nullptr) return false;
  const double pace = capacity_of(queue, now).pace;
  if (coming_of(*promise, comer, pace, now) != Coming::early) return false;
  if (in_turn_.at(window_of(queue), now) < almost_all * pace) return false;
  return ahead_of(*promise, comer.weight, pace, now) > ahead_when_early * comer.wants;
}

bool RetryAfter::note_came(const Comer& comer, const Queue& queue, Time now) {
  if (promise_of(comer.client, line_for_workers) == nullptr) return false;
  Promise& promise = *promises_.find(comer.client, line_for_workers);
  const double pace = capacity_of(queue, now).pace;
  const Coming coming = coming_of(promise, comer, pace, now);
  note_came(promise, comer, coming, pace, now);
  return coming == Coming::early;
}

void RetryAfter::note_came(Promise& promise, const Comer& comer, Coming coming, double pace,
                           Time now) {
  if (!promise.told.take(comer.at)) promise.told.take(now);
  if (coming == Coming::in_turn) promise.turn = Promise::had;
  if (coming == Coming::as_told || coming == Coming::early) {
    promise.ahead = ahead_of(promise, comer.weight, pace, now) + comer.wants;
    promise.ahead_noted = now;
  }
}

Limits::Comings RetryAfter::comings_to_tokens(const Arrival& arrival, double weight,
                                              const Limits& limits, const TokenBucket& all,
                                              Time now) const {
  const Comer comer{arrival.client, weight, static_cast<double>(arrival.cost), arrival.at};
  Limits::Comings comings;
  if (arrival.rate_limited) comings.to_all = coming_in(line_for_all, comer, all.rate(), now);
  if (const TokenBucket* const route = limits.bucket_of(arrival.route))
    comings.to_route =
        coming_in(line_of(conf::Reason::route_rate, arrival.route), comer, route->rate(), now);
  return comings;
}

void RetryAfter::note_came_to_tokens(const Arrival& arrival, double weight, const Limits& limits,
                                     const Limits::Comings& comings, Time now) {
  const Comer comer{arrival.client, weight, static_cast<double>(arrival.cost), arrival.at};
  const auto note = [&](std::uint64_t line, Coming coming, double pace) {
    if (promise_of(comer.client, line) != nullptr)
      note_came(*promises_.find(comer.client, line), comer, coming, pace, now);
  };
  if (arrival.rate_limited) note(line_for_all, comings.to_all, limits.all().rate());
  if (const TokenBucket* const route = limits.bucket_of(arrival.route))
    note(line_of(conf::Reason::route_rate, arrival.route), comings.to_route, route->rate());
}

Returns::Asker RetryAfter::asker_in(std::uint64_t line, const Asker& asker, Time now) {
  if (asker.client == 0 || !tells_clients_apart_) return {};
  const auto number = clients_.find(asker.client);
  return {.promise = &promises_.find_or_add(asker.client, line),
          .clients = static_cast<double>(clients_.parts().asking()),
          .is_content = number && clients_.is_content(*number, asker.cost, now)};
}

Returns::Capacity RetryAfter::capacity_of(const Queue& queue, Time now) const {
  const Duration since = queue.waiting > 0 ? now - wait_began_ : Duration::zero();
  const double used =
      std::chrono::duration<double>(waited_ + std::max(since, Duration::zero())).count();
  const double work = std::chrono::duration<double>(queue.usual_turn).count();
  return {work > 0 ? std::max(queue.workers, 1U) / work : 0, used};
}

void RetryAfter::foretell(Rejection& rejection, const Arrival& arrival,
                          const std::optional<ClientTable::Look>& client, const Limits& limits,
                          const Limits::Buckets& buckets, const Queue& queue, Time now) const {
  Promise promise = promises_.look(arrival.client, line_of(rejection.reason, arrival.route));
  Returns::Asker returner;
  if (client) {
    ClientTable::Look asked = *client;
    const auto cost = static_cast<float>(arrival.cost);
    if (buckets.wait.reason == conf::Reason::route_rate && buckets.wait.time > Duration::zero())
      asked.credit -= cost;  // as Limits::wait_for() charges it
    returner = {.promise = &promise,
                .clients = static_cast<double>(client->asking),
                .is_content = !client->is_shared() && asked.is_content(arrival.cost)};
  }
  if (waits_for_tokens(rejection.reason)) {
    rejection.set_bucket(buckets.of(rejection.reason));
    rejection.retry_after = limits.foretell_return_time(rejection, arrival, returner, now);
  } else if (waits_for_workers(rejection)) {
    Returns returns = workers_returns_;
    rejection.retry_after =
        returns.next(rejection.retry_after, 1, capacity_of(queue, now), returner, now);
  }
}

}  // namespace classgate::admission
