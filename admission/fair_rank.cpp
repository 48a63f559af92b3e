#include "admission/fair_rank.h"

#include <algorithm>

#include "conf/invariant.h"

namespace classgate::admission {

void FairRank::make_room(std::size_t waiting) {
  if (first_closed_ == none && flows_.size() == flows_.capacity()) {
    const std::size_t more = std::max<std::size_t>(64, 2 * flows_.size());
    flows_.reserve(more);
    places_.reserve(more);
    turns_.reserve(more);
  }
  // It has an entry for every size that a flow may have then.
  if (by_size_.capacity() < waiting + 2) by_size_.reserve(2 * (waiting + 2));
}

std::uint32_t FairRank::open(ClientNumber client, const Terms& terms, std::int64_t paid) {
  std::uint32_t flow = first_closed_;
  if (flow == none) {
    flow = static_cast<std::uint32_t>(flows_.size());
    flows_.emplace_back();
    places_.push_back(none);
  } else {
    first_closed_ = flows_[flow].next;
  }
  flows_[flow] = {.client = client,
                  .weight = terms.weight,
                  .priority = terms.priority,
                  .start = std::max(now_, paid)};
  ++open_;
  ++open_by_priority_[index(terms.priority)];
  take_turn(flow);
  return flow;
}

std::int64_t FairRank::close(std::uint32_t flow) {
  CLASSGATE_SHARED_INVARIANT(flows_[flow].size == 0);
  if (places_[flow] != none) lose_turn(flow);
  flows_[flow].next = first_closed_;
  first_closed_ = flow;
  --open_by_priority_[index(flows_[flow].priority)];
  if (--open_ == 0) now_ = std::max(now_, all_paid_);
  return flows_[flow].start;
}

// ---- Turns -------------------------------------------------------------------------------------

void FairRank::serve(std::uint32_t flow, std::uint64_t cost) {
  now_ = std::max(now_, flows_[flow].start);
  // Its last waiter goes in: the flow will be closed next, so its turn need not be moved now.
  if (flows_[flow].size == 1) return pay(flows_[flow], static_cast<std::int64_t>(cost));
  charge(flow, static_cast<std::int64_t>(cost));
}

inline void FairRank::pay(Flow& flow, std::int64_t cost) {
  flow.start = std::max(now_, flow.start + price(cost, flow.weight));
  all_paid_ = std::max(all_paid_, flow.start);
}

void FairRank::charge(std::uint32_t flow, std::int64_t cost) {
  Flow& served = flows_[flow];
  pay(served, cost);
  if (const std::uint32_t place = places_[flow]; place != none)
    put(place, {order_of(served), turn_count_++, flow});
}

std::int64_t FairRank::paid_after(std::int64_t paid, std::uint32_t weight, std::int64_t cost) {
  if (open_ == 0) return paid;
  paid = std::max(now_, std::max(now_, paid) + price(cost, weight));
  all_paid_ = std::max(all_paid_, paid);
  return paid;
}

void FairRank::park(std::uint32_t flow) {
  if (places_[flow] != none) lose_turn(flow);
}

void FairRank::unpark(std::uint32_t flow) {
  if (places_[flow] != none) return;
  flows_[flow].start = std::max(now_, flows_[flow].start);
  take_turn(flow);
}

inline void FairRank::take_turn(std::uint32_t flow) {
  turns_.emplace_back();
  rise(turns_.size() - 1, {order_of(flows_[flow]), turn_count_++, flow});
}

inline void FairRank::lose_turn(std::uint32_t flow) {
  const std::size_t place = places_[flow];
  places_[flow] = none;
  const Turn last = turns_.back();
  turns_.pop_back();
  if (place < turns_.size()) put(place, last);
}

// Puts a turn in the place of one that leaves the heap. The gap is moved down to a leaf first and
// the turn then up from there: it was the last of the heap, or has just been used, and so belongs
// near the leaves nearly always (Wegener, "Bottom-up heapsort", 1993).
void FairRank::put(std::size_t gap, const Turn& turn) {
  const std::size_t size = turns_.size();
  std::size_t below = 2 * gap + 1;
  for (; below + 1 < size; below = 2 * gap + 1) {
    below += static_cast<std::size_t>(turns_[below + 1] < turns_[below]);
    set(gap, turns_[below]);
    gap = below;
  }
  if (below < size) {
    set(gap, turns_[below]);
    gap = below;
  }
  rise(gap, turn);
}

inline void FairRank::rise(std::size_t gap, const Turn& turn) {
  for (; gap > 0; gap = (gap - 1) / 2) {
    const Turn& above = turns_[(gap - 1) / 2];
    if (!(turn < above)) break;
    set(gap, above);
  }
  set(gap, turn);
}

inline void FairRank::set(std::size_t place, const Turn& turn) {
  turns_[place] = turn;
  places_[turn.flow] = static_cast<std::uint32_t>(place);
}

// ---- Sizes -------------------------------------------------------------------------------------

void FairRank::has_grown(std::uint32_t flow) {
  if (flows_[flow].size > 2) unlink(flows_[flow], flows_[flow].size - 1);
  link(flow);
}

void FairRank::has_shrunk(std::uint32_t flow) {
  unlink(flows_[flow], flows_[flow].size + 1);
  if (flows_[flow].size > 1) link(flow);
}

inline void FairRank::link(std::uint32_t flow) {
  Flow& linked = flows_[flow];
  if (linked.size >= by_size_.size()) by_size_.resize(linked.size + 1, none);
  linked.previous = none;
  linked.next = by_size_[linked.size];
  if (linked.next != none) flows_[linked.next].previous = flow;
  by_size_[linked.size] = flow;
  largest_size_ = std::max(largest_size_, linked.size);
}

inline void FairRank::unlink(const Flow& linked, std::uint32_t size) {
  (linked.previous == none ? by_size_[size] : flows_[linked.previous].next) = linked.next;
  if (linked.next != none) flows_[linked.next].previous = linked.previous;
  if (size == largest_size_ && by_size_[size] == none) --largest_size_;
}

}  // namespace classgate::admission
