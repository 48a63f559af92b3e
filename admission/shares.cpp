#include "admission/shares.h"

namespace classgate::admission {

void Shares::reconfigure(const conf::ReserveSettings& settings) {
  shares_ = settings.shares;
  lend_time_ = settings.lend_time;
  reserves_ = static_cast<std::uint32_t>(
      std::ranges::count_if(shares_, [](double share) { return share > 0; }));
}

void Shares::note_demand(int priority, std::size_t waiting, Time now) {
  Demand& demand = demands_[index(priority)];
  const Duration age = now - demand.turn_began;
  if (age >= turn) {
    demand.previous = age < 2 * turn ? demand.current : 0;
    demand.current = 0;
    demand.turn_began = age < 2 * turn ? demand.turn_began + turn : now;
  }
  const auto wanted = active_[index(priority)] + static_cast<std::uint32_t>(waiting);
  demand.current = std::max(demand.current, wanted);
}

int Shares::whose_turn_of_reserves(std::uint32_t workers, std::uint32_t free, Time now,
                                   PrioritySet waiting) const {
  for (int priority = conf::priority_best; priority <= conf::priority_worst; ++priority)
    if (waiting.contains(priority) && is_owed(priority, workers)) return priority;
  for (int priority = conf::priority_best; priority <= conf::priority_worst; ++priority)
    if (waiting.contains(priority) && may_borrow(priority, workers, free, now)) return priority;
  return 0;
}

std::uint32_t Shares::peak(std::size_t priority, Time now) const {
  const Demand& demand = demands_[priority];
  const Duration age = now - demand.turn_began;
  if (age >= 2 * turn) return 0;
  return age >= turn ? demand.current : std::max(demand.current, demand.previous);
}

std::uint32_t Shares::reserve(int priority, std::uint32_t workers) const {
  const double share = shares_[index(priority)];
  if (share <= 0) return 0;
  // A billionth is added because 0.1 * 50 may come out just below 5, and is rounded down.
  return std::max(static_cast<std::uint32_t>(share * workers + 1e-9), 1U);
}

bool Shares::is_owed(int priority, std::uint32_t workers) const {
  return active_[index(priority)] < reserve(priority, workers);
}

bool Shares::is_slow(int priority) const {
  const Duration took = times_[index(priority)].mean();
  return took == Duration::zero() || took >= lend_time_;
}

bool Shares::may_borrow(int priority, std::uint32_t workers, std::uint32_t free, Time now) const {
  if (reserves_ == 0 || !is_slow(priority)) return free > 0;
  if (free == 0) return false;
  std::uint32_t kept = 0;
  std::uint32_t back_soon = 0;
  for (int other = conf::priority_best; other <= conf::priority_worst; ++other) {
    if (other == priority) continue;
    const std::uint32_t held = std::min(reserve(other, workers), 1 + peak(index(other), now));
    const std::uint32_t active = active_[index(other)];
    if (held > active)
      kept += held - active;
    else if (!is_slow(other))
      back_soon += active - held;
  }
  // One is never kept back: reserves that take all the workers there are (a ceiling has come, or
  // there never were more) would leave those without any for ever.
  return free + back_soon > std::min(kept, workers - 1);
}

}  // namespace classgate::admission
