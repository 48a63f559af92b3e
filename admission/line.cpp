#include "admission/line.h"

#include <utility>

#include "conf/invariant.h"

// What every request is asked is `inline`: otherwise the compiler calls each of these, which is a
// sixth of all the instructions of a decision.
namespace classgate::admission {
namespace {

// Workers are shared out among the reserves: there are never fewer than those.
WorkerSearch::Bounds worker_bounds(const conf::AdmissionSettings& settings,
                                   std::uint32_t reserves) {
  const std::uint32_t most = std::max(settings.autos.workers_max, 1U);
  return {std::min(std::max({settings.autos.workers_min, reserves, 1U}), most), most};
}

// What says something about how much the service can take. How long a stream may last does not.
bool is_of_the_service(conf::Reason reason) {
  return conf::kind_of(reason) == conf::ReasonKind::service &&
         reason != conf::Reason::stream_too_long;
}

std::size_t clients_that_may_be(const conf::FairnessSettings& fairness) {
  return std::size_t{fairness.clients_max} + fairness.network_max + fairness.unknown_max + 1;
}

}  // namespace

Line::Line(const conf::AdmissionSettings& settings, ClientTable& clients, RetryAfter& retry_after)
    : settings_(settings),
      clients_(clients),
      retry_after_(retry_after),
      shares_(settings.reserve),
      worker_search_(worker_bounds(settings, shares_.reserves())),
      deadlines_(settings) {
  set_ceiling(Ceilings::Source::settings, settings.workers);
  if (settings.fairness.is_on) queue_.expect_clients(clients_that_may_be(settings.fairness));
}

void Line::reconfigure(const conf::AdmissionSettings& settings) {
  settings_ = settings;
  deadlines_.reconfigure(settings);
  shares_.reconfigure(settings.reserve);
  worker_search_.reconfigure(worker_bounds(settings, shares_.reserves()));
  set_ceiling(Ceilings::Source::settings, settings.workers);
  if (!settings.fairness.is_on) return queue_.unpark_all();
  queue_.expect_clients(clients_that_may_be(settings.fairness));
  plans_are_new_ = queue_.size() > 0;
  clients_.for_each([this](ClientNumber client) {
    if (clients_.waiting(client) == 0) return;
    clients_.has_all_its_workers(client) ? queue_.park(client) : queue_.unpark(client);
  });
}

// ---- Who comes ----------------------------------------------------------------------------------

Verdict Line::arrive(const Arrival& arrival, ClientNumber client, Time now) {
  const Asker asker = asker_of(client);
  if (may_go_in(arrival, asker, now)) return let_in(arrival, asker, now);
  const Room room = room_for(arrival, asker, now);
  if (const auto full = no_place_in(room, arrival, asker)) {
    Rejection rejection{*full, drain_time()};
    reject(rejection, arrival, asker, now);
    return rejection;
  }
  return let_wait(arrival, asker, room, now);
}

Verdict Line::let_in(const Arrival& arrival, const Asker& asker, Time now) {
  books_.enter();
  if (!note_came(arrival, asker, now)) note_in_turn(workers_for(arrival.workers), now);
  congestions_[index(arrival.priority)].note_empty();
  shares_.note_waiting(arrival.priority, arrival.workers, now);
  const Seat seat{now,
                  arrival.priority,
                  arrival.route,
                  asker.number,
                  workers_for(arrival.workers),
                  arrival.observed,
                  is_favoured(arrival, asker.number)};
  take_workers(seat, Duration::zero(), now);
  note_served(asker.number, arrival.rate_limited, arrival.cost, now);
  return Admitted{seat};
}

// There is a place for it, or others give way.
Verdict Line::let_wait(const Arrival& arrival, const Asker& asker, const Room& room, Time now) {
  const Terms terms = arrival.terms ? *arrival.terms : Terms::of(settings_);
  const ClientNumber client = asker.number;
  Waiter waiter{.priority = arrival.priority,
                .route = arrival.route,
                .cost = arrival.cost,
                .bytes = arrival.bytes,
                .joined = now,
                .waits_until = terms.waits_until(arrival.at, now, arrival.deadline),
                .useful_until = arrival.deadline,
                .owner = arrival.owner,
                .tag = arrival.tag,
                .client = client,
                .weight = static_cast<std::uint16_t>(asker.weight),
                .plan_priority = static_cast<std::uint8_t>(asker.plan_priority),
                .workers = arrival.workers,
                .observed = arrival.observed,
                .is_favoured = is_favoured(arrival, client),
                .is_limited = arrival.rate_limited};
  queue_.make_ready(waiter);  // or nothing has happened
  waiter.is_early = note_came(arrival, asker, now);
  if (!has_place_in(room, arrival)) make_room_for(room, arrival, now);
  const std::size_t ahead = ahead_in_line(arrival, asker);
  last_place_ = static_cast<std::uint32_t>(queue_.size_better_than(arrival.priority) + ahead + 1);
  books_.enter();
  note_joined(arrival.priority, now);
  LinePace& pace = paces_[index(arrival.priority)];
  if (pace.is_looked_at() && order_of(arrival.priority) == WaitQueue::Order::oldest_first)
    waiter.expected = static_cast<float>(measure::in_seconds(pace.wait_behind(ahead, now)));
  if (queue_.size() == 0) {
    retry_after_.note_first_waiter(now);
    waited_since_ = now;
  }
  const Ticket ticket = queue_.join(waiter);
  if (client != no_client) {
    if (waiter.is_favoured) clients_.favour(client);
    clients_.join(client);
    if (asker.has_all_its_workers) queue_.park(client);
  }
  return ticket;
}

inline void Line::note_joined(int priority, Time now) {
  const std::size_t waiting = queue_.size_of(priority);
  if (waiting == 0)
    paces_[index(priority)].begin([this, priority] { return guessed_pace(priority); },
                                  books_.usual_turn(), now);
  shares_.note_waiting(priority, waiting + 1, now);
}

bool Line::has_its_share(const Arrival& arrival, ClientNumber client) const {
  const auto share =
      static_cast<std::uint32_t>(arrival.client_share * static_cast<float>(workers()));
  return clients_.favoured(client) >= std::clamp(share, 1U, ClientTable::favoured_max);
}

void Line::reject(Rejection& rejection, const Arrival& arrival, const Asker& asker, Time now) {
  refuse(rejection.reason, now);
  // Not who would have missed it without any line: of that nobody is in doubt.
  if (rejection.reason == conf::Reason::would_miss_deadline && waits_for_workers(rejection))
    deadlines_.note_refused();
  describe(rejection, arrival, asker, now);
  if (waits_for_workers(rejection)) retry_after_.tell(rejection, arrival, queue_state(), now);
}

// ---- Who leaves, and workers that come back -----------------------------------------------------

bool Line::leave(Ticket ticket, Departure why, Time now) {
  const std::optional<Waiter> waiter = queue_.leave(ticket);
  if (!waiter) return false;
  left_queue(*waiter, now);
  switch (why) {
    case Departure::abandoned: books_.abandon(); break;
    case Departure::timed_out: books_.reject(conf::Reason::queue_timeout, now); break;
    case Departure::missed_deadline:
      note_in_vain(*waiter);
      books_.reject(conf::Reason::deadline, now);
      break;
  }
  return true;
}

inline void Line::left_queue(const Waiter& waiter, Time now) {
  if (queue_.size() == 0) {
    retry_after_.note_last_waiter_left(now);
    plans_are_new_ = false;
  }
  if (waiter.client == no_client) return;
  clients_.leave(waiter.client);
  if (waiter.is_favoured) clients_.unfavour(waiter.client);
}

void Line::finish(const Outcome& outcome, const Seat& seat, Time now) {
  CLASSGATE_SHARED_INVARIANT(active_ >= seat.workers && in_flight_ > 0);
  if (settings_.workers_are_auto) follow(outcome, seat, now);
  active_ -= seat.workers;
  --in_flight_;
  if (seat.client != no_client) {
    const bool had_all = clients_.has_all_its_workers(seat.client);
    clients_.return_workers(seat.client, seat.workers);
    if (seat.is_favoured) clients_.unfavour(seat.client);
    // Since a reload it may have another plan, and be parked by the old one.
    if ((had_all || plans_are_new_) && !clients_.has_all_its_workers(seat.client))
      queue_.unpark(seat.client);
  }
  const Duration took = std::max(now - seat.since - outcome.idle, Duration::zero());
  shares_.give_back(seat.priority, seat.workers, took, now);
  books_.close(outcome, now);
  if (outcome.idle != Outcome::all_the_time) books_.worker_came_back(took);
  if (outcome.work == Outcome::no_work) return;
  // Where that is only observed, one that would have been refused counts as refused. How long a
  // stream lasts was nobody's guess.
  if (seat.observed == conf::Reason::would_miss_deadline)
    deadlines_.note_refused();
  else if (outcome.is_too_late && outcome.work == Outcome::all_the_time)
    deadlines_.note_in_vain();
  const Duration work = std::min(outcome.work, took);
  books_.process_ended(work, now);
  if (outcome.kind == Outcome::Kind::processed) deadlines_.note_work(seat.route, work, now);
}

// What the service did tells what it can do.
void Line::follow(const Outcome& outcome, const Seat& seat, Time now) {
  const bool has_succeeded = outcome.kind == Outcome::Kind::processed;
  const bool has_failed =
      outcome.kind == Outcome::Kind::failed && is_of_the_service(outcome.reason);
  if (!has_succeeded && !has_failed) return;
  if (has_succeeded && outcome.work == Outcome::no_work) return;  // a tunnel, or an error at once
  worker_search_.note_end({.has_succeeded = has_succeeded,
                           .since = seat.since + outcome.idle,
                           .active = active_,
                           .was_binding = active_ >= workers()},
                          now);
  count_workers();
}

// ---- Who has news -------------------------------------------------------------------------------

std::optional<Notice> Line::next(Time now) {
  if (!displaced_.empty()) {
    const Notice notice = displaced_.back();
    displaced_.pop_back();
    return notice;
  }
  if (settings_.discipline == conf::Discipline::adaptive)
    if (const auto notice = shed_overdue(now)) return notice;
  const int priority = whose_turn(queue_.with_front(), now);
  if (priority == 0) return std::nullopt;
  const WaitQueue::Order order = order_of(priority);
  const Waiter& waiter = *queue_.front_of(priority, order);  // stays what it is until another joins
  const DeadlineRule::Lateness late = deadlines_.lateness(waiter, now);
  if (late.reason || has_free_workers(waiter.workers)) note_turn(waiter, now);
  if (late.reason)
    return turn_away({queue_.take_front(waiter, WaitQueue::Turn::passed_on, order), waiter},
                     *late.reason, now);
  // Who wants several workers waits until they are free, and nobody passes by.
  if (!has_free_workers(waiter.workers)) return std::nullopt;
  const Ticket ticket = queue_.take_front(waiter, WaitQueue::Turn::used, order);
  left_queue(waiter, now);
  const Duration waited = std::max(now - waiter.joined, Duration::zero());
  const bool was_early = waiter.is_early;
  std::optional<conf::Reason> observed = waiter.observed;
  if (late.is_observed) observe(observed, conf::Reason::would_miss_deadline);
  if (note_gone_in(priority, waited, now)) observe(observed, conf::Reason::shed);
  const Granted granted{{now, priority, waiter.route, waiter.client, workers_for(waiter.workers),
                         observed, waiter.is_favoured},
                        waited};
  if (!was_early) note_in_turn(granted.seat.workers, now);
  take_workers(granted.seat, waited, now);
  note_served(waiter.client, waiter.is_limited, waiter.cost, now);
  return std::optional<Notice>(std::in_place, ticket, waiter.owner, waiter.tag, granted);
}

inline void Line::note_turn(const Waiter& waiter, Time now) {
  if (waiter.expected > 0)
    paces_[index(waiter.priority)].note_wait(measure::in_seconds(now - waiter.joined),
                                             static_cast<double>(waiter.expected));
}

// Whether it would have been shed, but for [observe].
inline bool Line::note_gone_in(int priority, Duration waited, Time now) {
  paces_[index(priority)].move(books_.usual_turn(), workers(), now);
  Congestion& congestion = congestions_[index(priority)];
  const bool is_observed =
      congestion.is_on() && settings_.observe.shedding && waited >= settings_.target_wait;
  if (queue_.size_of(priority) == 0) congestion.note_empty();
  return is_observed;
}

// From the worst priority up: the oldest of a congested line, once it has waited for the target.
std::optional<Notice> Line::shed_overdue(Time now) {
  for (int priority = conf::priority_worst; priority >= conf::priority_best; --priority) {
    const Waiter* const oldest = queue_.oldest_of(priority);
    if (oldest == nullptr) continue;
    Congestion& congestion = congestions_[index(priority)];
    const Duration waited = now - oldest->joined;
    congestion.note_wait(waited, settings_.target_wait, now);
    if (congestion.is_on() && waited >= settings_.target_wait && !settings_.observe.shedding)
      return turn_away(*queue_.pop_oldest_of(priority), conf::Reason::shed, now);
  }
  return std::nullopt;
}

Notice Line::turn_away(const WaitQueue::Entry& entry, conf::Reason reason, Time now) {
  left_queue(entry.waiter, now);
  books_.reject(reason, now);
  if (reason == conf::Reason::deadline || reason == conf::Reason::would_miss_deadline)
    note_in_vain(entry.waiter);
  Rejection rejection{reason};
  if (reason != conf::Reason::deadline) {
    const ClientNumber client = entry.waiter.client;
    rejection.retry_after = retry_after_.time_for_worker(
        drain_time(), {client == no_client ? 0 : clients_.id_of(client)}, queue_state(), now);
  }
  return {entry.ticket, entry.waiter.owner, entry.waiter.tag, rejection};
}

inline void Line::take_workers(const Seat& seat, Duration waited, Time now) {
  active_ += seat.workers;
  ++in_flight_;
  CLASSGATE_SHARED_INVARIANT(active_ <= workers());
  shares_.take(seat.priority, seat.workers);
  if (seat.client != no_client) {
    clients_.take_workers(seat.client, seat.workers);
    if (seat.is_favoured) clients_.favour(seat.client);
    if (clients_.has_all_its_workers(seat.client)) queue_.park(seat.client);
  }
  books_.wait_ended(waited, now);
}

// ---- How it stands ------------------------------------------------------------------------------

Duration Line::usual_work(RouteId route) const {
  const Duration work = deadlines_.usual_work(route);
  return work > Duration::zero() ? work : books_.usual_turn();
}

Wanted Line::wanted() const {
  Wanted wanted{.in_use = active_};
  for (int priority = conf::priority_best; priority <= conf::priority_worst; ++priority) {
    const std::size_t i = index(priority);
    wanted.workers[i] = shares_.active()[i] + static_cast<std::uint32_t>(queue_.size_of(priority));
    wanted.clients[i] = queue_.clients_in(priority);
  }
  return wanted;
}

void Line::write_to(Snapshot& snapshot, Time now) const {
  books_.write_to(snapshot, now);
  snapshot.workers = workers();
  snapshot.active_workers = active_;
  snapshot.in_flight = in_flight_;
  snapshot.workers_without_client = orphans_;
  snapshot.queue_limit = settings_.queue_size;
  snapshot.waiting = queue_.size();
  for (int priority = conf::priority_best; priority <= conf::priority_worst; ++priority) {
    const std::size_t i = index(priority);
    snapshot.waiting_by_priority[i] = queue_.size_of(priority);
    snapshot.active_by_priority[i] = shares_.active()[i];
    snapshot.reserved_by_priority[i] = shares_.reserve(priority, workers());
    snapshot.congested[i] = order_of(priority) == WaitQueue::Order::newest_first;
  }
  snapshot.waiting_bytes = queue_.bytes();
}

}  // namespace classgate::admission
