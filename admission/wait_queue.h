#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "admission/time.h"
#include "conf/settings.h"

namespace classgate::admission {

// A place in the queue. Tickets are never mixed up: a slot that is used again has a new generation.
struct Ticket {
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;
  bool operator==(const Ticket&) const = default;
};

struct Waiter {
  int priority = conf::priority_worst;
  std::uint32_t route = 0;
  std::uint64_t bytes = 0;  // body held while waiting
  Time joined{};
  Time deadline{};
  std::uint32_t owner = 0;  // the loop that is told when it is this waiter's turn
  std::uint32_t tag = 0;    // what the owner knows it by
};

// The bounded waiting room: priority first, FIFO inside a priority. Every operation is O(1): the
// waiters stand in one slab, linked by index into a list for each priority (the state of a slot is
// which list it is on), and freed slots are used again. Memory grows with the largest number that
// ever waited. Not thread-safe.
class WaitQueue {
 public:
  struct Entry {
    Ticket ticket;
    Waiter waiter;
  };

  Ticket join(const Waiter& waiter);
  // Takes a waiter out from wherever it stands; nothing when it no longer waits.
  std::optional<Waiter> leave(Ticket ticket);
  // The next to go in stays where it is (front) or is taken out (pop_front).
  const Waiter* front() const;
  std::optional<Entry> pop_front();
  // Takes out the newest waiter of the worst priority, if that is worse than `priority`.
  std::optional<Entry> pop_newest_worse_than(int priority);

  std::size_t size() const { return size_; }
  std::uint64_t bytes() const { return bytes_; }
  std::size_t size_of(int priority) const { return line(priority).size; }
  // What stands behind `priority`: could give way to it.
  std::size_t size_worse_than(int priority) const;
  std::uint64_t bytes_worse_than(int priority) const;

 private:
  static constexpr std::uint32_t none = 0xffffffff;
  struct Slot {
    Waiter waiter;
    std::uint32_t generation = 0;
    std::uint32_t previous = none;
    std::uint32_t next = none;  // also links the free slots
    bool is_waiting = false;
  };
  struct Line {
    std::uint32_t first = none;
    std::uint32_t last = none;
    std::size_t size = 0;
    std::uint64_t bytes = 0;
  };

  Line& line(int priority) { return lines_[static_cast<std::size_t>(priority - 1)]; }
  const Line& line(int priority) const { return lines_[static_cast<std::size_t>(priority - 1)]; }
  std::uint32_t take_free_slot();
  Entry take_out(std::uint32_t index);

  std::vector<Slot> slots_;
  std::uint32_t first_free_ = none;
  std::array<Line, conf::priority_count> lines_;
  std::size_t size_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace classgate::admission
