#include "admission/fair_rank.h"

#include <algorithm>

#include "conf/invariant.h"

namespace classgate::admission {

void FairRank::make_ready(std::size_t waiting) {
  if (first_closed_ == none && lines_.size() == lines_.capacity()) {
    const std::size_t more = std::max<std::size_t>(64, 2 * lines_.size());
    lines_.reserve(more);
    places_.reserve(more);
    turns_.reserve(more);
  }
  // It has an entry for every size that a line may have then.
  if (by_size_.capacity() < waiting + 2) by_size_.reserve(2 * (waiting + 2));
}

std::uint32_t FairRank::open(ClientNumber client, const Terms& terms, std::int64_t paid) {
  std::uint32_t line = first_closed_;
  if (line == none) {
    line = static_cast<std::uint32_t>(lines_.size());
    lines_.emplace_back();
    places_.push_back(none);
  } else {
    first_closed_ = lines_[line].next;
  }
  lines_[line] = {.client = client,
                  .weight = terms.weight,
                  .priority = terms.priority,
                  .start = std::max(now_, paid)};
  ++open_;
  ++open_by_priority_[index(terms.priority)];
  take_turn(line);
  return line;
}

std::int64_t FairRank::close(std::uint32_t line) {
  CLASSGATE_SHARED_INVARIANT(lines_[line].size == 0);
  if (places_[line] != none) lose_turn(line);
  lines_[line].next = first_closed_;
  first_closed_ = line;
  --open_by_priority_[index(lines_[line].priority)];
  if (--open_ == 0) now_ = std::max(now_, all_paid_);
  return lines_[line].start;
}

// ---- Turns -------------------------------------------------------------------------------------

void FairRank::serve(std::uint32_t line, std::uint64_t cost) {
  now_ = std::max(now_, lines_[line].start);
  // Its last waiter goes in: the line will be closed next, so its turn need not be moved now.
  if (lines_[line].size == 1) return pay(lines_[line], static_cast<std::int64_t>(cost));
  charge(line, static_cast<std::int64_t>(cost));
}

void FairRank::pay(Line& line, std::int64_t cost) {
  line.start = std::max(now_, line.start + price(cost, line.weight));
  all_paid_ = std::max(all_paid_, line.start);
}

void FairRank::charge(std::uint32_t line, std::int64_t cost) {
  Line& served = lines_[line];
  pay(served, cost);
  if (const std::uint32_t place = places_[line]; place != none)
    put(place, {order_of(served), turn_count_++, line});
}

std::int64_t FairRank::paid_after(std::int64_t paid, std::uint32_t weight, std::int64_t cost) {
  if (open_ == 0) return paid;
  paid = std::max(now_, std::max(now_, paid) + price(cost, weight));
  all_paid_ = std::max(all_paid_, paid);
  return paid;
}

void FairRank::park(std::uint32_t line) {
  if (places_[line] != none) lose_turn(line);
}

void FairRank::unpark(std::uint32_t line) {
  if (places_[line] != none) return;
  lines_[line].start = std::max(now_, lines_[line].start);
  take_turn(line);
}

void FairRank::take_turn(std::uint32_t line) {
  turns_.emplace_back();
  rise(turns_.size() - 1, {order_of(lines_[line]), turn_count_++, line});
}

void FairRank::lose_turn(std::uint32_t line) {
  const std::size_t place = places_[line];
  places_[line] = none;
  const Turn last = turns_.back();
  turns_.pop_back();
  if (place < turns_.size()) put(place, last);
}

// Puts a turn in the place of one that leaves the heap. The gap is moved down to a leaf first and
// the turn then up from there: it was the last of the heap, or has just been used, and so belongs
// near the leaves nearly always (Wegener, "Bottom-up heapsort", 1993).
void FairRank::put(std::size_t gap, const Turn& turn) {
  std::size_t below = 2 * gap + 1;
  for (; below + 1 < turns_.size(); below = 2 * gap + 1) {
    below += static_cast<std::size_t>(turns_[below + 1] < turns_[below]);
    set(gap, turns_[below]);
    gap = below;
  }
  if (below < turns_.size()) {
    set(gap, turns_[below]);
    gap = below;
  }
  rise(gap, turn);
}

void FairRank::rise(std::size_t gap, const Turn& turn) {
  for (; gap > 0; gap = (gap - 1) / 2) {
    const Turn& above = turns_[(gap - 1) / 2];
    if (!(turn < above)) break;
    set(gap, above);
  }
  set(gap, turn);
}

void FairRank::set(std::size_t place, const Turn& turn) {
  turns_[place] = turn;
  places_[turn.line] = static_cast<std::uint32_t>(place);
}

// ---- Sizes -------------------------------------------------------------------------------------

// Lines of the same size stand in one list; a size changes by one, so the largest is never far.
void FairRank::grow(std::uint32_t line) {
  if (lines_[line].size > 0) unlink(line);
  ++lines_[line].size;
  ++waiting_by_priority_[index(lines_[line].priority)];
  link(line);
}

void FairRank::shrink(std::uint32_t line) {
  unlink(line);
  --waiting_by_priority_[index(lines_[line].priority)];
  if (--lines_[line].size > 0) link(line);
}

void FairRank::link(std::uint32_t line) {
  Line& linked = lines_[line];
  if (linked.size >= by_size_.size()) by_size_.resize(linked.size + 1, none);
  linked.previous = none;
  linked.next = by_size_[linked.size];
  if (linked.next != none) lines_[linked.next].previous = line;
  by_size_[linked.size] = line;
  largest_size_ = std::max(largest_size_, linked.size);
}

void FairRank::unlink(std::uint32_t line) {
  const Line& linked = lines_[line];
  (linked.previous == none ? by_size_[linked.size] : lines_[linked.previous].next) = linked.next;
  if (linked.next != none) lines_[linked.next].previous = linked.previous;
  if (linked.size == largest_size_ && by_size_[linked.size] == none) --largest_size_;
}

std::uint32_t FairRank::largest() const {
  return largest_size_ == 0 ? none : by_size_[largest_size_];
}

}  // namespace classgate::admission
