#include "admission/wait_queue.h"

namespace classgate::admission {

std::uint32_t WaitQueue::take_free_slot() {
  if (first_free_ == none) {
    slots_.emplace_back();
    return static_cast<std::uint32_t>(slots_.size() - 1);
  }
  const std::uint32_t index = first_free_;
  first_free_ = slots_[index].next;
  return index;
}

Ticket WaitQueue::join(const Waiter& waiter) {
  const std::uint32_t index = take_free_slot();
  Line& to = line(waiter.priority);
  Slot& slot = slots_[index];
  slot.waiter = waiter;
  slot.is_waiting = true;
  slot.previous = to.last;
  slot.next = none;
  (to.last == none ? to.first : slots_[to.last].next) = index;
  to.last = index;
  ++to.size;
  to.bytes += waiter.bytes;
  ++size_;
  bytes_ += waiter.bytes;
  return {index, slot.generation};
}

WaitQueue::Entry WaitQueue::take_out(std::uint32_t index) {
  Slot& slot = slots_[index];
  Line& from = line(slot.waiter.priority);
  (slot.previous == none ? from.first : slots_[slot.previous].next) = slot.next;
  (slot.next == none ? from.last : slots_[slot.next].previous) = slot.previous;
  --from.size;
  from.bytes -= slot.waiter.bytes;
  --size_;
  bytes_ -= slot.waiter.bytes;

  const Entry entry{{index, slot.generation}, slot.waiter};
  slot.is_waiting = false;
  ++slot.generation;
  slot.next = first_free_;
  first_free_ = index;
  return entry;
}

std::optional<Waiter> WaitQueue::leave(Ticket ticket) {
  if (ticket.slot >= slots_.size()) return std::nullopt;
  const Slot& slot = slots_[ticket.slot];
  if (!slot.is_waiting || slot.generation != ticket.generation) return std::nullopt;
  return take_out(ticket.slot).waiter;
}

const Waiter* WaitQueue::front() const {
  for (const Line& candidate : lines_)
    if (candidate.first != none) return &slots_[candidate.first].waiter;
  return nullptr;
}

std::optional<WaitQueue::Entry> WaitQueue::pop_front() {
  for (const Line& candidate : lines_)
    if (candidate.first != none) return take_out(candidate.first);
  return std::nullopt;
}

std::optional<WaitQueue::Entry> WaitQueue::pop_newest_worse_than(int priority) {
  for (int worst = conf::priority_worst; worst > priority; --worst)
    if (line(worst).last != none) return take_out(line(worst).last);
  return std::nullopt;
}

std::size_t WaitQueue::size_worse_than(int priority) const {
  std::size_t sum = 0;
  for (int worse = priority + 1; worse <= conf::priority_worst; ++worse) sum += size_of(worse);
  return sum;
}

std::uint64_t WaitQueue::bytes_worse_than(int priority) const {
  std::uint64_t sum = 0;
  for (int worse = priority + 1; worse <= conf::priority_worst; ++worse) sum += line(worse).bytes;
  return sum;
}

}  // namespace classgate::admission
