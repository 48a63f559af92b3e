#pragma once

#include <cstdint>

#include "admission/time.h"

namespace classgate::admission {

// workers = "auto": finds how many requests the upstream takes at once to its best effect.
//
// By hill climbing on throughput, as .NET's thread pool does (Hellerstein, Morrison, Eilebrecht,
// "Optimizing concurrency levels in the .NET ThreadPool", 2010), with throughput read off the
// latency by Little's law: X = n * succeeded / R, where n is the mean number at work, R their mean
// time. One latency is one sample, so that X is known better than from counting what is finished.
// The gradient is the elasticity of throughput, which is 1 minus that of latency:
//   e = ln(X' / X) / ln(n' / n)
// 1 as long as the upstream has room, 0 when more requests only wait inside of it, below 0 when
// they are in each other's way. More workers are worth having while e > 0.3.
//
// Why not a rule that compares with the least latency ever seen (Vegas, Netflix' gradient2, Envoy's
// adaptive concurrency): who starts inside a collapse has never seen a good one, and to find out,
// Envoy stops nearly all of the traffic every minute. A trial here is one step up or down.
//
// It goes in phases. Each settles (what was begun before it is of another n), then measures until
// the standard error is 1.5 %, for 2.5 s at most. A phase in which the limit did not bind says
// nothing, and nothing moves: no trial is ever made while there is a worker to spare. From a
// measured base, a trial of one step (8 %, at first 20 %) down, then one up. Better means by more
// than chance: one standard error for more workers, half of one for fewer. The one that is better
// is the new base, and the next step in the same direction is half as large again (up to half of
// n). When both are worse, the base rests for 1 s, then 2, up to 8 s, unless its throughput changes
// by a fifth. Failures are congestion: more than one in ten takes a fifth of the workers at once.
// O(1). Not thread-safe.
class WorkerSearch {
 public:
  struct Bounds {
    std::uint32_t least = 1;
    std::uint32_t most = 1000;
  };
  static constexpr std::uint32_t usual_start = 50;

  explicit WorkerSearch(Bounds bounds) : WorkerSearch(bounds, usual_start) {}
  WorkerSearch(Bounds bounds, std::uint32_t start);

  std::uint32_t limit() const { return limit_; }
  void reconfigure(Bounds bounds);
  // The best number so far, from which a trial may be a step away; and to go on from another's.
  std::uint32_t base() const { return base_limit_; }
  void resume(std::uint32_t base) { *this = WorkerSearch(bounds_, base); }

  struct End {
    bool has_succeeded = false;
    Time since{};
    std::uint32_t active = 0;  // at work when it ended, itself included
    bool was_binding = false;  // no worker was to spare
  };
  // A worker came back from the upstream.
  void note_end(const End& end, Time now);

 private:
  enum class Kind : std::uint8_t { base, up, down };
  struct Measure {
    double throughput = 0;
    double workers = 0;
    double latency = 0;
    double error = 0;  // standard error of the throughput, as a share of it
  };
  struct Sums {
    std::uint32_t ends = 0;
    std::uint32_t succeeded = 0;
    std::uint32_t binding = 0;
    double latency = 0;
    double squares = 0;  // of latencies
    double workers = 0;
  };

  void begin(Kind kind, std::uint32_t limit, Time now);
  bool is_over(Time now) const;
  Measure measure() const;
  void conclude(Time now);
  void conclude_base(const Measure& measured, Time now);
  void conclude_trial(const Measure& measured, bool was_binding, Time now);
  bool is_better(const Measure& trial) const;
  void try_next(Time now);
  std::uint32_t stepped(double factor) const;

  Bounds bounds_;
  std::uint32_t limit_;
  std::uint32_t base_limit_;
  Measure base_;  // zero throughput: not yet measured
  double step_;   // of n
  Kind kind_ = Kind::base;
  Kind direction_ = Kind::down;  // of the next trial
  bool climbs_ = false;          // the last trial was better
  unsigned worse_ = 0;           // trials in a row that were
  Duration typical_{};           // latency, to know when a phase has settled
  bool has_begun_ = false;
  Time began_{};
  Time measured_from_{};
  Time rests_until_{};
  Duration rest_;  // the next one
  Sums sums_;
};

}  // namespace classgate::admission
