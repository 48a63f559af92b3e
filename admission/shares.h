#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "admission/priority_set.h"
#include "admission/process_times.h"
#include "admission/time.h"
#include "conf/invariant.h"
#include "conf/settings.h"

namespace classgate::admission {

// Workers that are reserved for a priority, which others may borrow but must give back first.
//
// With W workers, priority p has a reserve of r(p) = floor(share(p) * W), at least 1 when the share
// is not zero; a(p) of its requests are at work. A worker that is free goes
//   1. to the best priority that waits and is owed: a(p) < r(p);
//   2. else to the best priority that waits and may borrow.
// Owed first is what "give back first" means: nobody is interrupted, but the next worker that comes
// back is the owner's, before any priority, so that the worst does not starve either. Who needs its
// worker for long can't give it back when it is wanted. Therefore
//   p may borrow freely when its requests lately took less than lend_time;
//   else (or when nothing is known of them) only while more workers are free, or back soon, than
//   are kept:
//     held(q) = min(r(q), 1 + peak(q))
//     kept(p) = min(W - 1, sum over q != p of max(0, held(q) - a(q)))
//     back soon: sum over q != p, of those that may borrow freely, of max(0, a(q) - held(q))
//   where peak(q) is the most that q wanted at once, at work or waiting, in the last one to two
//   minutes. So a reserve that nobody has used for a while is lent even to them, all but one
//   worker; and one worker goes round in any case. What quick ones have borrowed the owner has
//   back within lend_time: if that did not count, those of a worse priority would pass a better
//   one that may not borrow, for as long as they come.
// Without reserves everybody may borrow everything, and that is plain priority order.
//
// Invariants, held by the property test: workers out <= W. Whenever a worker is free while someone
// waits, everybody who waits is a slow borrower, and no more are free, or back soon, than are kept
// for others. An owed priority never waits while a worker is free.
// O(priorities). Not thread-safe.
class Shares {
 public:
  using ByPriority = std::array<std::uint32_t, conf::priority_count>;

  explicit Shares(const conf::ReserveSettings& settings) { reconfigure(settings); }
  void reconfigure(const conf::ReserveSettings& settings);
  // How many priorities have a reserve: fewer workers than that cannot be shared out.
  std::uint32_t reserves() const { return reserves_; }

  void take(int priority, std::uint32_t workers) { active_[index(priority)] += workers; }
  void give_back(int priority, std::uint32_t workers, Duration took, Time now) {
    CLASSGATE_SHARED_INVARIANT(active_[index(priority)] >= workers);
    active_[index(priority)] -= workers;
    if (reserves_ > 0) times_[index(priority)].record(took, now);
  }
  // So many of a priority wait now; told whenever their number has grown.
  void note_waiting(int priority, std::size_t waiting, Time now) {
    if (reserves_ > 0) note_demand(priority, waiting, now);
  }

  // How a free worker may be taken, of `workers` of which `free` are.
  bool is_owed(int priority, std::uint32_t workers) const;
  bool may_borrow(int priority, std::uint32_t workers, std::uint32_t free, Time now) const;

  // Which of those that wait takes a free worker, 0 for none.
  int whose_turn(std::uint32_t workers, std::uint32_t free, Time now, PrioritySet waiting) const {
    if (free == 0) return 0;
    return reserves_ == 0 ? waiting.best() : whose_turn_of_reserves(workers, free, now, waiting);
  }

  std::uint32_t reserve(int priority, std::uint32_t workers) const;
  const ByPriority& active() const { return active_; }

 private:
  static std::size_t index(int priority) { return static_cast<std::size_t>(priority - 1); }
  int whose_turn_of_reserves(std::uint32_t workers, std::uint32_t free, Time now,
                             PrioritySet waiting) const;
  void note_demand(int priority, std::size_t waiting, Time now);
  std::uint32_t peak(std::size_t priority, Time now) const;
  bool is_slow(int priority) const;

  // The most in this turn of a minute and in the one before.
  struct Demand {
    std::uint32_t current = 0;
    std::uint32_t previous = 0;
    Time turn_began{};
  };
  static constexpr Duration turn = std::chrono::minutes(1);

  std::array<double, conf::priority_count> shares_{};
  Duration lend_time_{};
  std::uint32_t reserves_ = 0;
  ByPriority active_{};
  std::array<Demand, conf::priority_count> demands_{};
  std::array<ProcessTime, conf::priority_count> times_;
};

}  // namespace classgate::admission
