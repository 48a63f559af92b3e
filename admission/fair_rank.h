#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace classgate::admission {

// A client's place in the ClientTable, for as long as it has something going on. `no_client` is who
// has no identity.
using ClientNumber = std::uint32_t;
inline constexpr ClientNumber no_client = 0xffffffff;

// The clients that wait in one priority, each with a flow of its own (a queue, in the words of fair
// queueing; the Line is all of them together), and whose turn it is. What a flow holds is the
// WaitQueue's business, who owns this one too; here it has only a size.
//
// Start-time fair queueing (Goyal, Vin, Cheng 1996). Each flow has a start: the virtual time at
// which its first waiter is due. The flow with the least start is next (of equals the one that has
// stood there for longest), and then is due again
//   start += cost / weight
// later. The virtual time of the rank is the start of whoever was served last; who comes to wait
// begins there, or, if it has had more than its share already, where its last service is paid:
//   start = max(virtual time, where its last service is paid)
// Nobody can save turns up by being away, and nobody gets more by coming back one at a time. When
// the last flow has gone, everything is paid. All whole numbers: the same calls, the same turns.
//
// Flows have priorities of their own (those of their clients' plans): the least start is that among
// the flows of the best. All live by one virtual time: a flow that was passed over for long comes
// to it with its first turn, and gains nothing by what it has missed.
//
// A flow whose client may not go in now (it has all the workers it may have) is parked: it keeps
// its start and has no turn. O(log n) in the clients that wait, O(1) where the size alone changes.
class FairRank {
 public:
  static constexpr std::uint32_t none = 0xffffffff;
  struct Flow {
    ClientNumber client = no_client;
    std::uint32_t weight = 1;
    int priority = 3;            // its client's plan's
    std::uint32_t first = none;  // the WaitQueue's: its oldest and its newest waiter
    std::uint32_t last = none;
    std::uint32_t size = 0;
    std::int64_t start = 0;
    std::uint32_t previous = none;  // among the flows of the same size
    std::uint32_t next = none;      // also links the closed ones
  };

  // Opens a flow for a client that has none; `paid` is what close() said of its last one, or 0.
  struct Terms {
    std::uint32_t weight = 1;
    int priority = 3;  // 1 (first) .. 5
  };
  std::uint32_t open(ClientNumber client, const Terms& terms, std::int64_t paid);
  // Of an empty flow: where its last service is paid.
  std::int64_t close(std::uint32_t flow);
  Flow& operator[](std::uint32_t flow) { return flows_[flow]; }
  const Flow& operator[](std::uint32_t flow) const { return flows_[flow]; }

  // Flows of the same size stand in one list; a size changes by one, so the largest is never far.
  // Most clients have one waiter: these stand in none.
  void grow(std::uint32_t flow) {  // one more waits
    ++waiting_by_priority_[index(flows_[flow].priority)];
    if (flows_[flow].size++ > 0) has_grown(flow);
  }
  void shrink(std::uint32_t flow) {  // one less
    --waiting_by_priority_[index(flows_[flow].priority)];
    if (--flows_[flow].size > 0) has_shrunk(flow);
  }
  // The flow whose turn it is; none when all are parked.
  std::uint32_t first() const { return turns_.empty() ? none : turns_.front().flow; }
  // Its first waiter goes in, which costs so much.
  void serve(std::uint32_t flow, std::uint64_t cost);
  // It has had (or, below zero, has got back) so much without a turn.
  void charge(std::uint32_t flow, std::int64_t cost);
  // The same for a client without a flow: where its last service is paid then. Nothing is owed to
  // anybody when nobody waits.
  std::int64_t paid_after(std::int64_t paid, std::uint32_t weight, std::int64_t cost);
  void park(std::uint32_t flow);
  void unpark(std::uint32_t flow);
  // One waiter more than `waiting`, in a flow of its own or not: takes memory for that.
  void make_ready(std::size_t waiting) {
    if (first_closed_ == none || by_size_.capacity() < waiting + 2) make_room(waiting);
  }
  // Open flows, and those of one priority.
  std::uint32_t count() const { return open_; }
  std::uint32_t count(int priority) const { return open_by_priority_[index(priority)]; }
  // Waiting in the flows of a priority.
  std::uint32_t waiting(int priority) const { return waiting_by_priority_[index(priority)]; }
  // The flow with the most waiters, of those with two or more (of equals, the one that came to that
  // size last); none when there is no such flow.
  std::uint32_t largest() const { return largest_size_ < 2 ? none : by_size_[largest_size_]; }

 private:
  static constexpr std::int64_t unit = 1024;  // of virtual time: cost 1 at weight 1
  struct Turn {
    std::int64_t start;   // behind those of all better priorities: order_of()
    std::uint64_t since;  // when it came to stand there, as a count of all that did
    std::uint32_t flow;
    // Written without a branch: the processor could not predict it.
    bool operator<(const Turn& other) const {
      const int is_as_early = static_cast<int>(start == other.start) & (since < other.since);
      return (static_cast<int>(start < other.start) | is_as_early) != 0;
    }
  };

  // Almost everybody has weight 1, which saves a division.
  static std::int64_t price(std::int64_t cost, std::uint32_t weight) {
    return weight == 1 ? cost * unit : cost * unit / weight;
  }
  static std::size_t index(int priority) { return static_cast<std::size_t>(priority - 1); }
  // A start never comes so far: a million tokens a second take 34 years.
  static std::int64_t order_of(const Flow& flow) {
    constexpr std::int64_t apart = std::int64_t{1} << 60;
    return flow.start + (flow.priority - 1) * apart;
  }
  void make_room(std::size_t waiting);
  void has_grown(std::uint32_t flow);
  void has_shrunk(std::uint32_t flow);
  void pay(Flow& flow, std::int64_t cost);
  void put(std::size_t gap, const Turn& turn);
  void rise(std::size_t gap, const Turn& turn);
  void set(std::size_t place, const Turn& turn);
  void take_turn(std::uint32_t flow);
  void lose_turn(std::uint32_t flow);
  void link(std::uint32_t flow);
  void unlink(const Flow& linked, std::uint32_t size);  // from the list of this size

  std::vector<Flow> flows_;
  std::uint32_t first_closed_ = none;
  std::uint32_t open_ = 0;
  std::array<std::uint32_t, 5> open_by_priority_{};
  std::array<std::uint32_t, 5> waiting_by_priority_{};
  std::vector<Turn> turns_;            // a heap, the next first
  std::vector<std::uint32_t> places_;  // of each flow in it; none: parked or closed
  std::uint64_t turn_count_ = 0;
  std::vector<std::uint32_t> by_size_;  // the first flow of each size, from 2 on
  std::uint32_t largest_size_ = 0;
  std::int64_t now_ = 0;
  std::int64_t all_paid_ = 0;  // the latest start that anybody was given
};

}  // namespace classgate::admission
