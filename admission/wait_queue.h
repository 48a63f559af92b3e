#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <vector>

#include "admission/fair_rank.h"
#include "admission/huge_pages.h"
#include "admission/ids.h"
#include "admission/priority_set.h"
#include "admission/time.h"
#include "conf/reason.h"
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
  RouteId route{};
  std::uint32_t cost = 1;   // what it takes of its client's share
  std::uint64_t bytes = 0;  // body held while waiting
  Time joined{};
  Time waits_until{};               // then it has waited for too long
  Time useful_until = Time::max();  // when its answer is of no use any more
  std::uint32_t owner = 0;          // the loop that is told when it is this waiter's turn
  std::uint32_t tag = 0;            // what the owner knows it by
  ClientNumber client = no_client;
  float expected = 0;                      // to wait so many seconds, as it joined; 0: nobody tells
  std::uint16_t weight = 1;                // its client's share, against those of the others
  std::uint8_t plan_priority = 3;          // its client's plan's
  std::uint16_t workers = 1;               // that it will occupy
  std::optional<conf::Reason> observed{};  // as Arrival has it
  bool is_favoured = false;                // as Seat has it
  bool is_limited = true;                  // by rates: what it is served teaches (ClientPatterns)
  bool is_early = false;                   // it was told a later time for a worker
};

// The bounded waiting room: priority first; inside a priority those whose plan has a better one;
// and inside that the clients take turns (FairRank), and each client's own requests are FIFO. Who
// has no identity stands in one plain FIFO flow before all others: they are mixed only for as long
// as it takes after a reload that names clients.
//
// The waiters stand in one slab, linked by index into the flow of their client and priority, and
// freed slots are used again: joining, leaving from the middle and giving way cost O(1), a turn
// O(log n) in the clients that wait (leaving too, for the last one of its client). Memory grows
// with the largest number that ever waited, and by 40 bytes for each client that ever did. Not
// thread-safe.
class WaitQueue {
 public:
  struct Entry {
    Ticket ticket;
    Waiter waiter;
  };

  // Takes memory for one more, such as join() will need: join() itself asks for none then.
  void make_ready(const Waiter& waiter) {
    if (first_free_ == none || waiter.client >= known_clients_) [[unlikely]]
      if (first_free_ == none || waiter.client != no_client) make_room(waiter);
    if (waiter.client != no_client) room(waiter.priority).rank.make_ready(size_);
  }
  Ticket join(const Waiter& waiter);
  // Takes a waiter out from wherever it stands; nothing when it no longer waits.
  std::optional<Waiter> leave(Ticket ticket);
  // The next to go in, of one priority or of the best in which anybody can.
  // Each client's own requests go in as they came, or the newest first.
  enum class Order : std::uint8_t { oldest_first, newest_first };
  const Waiter* front_of(int priority, Order order = Order::oldest_first) const {
    const std::uint32_t index = first_of(priority, order);
    return index == none ? nullptr : &slots_[index].waiter;
  }
  const Waiter* front() const;
  // The priorities that have a front.
  PrioritySet with_front() const { return with_front_; }
  // Takes the front of a priority out, with its client's turn used or left to who is next there.
  enum class Turn : std::uint8_t { used, passed_on };
  Ticket take_front_of(int priority, Turn turn, Order order = Order::oldest_first);
  // The same of one that front_of() has just said.
  Ticket take_front(const Waiter& front, Turn turn, Order order);
  std::optional<Entry> pop_front();
  // Who has waited for longest in a priority, whosever turn it is.
  const Waiter* oldest_of(int priority) const;
  std::optional<Entry> pop_oldest_of(int priority);
  // Takes out the newest waiter of the worst priority, if that is worse than `priority`: of the
  // client that has the most waiting there.
  std::optional<Entry> pop_newest_worse_than(int priority);
  // The same inside one priority.
  const Waiter* newest_of_largest(int priority) const;
  std::optional<Entry> pop_newest_of_largest(int priority);

  // While a client may not go in, its waiters keep their places and are passed over.
  void park(ClientNumber client);
  void unpark(ClientNumber client);
  void unpark_all();  // O(clients)
  // A client has had (or, below zero, has got back) so much without a turn of its own.
  void charge(ClientNumber client, int priority, std::uint32_t weight, std::int64_t cost);
  // So many numbers may come: takes memory for them at once, 40 bytes each.
  void expect_clients(std::size_t count) { standings_.reserve(count); }
  // A request of the client may come to wait: how it stands is fetched into the cache meanwhile.
  void prefetch(ClientNumber client, int priority) const {
    if (client < known_clients_) __builtin_prefetch(&standings_[client][index(priority)], 1);
  }
  // The number stands for another client from now on. Nobody of it waits.
  void forget(ClientNumber client);

