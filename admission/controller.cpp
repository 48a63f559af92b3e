#include "admission/controller.h"

#include <algorithm>

#include "conf/invariant.h"

namespace classgate::admission {

Controller::Controller(const conf::AdmissionSettings& settings)
    : settings_(settings), bucket_(settings.rate, settings.burst) {}

std::optional<Rejection> Controller::screen(const Arrival& arrival, Time now) {
  if (draining_) return reject(conf::Reason::draining, drain_time(), now);
  const Duration wait =
      arrival.rate_limited ? bucket_.wait_for(arrival.cost, now) : Duration::zero();
  if (wait > Duration::zero()) return reject(conf::Reason::rate_limited, wait, now);
  if (!may_go_in(arrival) && !could_make_room_for(arrival))
    return reject(conf::Reason::queue_full, drain_time(), now);
  if (arrival.rate_limited) bucket_.take(arrival.cost);
  return std::nullopt;
}

Verdict Controller::arrive(const Arrival& arrival, Time now) {
  if (may_go_in(arrival)) {
    books_.enter();
    return Admitted{take_worker(arrival.priority, arrival.route, Duration::zero(), now)};
  }
  if (!could_make_room_for(arrival)) return reject(conf::Reason::queue_full, drain_time(), now);
  make_room_for(arrival, now);
  books_.enter();
  const Time deadline =
      std::min(arrival.at + settings_.request_timeout, now + settings_.queue_timeout);
  return queue_.join({.priority = arrival.priority,
                      .route = arrival.route,
                      .bytes = arrival.bytes,
                      .joined = now,
                      .deadline = deadline,
                      .owner = arrival.owner,
                      .tag = arrival.tag});
}

bool Controller::may_go_in(const Arrival& arrival) const {
  if (!has_free_worker()) return false;
  const Waiter* first = queue_.front();
  return first == nullptr || first->priority > arrival.priority;
}

Controller::Room Controller::room() const {
  return {std::max<std::size_t>(settings_.queue_size, queue_.size()),
          std::max(settings_.queue_bytes.count, queue_.bytes())};
}

// Whether there is room, or would be if everybody of a worse priority gave way.
bool Controller::could_make_room_for(const Arrival& arrival) const {
  const Room room = this->room();
  return queue_.size() - queue_.size_worse_than(arrival.priority) < room.places &&
         queue_.bytes() - queue_.bytes_worse_than(arrival.priority) + arrival.bytes <= room.bytes;
}

// The newest of the worst give way. One in almost every case; several only when their bodies are
// smaller than the newcomer's, and each of them has joined only once.
void Controller::make_room_for(const Arrival& arrival, Time now) {
  const Room room = this->room();
  while (queue_.size() >= room.places || queue_.bytes() + arrival.bytes > room.bytes) {
    const auto given_way = queue_.pop_newest_worse_than(arrival.priority);
    CLASSGATE_INVARIANT(given_way.has_value());
    books_.reject(conf::Reason::displaced, now);
    displaced_.push_back({given_way->ticket, given_way->waiter.owner, given_way->waiter.tag,
                          Rejection{conf::Reason::displaced, drain_time()}});
  }
}

bool Controller::leave(Ticket ticket, Departure why, Time now) {
  const std::optional<Waiter> waiter = queue_.leave(ticket);
  if (!waiter) return false;
  if (why == Departure::abandoned)
    books_.abandon();
  else
    books_.reject(conf::Reason::queue_timeout, now);
  return true;
}

void Controller::finish(const Outcome& outcome, const Seat& seat, Time now) {
  CLASSGATE_INVARIANT(active_ > 0);
  --active_;
  books_.close(outcome);
  books_.process_ended(std::max(now - seat.since, Duration::zero()), now);
}

std::optional<Notice> Controller::next(Time now) {
  if (!displaced_.empty()) {
    const Notice notice = displaced_.back();
    displaced_.pop_back();
    return notice;
  }
  if (!has_free_worker()) return std::nullopt;
  const Waiter* const first = queue_.front();
  if (first == nullptr) return std::nullopt;
  const Waiter waiter = *first;
  if (waiter.deadline <= now) {
    books_.reject(conf::Reason::queue_timeout, now);
    const Ticket ticket = queue_.take_front_of(waiter.priority, WaitQueue::Turn::passed_on);
    return Notice{ticket, waiter.owner, waiter.tag,
                  Rejection{conf::Reason::queue_timeout, drain_time()}};
  }
  const Ticket ticket = queue_.take_front_of(waiter.priority, WaitQueue::Turn::used);
  const Duration waited = std::max(now - waiter.joined, Duration::zero());
  const Seat seat = take_worker(waiter.priority, waiter.route, waited, now);
  return Notice{ticket, waiter.owner, waiter.tag, Granted{seat, waited}};
}

Seat Controller::take_worker(int priority, std::uint32_t route, Duration waited, Time now) {
  ++active_;
  CLASSGATE_INVARIANT(active_ <= workers());
  books_.wait_ended(waited, now);
  return {now, priority, route};
}

void Controller::refuse(conf::Reason reason, Time now) {
  books_.enter();
  books_.reject(reason, now);
}

void Controller::abandon() {
  books_.enter();
  books_.abandon();
}

Rejection Controller::reject(conf::Reason reason, Duration retry_after, Time now) {
  refuse(reason, now);
  return {reason, retry_after};
}

void Controller::reconfigure(const conf::AdmissionSettings& settings, Time now) {
  bucket_.reconfigure(settings.rate, settings.burst, now);
  settings_ = settings;
}

Duration Controller::drain_time() const {
  const auto ahead = static_cast<Duration::rep>(queue_.size() + 1);
  // Without a worker of its own (all are lent) the time is anybody's guess: as if it had one.
  const Duration estimate = books_.recent_process_time() * ahead / std::max(workers(), 1U);
  return std::max<Duration>(estimate, std::chrono::seconds(1));
}

Snapshot Controller::snapshot(Time now) const {
  Snapshot snapshot;
  books_.write_to(snapshot, now);
  snapshot.workers = workers();
  snapshot.active_workers = active_;
  snapshot.workers_without_client = orphans_;
  snapshot.queue_limit = settings_.queue_size;
  snapshot.waiting = queue_.size();
  for (int priority = conf::priority_best; priority <= conf::priority_worst; ++priority)
    snapshot.waiting_by_priority[static_cast<std::size_t>(priority - 1)] = queue_.size_of(priority);
  snapshot.waiting_bytes = queue_.bytes();
  snapshot.draining = draining_;
  return snapshot;
}

}  // namespace classgate::admission
