#pragma once

#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "admission/time.h"

namespace classgate::simulation {

// What will happen, and to whom. Events at the same time happen in the order in which they were
// planned.
struct Event {
  enum class Kind : std::uint8_t { come, ready, alarm, computed };
  admission::Time at{};
  std::uint64_t sequence = 0;
  std::uint32_t slot = 0;
  std::uint32_t generation : 24 = 0;  // of the slot: what is planned for a former tenant is void
  Kind kind : 8 = Kind::come;

  bool is_before(const Event& other) const {
    return at != other.at ? at < other.at : sequence < other.sequence;
  }
};

// A heap ordered by (virtual time, sequence). Four children for each node: half as deep as a binary
// one, and the four lie side by side in memory.
class EventHeap {
 public:
  bool is_empty() const { return events_.empty(); }
  const Event& first() const { return events_.front(); }

  void push(const Event& event) {
    std::size_t at = events_.size();
    events_.push_back(event);
    while (at > 0) {
      const std::size_t parent = (at - 1) / 4;
      if (!event.is_before(events_[parent])) break;
      events_[at] = events_[parent];
      at = parent;
    }
    events_[at] = event;
  }

  Event pop() {
    const Event first = events_.front();
    const Event last = events_.back();
    events_.pop_back();
    if (!events_.empty()) sink(last);
    return first;
  }

 private:
  // Puts `event` where the first one was, and lets it sink to its place.
  void sink(const Event& event) {
    std::size_t at = 0;
    for (;;) {
      const std::size_t children = at * 4 + 1;
      if (children >= events_.size()) break;
      const std::size_t end = std::min(children + 4, events_.size());
      std::size_t least = children;
      for (std::size_t child = children + 1; child < end; ++child)
        if (events_[child].is_before(events_[least])) least = child;
      if (!events_[least].is_before(event)) break;
      events_[at] = events_[least];
      at = least;
    }
    events_[at] = event;
  }

  std::vector<Event> events_;
};

// The heap, and beside it a line for events that are planned in the order of their times, as
// time-outs of one length are. Most of these are void when they are due: in the heap each would
// have been in everybody's way until then.
class Agenda {
 public:
  bool is_empty() const { return heap_.is_empty() && line_.empty(); }
  const Event& first() const { return is_line_first() ? line_.front() : heap_.first(); }

  void push(const Event& event) { heap_.push(event); }
  // Goes into the heap all the same when it is due before one that was planned before it.
  void push_in_order(const Event& event) {
    if (!line_.empty() && event.at < line_.back().at) return heap_.push(event);
    line_.push_back(event);
  }
  Event pop() {
    if (!is_line_first()) return heap_.pop();
    const Event first = line_.front();
    line_.pop_front();
    return first;
  }

 private:
  bool is_line_first() const {
    return !line_.empty() && (heap_.is_empty() || line_.front().is_before(heap_.first()));
  }

  EventHeap heap_;
  std::deque<Event> line_;
};

}  // namespace classgate::simulation
