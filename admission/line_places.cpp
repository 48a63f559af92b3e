// What place in the line one would have, and whether there is any.

#include "admission/explain.h"
#include "admission/line.h"
#include "conf/invariant.h"

namespace classgate::admission {

// ---- What one who waits may expect --------------------------------------------------------------

// Whether waiting would be in vain; of one that has a deadline.
Line::Judgement Line::judge_deadline(const Arrival& arrival, const Asker& asker, bool goes_in,
                                     Time now) const {
  const Duration wait = goes_in ? Duration::zero() : longest_wait(arrival, asker, now);
  const DeadlineRule::Judgement on_time = deadlines_.judge(arrival, wait, now);
  return {.rejection = on_time.rejection,
          .goes_in = goes_in,
          .is_a_try = on_time.is_a_try,
          .would_miss_deadline = on_time.is_observed};
}

std::size_t Line::place_of(const Arrival& arrival, const Asker& asker) const {
  return queue_.size_better_than(arrival.priority) + ahead_in_line(arrival, asker) + 1;
}

// Where clients take turns, nobody has more ahead of it than its own and as many of each other, and
// those of better plans.
std::size_t Line::ahead_in_line(const Arrival& arrival, const Asker& asker) const {
  const int priority = arrival.priority;
  const std::size_t waiting = queue_.size_of(priority);
  if (order_of(priority) == WaitQueue::Order::newest_first) return 0;
  if (asker.number == no_client) return waiting;
  return queue_.ahead_of(priority, asker.number, asker.plan_priority);
}

Duration Line::expected_wait(const Arrival& arrival, const Asker& asker, Time now) const {
  const int priority = arrival.priority;
  if (queue_.size_of(priority) == 0) return guessed_pace(priority);
  return paces_[index(priority)].wait_behind(ahead_in_line(arrival, asker), now);
}

// What it waits at most, as far as a deadline is concerned: with the caution of that rule. A part
// is kept for those who were refused and come when they were told to, as kept_places() has it: else
// one who comes as it likes takes each place that becomes free.
Duration Line::longest_wait(const Arrival& arrival, const Asker& asker, Time now) const {
  const LinePace& pace = paces_[index(arrival.priority)];
  const Duration wait = pace.most_of(expected_wait(arrival, asker, now), deadlines_.caution());
  if (!retry_after_.expects_returns(now) || is_due(arrival, asker, now)) return wait;
  return pace.with_part_kept(wait);
}

// Of a line in which nobody waits yet: behind those of better priorities, all workers busy.
Duration Line::guessed_pace(int priority) const {
  const std::size_t ahead = queue_.size_better_than(priority);
  return books_.usual_turn() * static_cast<Duration::rep>(ahead + 1) / std::max(workers(), 1U);
}

// What is known of its place in the line.
void Line::describe(Rejection& rejection, const Arrival& arrival, const Asker& asker,
                    Time now) const {
  switch (rejection.reason) {
    case conf::Reason::client_queue:
      rejection.places = clients_.plan_of(asker.number).queue_size;
      break;
    case conf::Reason::queue_full: rejection.places = settings_.queue_size; break;
    case conf::Reason::too_soon:
    case conf::Reason::retry_budget:
    case conf::Reason::would_miss_deadline: break;
    default: return;
  }
  rejection.position = static_cast<std::uint32_t>(place_of(arrival, asker));
  rejection.estimate = expected_wait(arrival, asker, now);
}

void Line::write_to(Explanation& said, const Arrival& arrival, const Asker& asker, bool goes_in,
                    Time now) const {
  said.workers = workers();
  said.active = active_;
  said.wanted = std::max(std::min<std::uint32_t>(arrival.workers, workers()), 1U);
  said.reserved_for_priority = shares_.reserve(arrival.priority, workers());
  said.active_of_priority = shares_.active()[index(arrival.priority)];
  said.waiting = queue_.size();
  said.queue_limit = settings_.queue_size;
  said.waiting_bytes = queue_.bytes();
  said.waiting_bytes_limit = settings_.queue_bytes.count;
  said.work = usual_work(arrival.route);
  said.most_work = deadlines_.most_work(arrival.route);
  if (goes_in) return;
  said.place = place_of(arrival, asker);
  said.wait = expected_wait(arrival, asker, now);
  said.wait_least = paces_[index(arrival.priority)].least_of(said.wait);
  said.wait_most = paces_[index(arrival.priority)].most_of(said.wait);
  said.displaces = said.kind == Explanation::Kind::waits &&
                   !has_place_in(room_for(arrival, asker, now), arrival);
}

// ---- Room in the queue --------------------------------------------------------------------------

// Of a queue that has no place left for it.
std::optional<conf::Reason> Line::full_for(const Room& room, const Arrival& arrival,
                                           ClientNumber client) const {
  // If everybody of a worse priority gave way.
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

// The newest of the worst give way. One in almost every case; several only when their bodies are
// smaller than the newcomer's, and each of them has joined only once.
void Line::make_room_for(const Room& room, const Arrival& arrival, Time now) {
  while (!has_place_in(room, arrival)) {
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

void Line::send_away(const WaitQueue::Entry& waiting, conf::Reason reason, Time now) {
  displaced_.push_back(turn_away(waiting, reason, now));
}

}  // namespace classgate::admission
