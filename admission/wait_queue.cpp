#include "admission/wait_queue.h"

#include <algorithm>

#include "conf/invariant.h"

namespace classgate::admission {

inline void WaitQueue::know(ClientNumber client) {
  if (client < known_clients_) return;
  standings_.resize(client + 1);
  known_clients_ = client + 1;
}

// The flow a client has in a priority.
std::uint32_t WaitQueue::flow_of(ClientNumber client, int priority) const {
  if (client == no_client) return plain;
  if (client >= known_clients_) return none;
  const std::int64_t standing = standings_[client][index(priority)];
  return standing < 0 ? static_cast<std::uint32_t>(~standing) : none;
}

// The same, opened if need be.
inline std::uint32_t WaitQueue::flow_for(const Waiter& waiter) {
  if (waiter.client == no_client) return plain;
  know(waiter.client);
  std::int64_t& standing = this->standing(waiter.client, waiter.priority);
  if (standing < 0) return static_cast<std::uint32_t>(~standing);
  const std::uint32_t opened =
      room(waiter.priority)
          .rank.open(waiter.client, {waiter.weight, waiter.plan_priority}, standing);
  standing = ~static_cast<std::int64_t>(opened);
  return opened;
}

inline std::uint32_t WaitQueue::take_free_slot() {
  if (first_free_ == none) {
    slots_.emplace_back();
    return static_cast<std::uint32_t>(slots_.size() - 1);
  }
  const std::uint32_t index = first_free_;
  first_free_ = slots_[index].next;
  return index;
}

void WaitQueue::make_room(const Waiter& waiter) {
  if (first_free_ == none && slots_.size() == slots_.capacity())
    slots_.reserve(std::max<std::size_t>(64, 2 * slots_.size()));
  if (waiter.client != no_client) know(waiter.client);
}

Ticket WaitQueue::join(const Waiter& waiter) {
  const std::uint32_t index = take_free_slot();
  Room& to = room(waiter.priority);
  Slot& slot = slots_[index];
  slot.waiter = waiter;
  slot.flow = flow_for(waiter);
  FairRank::Flow& joined = flow(to, slot.flow);
  slot.previous = joined.last;
  slot.next = none;
  (joined.last == none ? joined.first : slots_[joined.last].next) = index;
  joined.last = index;
  if (slot.flow == plain)
    ++joined.size;
  else
    to.rank.grow(slot.flow);
  slot.older = to.newest;
  slot.newer = none;
  (to.newest == none ? to.oldest : slots_[to.newest].newer) = index;
  to.newest = index;
  ++to.size;
  to.bytes += waiter.bytes;
  ++size_;
  bytes_ += waiter.bytes;
  note_front(waiter.priority);
  return {index, slot.generation};
}

inline Ticket WaitQueue::take_out(std::uint32_t index) {
  Slot& slot = slots_[index];
  Room& from = room(slot.waiter.priority);
  FairRank::Flow& left = flow(from, slot.flow);
  // The slot that becomes the first of the flow is not written to: it has left the caches long ago,
  // and the write would stall what follows. Therefore nobody reads the back links of a first slot.
  const bool is_first = left.first == index;
  const bool is_oldest = from.oldest == index;
  (is_first ? left.first : slots_[slot.previous].next) = slot.next;
  if (slot.next == none)
    left.last = is_first ? none : slot.previous;
  else if (!is_first)
    slots_[slot.next].previous = slot.previous;
  if (slot.flow == plain) {
    --left.size;
  } else {
    from.rank.shrink(slot.flow);
    if (left.size == 0)
      standing(slot.waiter.client, slot.waiter.priority) = from.rank.close(slot.flow);
  }
  (is_oldest ? from.oldest : slots_[slot.older].newer) = slot.newer;
  if (slot.newer == none)
    from.newest = is_oldest ? none : slot.older;
  else if (!is_oldest)
    slots_[slot.newer].older = slot.older;
  --from.size;
  from.bytes -= slot.waiter.bytes;
  --size_;
  bytes_ -= slot.waiter.bytes;
  note_front(slot.waiter.priority);

  const Ticket ticket{index, slot.generation};
  slot.flow = none;
  ++slot.generation;
  slot.next = first_free_;
  first_free_ = index;
  return ticket;
}

std::optional<Waiter> WaitQueue::leave(Ticket ticket) {
  if (ticket.slot >= slots_.size()) return std::nullopt;
  const Slot& slot = slots_[ticket.slot];
  if (slot.flow == none || slot.generation != ticket.generation) return std::nullopt;
  const Waiter waiter = slot.waiter;
  take_out(ticket.slot);
  return waiter;
}

// ---- Whose turn it is --------------------------------------------------------------------------

const Waiter* WaitQueue::front() const {
  const int best = with_front_.best();
  return best == 0 ? nullptr : front_of(best);
}

Ticket WaitQueue::take_front(const Waiter& front, Turn turn, Order order) {
  const std::uint32_t index = slot_of(front);
  const Slot& slot = slots_[index];
  const int priority = front.priority;
  if (turn == Turn::used && slot.flow != plain)
    room(priority).rank.serve(slot.flow, slot.waiter.cost);
  const Ticket taken = take_out(index);
  // The next waiter joined long ago and has left the caches: it is fetched now, for its turn.
  if (const std::uint32_t next = first_of(priority, order); next != none) prefetch(slots_[next]);
  return taken;
}

Ticket WaitQueue::take_front_of(int priority, Turn turn, Order order) {
  const Waiter* const front = front_of(priority, order);
  CLASSGATE_SHARED_INVARIANT(front != nullptr);
  return take_front(*front, turn, order);
}

std::optional<WaitQueue::Entry> WaitQueue::pop_front() {
  const Waiter* const first = front();
  if (first == nullptr) return std::nullopt;
  const Waiter waiter = *first;
  return Entry{take_front_of(waiter.priority, Turn::used), waiter};
}

const Waiter* WaitQueue::oldest_of(int priority) const {
  const std::uint32_t oldest = room(priority).oldest;
  return oldest == none ? nullptr : &slots_[oldest].waiter;
}

std::optional<WaitQueue::Entry> WaitQueue::pop_oldest_of(int priority) {
  const Waiter* const oldest = oldest_of(priority);
  if (oldest == nullptr) return std::nullopt;
  const Waiter waiter = *oldest;
  return Entry{take_out(room(priority).oldest), waiter};
}

void WaitQueue::park(ClientNumber client) {
  if (client == no_client) return;
  for (int priority = conf::priority_best; priority <= conf::priority_worst; ++priority)
    if (const std::uint32_t parked = flow_of(client, priority); parked != none) {
      room(priority).rank.park(parked);
      note_front(priority);
    }
}

void WaitQueue::unpark(ClientNumber client) {
  if (client == no_client) return;
  for (int priority = conf::priority_best; priority <= conf::priority_worst; ++priority)
    if (const std::uint32_t parked = flow_of(client, priority); parked != none) {
      room(priority).rank.unpark(parked);
      note_front(priority);
    }
}

void WaitQueue::unpark_all() {
  for (ClientNumber client = 0; client < known_clients_; ++client) unpark(client);
}

void WaitQueue::charge(ClientNumber client, int priority, std::uint32_t weight, std::int64_t cost) {
  if (client == no_client) return;
  FairRank& rank = room(priority).rank;
  if (const std::uint32_t charged = flow_of(client, priority); charged != none)
    return rank.charge(charged, cost);
  know(client);
  std::int64_t& paid = standing(client, priority);
  paid = rank.paid_after(paid, weight, cost);
}

void WaitQueue::forget(ClientNumber client) {
  if (client >= known_clients_) return;
  for (const std::int64_t standing : standings_[client]) CLASSGATE_SHARED_INVARIANT(standing >= 0);
  standings_[client] = {};
}

// ---- Who gives way -----------------------------------------------------------------------------

std::uint32_t WaitQueue::largest_of(int priority) const {
  const Room& from = room(priority);
  const std::uint32_t largest = from.rank.largest();
  const std::size_t most = largest == none ? 0 : from.rank[largest].size;
  if (from.plain.size > 0 && from.plain.size >= most) return plain;
  if (largest != none || from.newest == none) return largest;
  return slots_[from.newest].flow;  // nobody has two
}

const Waiter* WaitQueue::newest_of_largest(int priority) const {
  const std::uint32_t largest = largest_of(priority);
  return largest == none ? nullptr : &slots_[flow(room(priority), largest).last].waiter;
}

std::optional<WaitQueue::Entry> WaitQueue::pop_newest_of_largest(int priority) {
  const std::uint32_t largest = largest_of(priority);
  if (largest == none) return std::nullopt;
  const std::uint32_t newest = flow(room(priority), largest).last;
  const Waiter waiter = slots_[newest].waiter;
  return Entry{take_out(newest), waiter};
}

std::optional<WaitQueue::Entry> WaitQueue::pop_newest_worse_than(int priority) {
  for (int worst = conf::priority_worst; worst > priority; --worst)
    if (auto newest = pop_newest_of_largest(worst)) return newest;
  return std::nullopt;
}

std::size_t WaitQueue::size_of(int priority, ClientNumber client) const {
  const std::uint32_t found = flow_of(client, priority);
  return found == none ? 0 : flow(room(priority), found).size;
}

std::size_t WaitQueue::ahead_of(int priority, ClientNumber client, int plan_priority) const {
  const Room& in = room(priority);
  if (client == no_client) return in.size;
  std::size_t ahead = in.plain.size;
  if (in.rank.count() > in.rank.count(plan_priority))
    for (int better = conf::priority_best; better < plan_priority; ++better)
      ahead += in.rank.waiting(better);
  const std::size_t own = size_of(priority, client);
  return ahead + std::min<std::size_t>(in.rank.waiting(plan_priority),
                                       (own + 1) * in.rank.count(plan_priority));
}

std::size_t WaitQueue::largest_size_of(int priority) const {
  const std::uint32_t largest = largest_of(priority);
  return largest == none ? 0 : flow(room(priority), largest).size;
}

std::size_t WaitQueue::size_better_than(int priority) const {
  std::size_t sum = 0;
  for (int better = conf::priority_best; better < priority; ++better) sum += size_of(better);
  return sum;
}

std::size_t WaitQueue::size_worse_than(int priority) const {
  std::size_t sum = 0;
  for (int worse = priority + 1; worse <= conf::priority_worst; ++worse) sum += size_of(worse);
  return sum;
}

std::uint64_t WaitQueue::bytes_worse_than(int priority) const {
  std::uint64_t sum = 0;
  for (int worse = priority + 1; worse <= conf::priority_worst; ++worse) sum += room(worse).bytes;
  return sum;
}

}  // namespace classgate::admission