  std::size_t size() const { return size_; }
  std::uint64_t bytes() const { return bytes_; }
  std::size_t size_of(int priority) const { return room(priority).size; }
  // Clients that wait there and may go in; those without identity are one.
  std::uint32_t clients_in(int priority) const {
    return room(priority).rank.count() + (room(priority).plain.first != none ? 1 : 0);
  }
  // Waiting in one client's flow of a priority.
  std::size_t size_of(int priority, ClientNumber client) const;
  // Who may go before one more request of this client, whose plan has such a priority: as many of
  // each other client as are its own then, and all whose plan has a better one.
  std::size_t ahead_of(int priority, ClientNumber client, int plan_priority) const;
  // Of the client that has the most waiting there.
  std::size_t largest_size_of(int priority) const;
  std::size_t size_better_than(int priority) const;
  // What stands behind `priority`: could give way to it.
  std::size_t size_worse_than(int priority) const;
  std::uint64_t bytes_worse_than(int priority) const;

 private:
  static constexpr std::uint32_t none = FairRank::none;
  static constexpr std::uint32_t plain = none - 1;  // the flow that is none of the rank's
  struct alignas(32) Slot {                         // in two cache lines, never three
    Waiter waiter;
    std::uint32_t generation = 0;
    std::uint32_t flow = none;      // none: nobody waits here
    std::uint32_t previous = none;  // means nothing in the first of a flow
    std::uint32_t next = none;      // also links the free slots
    std::uint32_t older = none;     // in its priority, whoever's; means nothing in the oldest
    std::uint32_t newer = none;
  };
  // All that wait in one priority.
  struct Room {
    FairRank::Flow plain;  // of those without identity
    FairRank rank;
    std::uint32_t oldest = none;
    std::uint32_t newest = none;
    std::size_t size = 0;
    std::uint64_t bytes = 0;
  };
  // How a client stands in each priority: below zero, it has a flow there (its number, inverted);
  // else where its last service is paid.
  using Standing = std::array<std::int64_t, conf::priority_count>;

  static std::size_t index(int priority) { return static_cast<std::size_t>(priority - 1); }
  Room& room(int priority) { return rooms_[index(priority)]; }
  const Room& room(int priority) const { return rooms_[index(priority)]; }
  static const FairRank::Flow& flow(const Room& room, std::uint32_t flow) {
    return flow == plain ? room.plain : room.rank[flow];
  }
  static FairRank::Flow& flow(Room& room, std::uint32_t flow) {
    return flow == plain ? room.plain : room.rank[flow];
  }
  void know(ClientNumber client);  // takes memory for how it stands
  std::int64_t& standing(ClientNumber client, int priority) {
    return standings_[client][index(priority)];
  }
  std::uint32_t flow_of(ClientNumber client, int priority) const;
  std::uint32_t flow_for(const Waiter& waiter);
  std::uint32_t whose_turn_in(const Room& room) const {
    return room.plain.first != none ? plain : room.rank.first();
  }
  void note_front(int priority) {
    with_front_.set(priority, whose_turn_in(room(priority)) != none);
  }
  // The slot of the next to go in; none when nobody can go in there.
  std::uint32_t first_of(int priority, Order order) const {
    const Room& from = room(priority);
    const std::uint32_t whose = whose_turn_in(from);
    if (whose == none) return none;
    const FairRank::Flow& in = flow(from, whose);
    return order == Order::oldest_first ? in.first : in.last;
  }
  static void prefetch(const Slot& slot) {
    const auto* const begin = reinterpret_cast<const char*>(&slot);
    __builtin_prefetch(begin, 1);
    __builtin_prefetch(begin + sizeof(Slot) - 1, 1);
  }
  std::uint32_t slot_of(const Waiter& waiter) const {
    static_assert(std::is_standard_layout_v<Slot>);  // so that it begins with its first member
    return static_cast<std::uint32_t>(reinterpret_cast<const Slot*>(&waiter) - slots_.data());
  }
  std::uint32_t largest_of(int priority) const;
  void make_room(const Waiter& waiter);
  std::uint32_t take_free_slot();
  Ticket take_out(std::uint32_t index);

  std::vector<Slot, HugePages<Slot>> slots_;
  std::uint32_t first_free_ = none;
  std::array<Room, conf::priority_count> rooms_;
  PrioritySet with_front_;
  std::vector<Standing, HugePages<Standing>> standings_;  // by client
  ClientNumber known_clients_ = 0;                        // their size, which would take a division
  std::size_t size_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace classgate::admission
