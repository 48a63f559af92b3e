#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <numeric>

#include "admission/client_table.h"
#include "admission/measure/recent.h"
#include "admission/verdict.h"

namespace classgate::admission {

using ReasonCounts = std::array<std::uint64_t, conf::reason_count>;

inline std::uint64_t sum(const ReasonCounts& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
}

struct Quantiles {
  Duration p50{};
  Duration p95{};
  Duration p99{};
};

// How the policy in the shadow would have decided, since it stands there.
struct ShadowCounts {
  bool is_on = false;
  std::uint64_t alike = 0;
  ReasonCounts would_refuse{};  // let in by the policy in force; by the shadow's reason
  ReasonCounts would_accept{};  // refused by the policy in force; by its reason
  std::size_t waiting = 0;
  std::uint32_t workers = 0;  // limit
};

// Everything an operator may ask about admission, read at one instant. The books balance:
// total = processed + failed + rejected + abandoned + waiting + in flight.
struct Snapshot {
  std::uint64_t total = 0;
  std::uint64_t processed = 0;
  std::uint64_t abandoned = 0;
  ReasonCounts rejected{};
  ReasonCounts failed{};
  ReasonCounts observed{};                   // would have been refused, but for [observe]
  std::uint32_t workers = 0;                 // limit
  std::uint32_t active_workers = 0;          // taken
  std::uint64_t in_flight = 0;               // requests that have them
  std::uint32_t workers_without_client = 0;  // of those, working for nobody
  std::uint32_t queue_limit = 0;
  std::size_t waiting = 0;
  std::array<std::size_t, conf::priority_count> waiting_by_priority{};
  std::array<std::uint32_t, conf::priority_count> active_by_priority{};
  std::array<std::uint32_t, conf::priority_count> reserved_by_priority{};
  std::array<bool, conf::priority_count> congested{};  // newest first, the oldest are shed
  double rate = 0;                                     // limit, in requests a second
  std::uint64_t waiting_bytes = 0;
  Duration average_wait{};     // of all admitted requests since the start
  Duration average_process{};  // of all finished ones since the start
  Quantiles wait;              // of the last one to two minutes
  Quantiles process;
  Duration since_last_overload = Duration::max();  // since the queue last turned someone away
  bool draining = false;
  ShadowCounts shadow;
  ClientTable::Counts clients;
  ClientPatterns::Counts patterns;
  bool is_short = false;  // the service is short (Shortage)
};

// The counters behind a Snapshot. Not thread-safe.
class Books {
 public:
  void reject(conf::Reason reason, Time now);
  void observe(conf::Reason reason) { ++observed_[conf::index_of(reason)]; }
  void fail(conf::Reason reason) { ++failed_[conf::index_of(reason)]; }
  void close(const Outcome& outcome, Time now);
  void abandon() { ++abandoned_; }
  void enter() { ++total_; }
  void wait_ended(Duration waited, Time now);
  void process_ended(Duration took, Time now);
  void worker_came_back(Duration kept);

  // How long a worker is kept lately, whatever for: how soon the next one comes free. Zero:
  // nobody knows yet.
  Duration usual_turn() const { return usual_turn_; }
  // It is known from the process before.
  void resume(Duration usual_turn) {
    usual_turn_ = std::clamp<Duration>(usual_turn, Duration::zero(), std::chrono::days(30));
  }
  void write_to(Snapshot& snapshot, Time now) const;

 private:
  std::uint64_t total_ = 0;
  std::uint64_t processed_ = 0;
  std::uint64_t abandoned_ = 0;
  ReasonCounts rejected_{};
  ReasonCounts failed_{};
  ReasonCounts observed_{};
  Duration wait_sum_{};
  std::uint64_t wait_count_ = 0;
  Duration process_sum_{};
  std::uint64_t process_count_ = 0;
  Duration usual_turn_{};
  measure::Recent waits_;
  measure::Recent processes_;
  Time last_overload_ = Time::min();
};

}  // namespace classgate::admission
