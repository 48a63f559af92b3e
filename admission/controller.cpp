#include "admission/controller.h"

#include <algorithm>
#include <utility>

#include "conf/invariant.h"

// What every request is asked is `inline`: otherwise the compiler calls each of these, which is a
// sixth of all the instructions of a decision.
namespace classgate::admission {
namespace {

std::size_t index(int priority) { return static_cast<std::size_t>(priority - 1); }

// Workers are shared out among the reserves: there are never fewer than those.
WorkerSearch::Bounds worker_bounds(const conf::AdmissionSettings& settings,
                                   std::uint32_t reserves) {
  const std::uint32_t most = std::max(settings.autos.workers_max, 1U);
  return {std::min(std::max({settings.autos.workers_min, reserves, 1U}), most), most};
}

RateFollower::Bounds rate_bounds(const conf::AdmissionSettings& settings) {
  return {std::min(settings.autos.rate_min, settings.rate), settings.rate};
}

// What says something about how much the upstream can take. How long a stream may last does not.
bool is_of_the_upstream(conf::Reason reason) {
  return conf::kind_of(reason) == conf::ReasonKind::service &&
         reason != conf::Reason::stream_too_long;
}

}  // namespace

Controller::Controller(const conf::AdmissionSettings& settings, const Ids& ids)
    : settings_(settings),
      ids_(ids),
      shares_(settings.reserve),
      worker_search_(worker_bounds(settings, shares_.reserves())),
      rate_follower_(rate_bounds(settings)) {
  ceilings_.set(Ceilings::Source::settings, settings.workers);
  if (settings.fairness.is_on) use_clients({});
}

void Controller::use_clients(Time now) {
  clients_.use(settings_.fairness, ids_, now);
  limits_.share_out();
  recognised_id_ = 0;
  queue_.expect_clients(settings_.fairness.clients_max + std::size_t{1});
}

std::optional<Rejection> Controller::screen(Arrival& arrival, Time now) {
  if (draining_) return reject({conf::Reason::draining, drain_time()}, arrival, {}, now);
  if (settings_.rate_is_auto) follow_rate(now);
  const ClientNumber client = recognise(arrival, now);
  if (is_beyond_share(arrival, client)) take_favour(arrival);
  const bool retries = client != no_client && is_retry(arrival);
  if (client != no_client && arrival.attempt != 0) attempts_.note(arrival.attempt);
  Asker asker = asker_of(client);
  const Limits::Wait wait = limits_.wait_for(arrival, client, now);
  asker.retries_too_much = retries && !clients_.may_retry(client, now);
  const Judgement judgement = judge(arrival, asker, wait, now);
  if (judgement.is_a_try) deadlines_.note_try(arrival.route, now);
  if (judgement.rejection) return reject(*judgement.rejection, arrival, asker, now);
  const bool exceeds_rate = wait.time > Duration::zero();
  exceeds_rate ? observe(arrival.observed, wait.reason) : limits_.take(arrival, client);
  if (judgement.would_miss_deadline) observe(arrival.observed, conf::Reason::would_miss_deadline);
  if (client != no_client)
    retries ? clients_.note_retry(client) : clients_.note_first_attempt(client);
  return std::nullopt;
}

// All that the rules say to a head but the first. Changes nothing: explain() asks too.
Controller::Judgement Controller::judge(const Arrival& arrival, const Asker& asker,
                                        const Limits::Wait& wait, Time now) const {
  const bool goes_in = may_go_in(arrival, asker, now);
  const auto refused = [&](conf::Reason reason, Duration retry_after) {
    return Judgement{.rejection = Rejection{reason, retry_after}, .goes_in = goes_in};
  };
  // A retry too many does no harm while there are workers to spare.
  if (asker.retries_too_much && !goes_in) return refused(conf::Reason::retry_budget, drain_time());
  if (wait.time > Duration::zero() && !settings_.observe.rate)
    return refused(wait.reason, wait.time);
  Judgement judgement{.goes_in = goes_in};
  if (arrival.deadline != Time::max()) judgement = judge_deadline(arrival, asker, goes_in, now);
  if (judgement.rejection || goes_in) return judgement;
  if (const auto full = no_place_for(arrival, asker))
    judgement.rejection = Rejection{*full, drain_time()};
  return judgement;
}

Verdict Controller::arrive(const Arrival& arrival, Time now) {
  if (arrival.deadline <= now) return reject({conf::Reason::deadline}, arrival, {}, now);
  const ClientNumber client = recognise(arrival, now);
  if (is_beyond_share(arrival, client)) {
    Arrival common = arrival;
    take_favour(common);
    return arrive(common, now);
  }
  if (arrival.cost_found != 0) limits_.settle(arrival, client, arrival.cost_found);
  const Asker asker = asker_of(client);
  if (may_go_in(arrival, asker, now)) {
    books_.enter();
    congestions_[index(arrival.priority)].note_empty();
    shares_.note_waiting(arrival.priority, arrival.workers, now);
    const Seat seat{now,
                    arrival.priority,
                    arrival.route,
                    client,
                    workers_for(arrival.workers),
                    arrival.observed,
                    is_favoured(arrival, client)};
    take_workers(seat, Duration::zero(), now);
    return Admitted{seat};
  }
  if (const auto full = no_place_for(arrival, asker))
    return reject({*full, drain_time()}, arrival, asker, now);
  const Time waits_until = std::min(
      {arrival.at + settings_.request_timeout, now + settings_.queue_timeout, arrival.deadline});
  const Waiter waiter{.priority = arrival.priority,
                      .route = arrival.route,
                      .cost = arrival.cost,
                      .bytes = arrival.bytes,
                      .joined = now,
                      .waits_until = waits_until,
                      .useful_until = arrival.deadline,
                      .owner = arrival.owner,
                      .tag = arrival.tag,
                      .client = client,
                      .weight = weight_of(client),
                      .workers = arrival.workers,
                      .observed = arrival.observed,
                      .is_favoured = is_favoured(arrival, client)};
  queue_.make_ready(waiter);  // or nothing has happened
  if (!has_place_for(arrival)) make_room_for(arrival, now);
  books_.enter();
  note_joined(arrival.priority, now);
  if (queue_.size() == 0) retry_after_.note_first_waiter(now);
  const Ticket ticket = queue_.join(waiter);
  if (client != no_client) {
    if (is_favoured(arrival, client)) clients_.favour(client);
    clients_.join(client);
    if (clients_.has_all_its_workers(client)) queue_.park(client);
  }
  return ticket;
}

// ---- Clients -----------------------------------------------------------------------------------

inline ClientNumber Controller::recognise(const Arrival& arrival, Time now) {
  if (arrival.client == 0 || !settings_.fairness.is_on) return no_client;
  // Most ask twice in a row, with their head and when they are ready. Only a newcomer, which would
  // be another one here, makes anybody forgotten.
  if (is_recognised(arrival)) return recognised_;
  const ClientTable::Found found = clients_.find_or_add(arrival.client, arrival.plan, now);
  queue_.prefetch(found.number, arrival.priority);
  if (found.is_new) queue_.forget(found.number);
  recognised_id_ = arrival.client;
  recognised_plan_ = arrival.plan;
  return recognised_ = found.number;
}

// Its client has all that its route's client_share gives to one at once.
bool Controller::is_beyond_share(const Arrival& arrival, ClientNumber client) const {
  if (!is_favoured(arrival, client)) return false;
  const auto share =
      static_cast<std::uint32_t>(arrival.client_share * static_cast<float>(workers()));
  return clients_.favoured(client) >= std::clamp(share, 1U, ClientTable::favoured_max);
}

void Controller::take_favour(Arrival& arrival) {
  arrival.priority = conf::priority_worst;
  arrival.client_share = 1;
}

inline Controller::Asker Controller::asker_of(ClientNumber client) const {
  if (client == no_client) return {};
  return {.number = client,
          .has_all_its_workers = clients_.has_all_its_workers(client),
          .has_all_its_places = clients_.has_all_its_places(client)};
}

inline std::uint16_t Controller::weight_of(ClientNumber client) const {
  return client == no_client ? std::uint16_t{1}
                             : static_cast<std::uint16_t>(clients_.plan_of(client).weight);
}

// ---- Whose turn it is --------------------------------------------------------------------------

// The priority that gets the next worker, if one is free.
inline int Controller::whose_turn(PrioritySet waiting, Time now) const {
  return shares_.whose_turn(workers(), free_workers(), now, waiting);
}

inline bool Controller::may_go_in(const Arrival& arrival, const Asker& asker, Time now) const {
  if (!has_free_workers(arrival.workers) || asker.has_all_its_workers) return false;
  const PrioritySet waiting = queue_.with_front();
  if (waiting.contains(arrival.priority)) return false;
  // As if it waited too.
  return whose_turn(waiting.with(arrival.priority), now) == arrival.priority;
}

// ---- What one who waits may expect --------------------------------------------------------------

// Whether waiting would be in vain; of one that has a deadline.
Controller::Judgement Controller::judge_deadline(const Arrival& arrival, const Asker& asker,
                                                 bool goes_in, Time now) const {
  const Duration wait = goes_in ? Duration::zero() : expected_wait(arrival, asker, now);
  const DeadlineRule::Judgement on_time = deadlines_.judge(arrival, wait, now);
  return {.rejection = on_time.rejection,
          .goes_in = goes_in,
          .is_a_try = on_time.is_a_try,
          .would_miss_deadline = on_time.is_observed};
}

// A request is refused once, by the first rule that does: so it is observed once.
void Controller::observe(std::optional<conf::Reason>& note, conf::Reason reason) {
  if (note) return;
  books_.observe(reason);
  note = reason;
}

// Where clients take turns, nobody has more ahead of it than its own and as many of each other.
std::size_t Controller::ahead_in_line(const Arrival& arrival, const Asker& asker) const {
  const int priority = arrival.priority;
  const std::size_t waiting = queue_.size_of(priority);
  if (order_of(priority) == WaitQueue::Order::newest_first) return 0;
  if (asker.number == no_client) return waiting;
  const std::size_t own = queue_.size_of(priority, asker.number);
  return std::min(waiting, (own + 1) * queue_.clients_in(priority));
}

Duration Controller::expected_wait(const Arrival& arrival, const Asker& asker, Time now) const {
  const int priority = arrival.priority;
  if (queue_.size_of(priority) == 0) return guessed_pace(priority);
  return paces_[index(priority)].wait_behind(ahead_in_line(arrival, asker), now);
}

std::size_t Controller::waiting_better_than(int priority) const {
  return queue_.size() - queue_.size_of(priority) - queue_.size_worse_than(priority);
}

// Of a line in which nobody waits yet: behind those of better priorities, all workers busy.
Duration Controller::guessed_pace(int priority) const {
  const std::size_t ahead = waiting_better_than(priority);
  return books_.usual_turn() * static_cast<Duration::rep>(ahead + 1) / std::max(workers(), 1U);
}

inline void Controller::note_joined(int priority, Time now) {
  const std::size_t waiting = queue_.size_of(priority);
  if (waiting == 0)
    paces_[index(priority)].begin([this, priority] { return guessed_pace(priority); }, now);
  shares_.note_waiting(priority, waiting + 1, now);
}

// ---- Room in the queue -------------------------------------------------------------------------

Controller::Room Controller::room() const {
  return {std::max<std::size_t>(settings_.queue_size, queue_.size()),
          std::max(settings_.queue_bytes.count, queue_.bytes())};
}

// Why it could not wait, if it had to.
inline std::optional<conf::Reason> Controller::no_place_for(const Arrival& arrival,
                                                            const Asker& asker) const {
  if (asker.has_all_its_places) return conf::Reason::client_queue;
  return has_place_for(arrival) ? std::nullopt : full_for(arrival, asker.number);
}

// The same of a queue that has no place left.
std::optional<conf::Reason> Controller::full_for(const Arrival& arrival,
                                                 ClientNumber client) const {
  // If everybody of a worse priority gave way.
  const Room room = this->room();
  const std::size_t places = queue_.size() - queue_.size_worse_than(arrival.priority);
  const std::uint64_t bytes = queue_.bytes() - queue_.bytes_worse_than(arrival.priority);
  if (places < room.places && bytes + arrival.bytes <= room.bytes) return std::nullopt;
  // If moreover one of its own priority gave way, of a client that has more waiting than this one
  // will have.
  const std::size_t largest = queue_.largest_size_of(arrival.priority);
  if (client == no_client || largest < queue_.size_of(arrival.priority, client) + 2)
    return conf::Reason::queue_full;
  const std::uint64_t freed = queue_.newest_of_largest(arrival.priority)->bytes;
  if (places <= room.places && bytes - freed + arrival.bytes <= room.bytes) return std::nullopt;
  return conf::Reason::queue_full;
}

bool Controller::needs_room_for(const Arrival& arrival) const {
  const Room room = this->room();
  return queue_.size() >= room.places || queue_.bytes() + arrival.bytes > room.bytes;
}

// The newest of the worst give way. One in almost every case; several only when their bodies are
// smaller than the newcomer's, and each of them has joined only once.
void Controller::make_room_for(const Arrival& arrival, Time now) {
  const Room room = this->room();
  while (queue_.size() >= room.places || queue_.bytes() + arrival.bytes > room.bytes) {
    if (displaced_.size() == displaced_.capacity())  // before anybody is sent away
      displaced_.reserve(std::max<std::size_t>(16, 2 * displaced_.size()));
    if (const auto worse = queue_.pop_newest_worse_than(arrival.priority)) {
      send_away(*worse, conf::Reason::displaced, now);
      continue;
    }
    const auto equal = queue_.pop_newest_of_largest(arrival.priority);
    CLASSGATE_SHARED_INVARIANT(equal.has_value());
    send_away(*equal, conf::Reason::fair_share, now);
  }
}

void Controller::send_away(const WaitQueue::Entry& waiting, conf::Reason reason, Time now) {
  displaced_.push_back(turn_away(waiting, reason, now));
}

bool Controller::leave(Ticket ticket, Departure why, Time now) {
  const std::optional<Waiter> waiter = queue_.leave(ticket);
  if (!waiter) return false;
  left_queue(*waiter, now);
  switch (why) {
    case Departure::abandoned: books_.abandon(); break;
    case Departure::timed_out: books_.reject(conf::Reason::queue_timeout, now); break;
    case Departure::missed_deadline: books_.reject(conf::Reason::deadline, now); break;
  }
  return true;
}

inline void Controller::left_queue(const Waiter& waiter, Time now) {
  if (queue_.size() == 0) {
    retry_after_.note_last_waiter_left(now);
    plans_are_new_ = false;
  }
  if (waiter.client == no_client) return;
  clients_.leave(waiter.client);
  if (waiter.is_favoured) clients_.unfavour(waiter.client);
}

void Controller::finish(const Outcome& outcome, const Seat& seat, Time now) {
  CLASSGATE_SHARED_INVARIANT(active_ >= seat.workers && in_flight_ > 0);
  if (settings_.workers_are_auto || settings_.rate_is_auto) follow(outcome, seat, now);
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
  const Duration work = std::min(outcome.work, took);
  books_.process_ended(work, now);
  if (outcome.kind == Outcome::Kind::processed) deadlines_.note_work(seat.route, work, now);
}

// What the upstream did tells what it can do.
void Controller::follow(const Outcome& outcome, const Seat& seat, Time now) {
  const bool has_succeeded = outcome.kind == Outcome::Kind::processed;
  const bool has_failed =
      outcome.kind == Outcome::Kind::failed && is_of_the_upstream(outcome.reason);
  if (has_succeeded) rate_follower_.note_finish();
  if (settings_.rate_is_auto) follow_rate(now);
  if (!settings_.workers_are_auto || (!has_succeeded && !has_failed)) return;
  if (has_succeeded && outcome.work == Outcome::no_work) return;  // a tunnel, or an error at once
  worker_search_.note_end({.has_succeeded = has_succeeded,
                           .since = seat.since + outcome.idle,
                           .active = active_,
                           .was_binding = active_ >= workers()},
                          now);
}

void Controller::follow_rate(Time now) {
  if (rate_follower_.tick(queue_.size() == 0, now))
    limits_.set_rate(rate_follower_.rate(), settings_.burst, now);
}

// ---- Who has news ------------------------------------------------------------------------------

std::optional<Notice> Controller::next(Time now) {
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
  if (late.reason)
    return turn_away({queue_.take_front_of(priority, WaitQueue::Turn::passed_on, order), waiter},
                     *late.reason, now);
  // Who wants several workers waits until they are free, and nobody passes by.
  if (!has_free_workers(waiter.workers)) return std::nullopt;
  const Ticket ticket = queue_.take_front_of(priority, WaitQueue::Turn::used, order);
  left_queue(waiter, now);
  const Duration waited = std::max(now - waiter.joined, Duration::zero());
  std::optional<conf::Reason> observed = waiter.observed;
  if (late.is_observed) observe(observed, conf::Reason::would_miss_deadline);
  if (note_gone_in(priority, waited, now)) observe(observed, conf::Reason::shed);
  const Granted granted{{now, priority, waiter.route, waiter.client, workers_for(waiter.workers),
                         observed, waiter.is_favoured},
                        waited};
  take_workers(granted.seat, waited, now);
  return std::optional<Notice>(std::in_place, ticket, waiter.owner, waiter.tag, granted);
}

// Whether it would have been shed, but for [observe].
inline bool Controller::note_gone_in(int priority, Duration waited, Time now) {
  paces_[index(priority)].move(now);
  Congestion& congestion = congestions_[index(priority)];
  const bool is_observed =
      congestion.is_on() && settings_.observe.shedding && waited >= settings_.target_wait;
  if (queue_.size_of(priority) == 0) congestion.note_empty();
  return is_observed;
}

inline WaitQueue::Order Controller::order_of(int priority) const {
  const bool is_adaptive = settings_.discipline == conf::Discipline::adaptive &&
                           congestions_[index(priority)].is_on() && !settings_.observe.shedding;
  return is_adaptive ? WaitQueue::Order::newest_first : WaitQueue::Order::oldest_first;
}

// From the worst priority up: the oldest of a congested line, once it has waited for the target.
std::optional<Notice> Controller::shed_overdue(Time now) {
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

Notice Controller::turn_away(const WaitQueue::Entry& entry, conf::Reason reason, Time now) {
  left_queue(entry.waiter, now);
  books_.reject(reason, now);
  Rejection rejection{reason};
  if (reason != conf::Reason::deadline)
    rejection.retry_after = return_time(
        entry.waiter.client == no_client ? 0 : clients_.id_of(entry.waiter.client), now);
  return {entry.ticket, entry.waiter.owner, entry.waiter.tag, rejection};
}

inline void Controller::take_workers(const Seat& seat, Duration waited, Time now) {
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

void Controller::settle(const Arrival& arrival, Time now) {
  const ClientNumber client = recognise(arrival, now);
  limits_.settle(arrival, client, arrival.cost_found);
  queue_.charge(client, arrival.priority, weight_of(client), arrival.cost_found);
}

void Controller::refuse(conf::Reason reason, Time now) {
  books_.enter();
  books_.reject(reason, now);
}

void Controller::abandon() {
  books_.enter();
  books_.abandon();
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

std::size_t Controller::place_of(const Arrival& arrival, const Asker& asker) const {
  return waiting_better_than(arrival.priority) + ahead_in_line(arrival, asker) + 1;
}

Rejection Controller::reject(Rejection rejection, const Arrival& arrival, const Asker& asker,
                             Time now) {
  refuse(rejection.reason, now);
  describe(rejection, arrival, asker, now);
  if (waits_for_tokens(rejection.reason))
    retry_after_.tell(rejection, arrival, limits_, allowances(arrival, now), now);
  else if (waits_for_workers(rejection))
    retry_after_.tell(rejection, arrival, queue_state(), now);
  return rejection;
}

// What is known of its place in the line.
void Controller::describe(Rejection& rejection, const Arrival& arrival, const Asker& asker,
                          Time now) const {
  switch (rejection.reason) {
    case conf::Reason::client_queue:
      rejection.places = clients_.plan_of(asker.number).queue_size;
      break;
    case conf::Reason::queue_full: rejection.places = settings_.queue_size; break;
    case conf::Reason::retry_budget:
    case conf::Reason::would_miss_deadline: break;
    default: return;
  }
  rejection.position = static_cast<std::uint32_t>(place_of(arrival, asker));
  rejection.estimate = expected_wait(arrival, asker, now);
}

void Controller::reconfigure(const conf::AdmissionSettings& settings, const Ids& ids, Time now) {
  settings_ = settings;
  ids_ = ids;
  ceilings_.set(Ceilings::Source::settings, settings.workers);
  retry_after_.reconfigure(settings);
  deadlines_.reconfigure(settings);
  shares_.reconfigure(settings.reserve);
  worker_search_.reconfigure(worker_bounds(settings, shares_.reserves()));
  rate_follower_.reconfigure(rate_bounds(settings));
  limits_.reconfigure(settings, ids, now);
  if (settings.rate_is_auto) limits_.set_rate(rate_follower_.rate(), settings.burst, now);
  if (!settings.fairness.is_on) return queue_.unpark_all();
  use_clients(now);
  plans_are_new_ = queue_.size() > 0;
  clients_.for_each([this](ClientNumber client) {
    if (clients_.waiting(client) == 0) return;
    clients_.has_all_its_workers(client) ? queue_.park(client) : queue_.unpark(client);
  });
}

Duration Controller::usual_work(RouteId route) const {
  const Duration work = deadlines_.usual_work(route);
  return work > Duration::zero() ? work : books_.usual_turn();
}

Snapshot Controller::snapshot(Time now) const {
  Snapshot snapshot;
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
  snapshot.rate = settings_.rate_is_auto ? rate_follower_.rate() : settings_.rate;
  snapshot.waiting_bytes = queue_.bytes();
  snapshot.draining = draining_;
  snapshot.clients = clients_.counts();
  return snapshot;
}

}  // namespace classgate::admission
