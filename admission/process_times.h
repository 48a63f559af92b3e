#pragma once

#include <cstdint>
#include <vector>

#include "admission/time.h"

namespace classgate::admission {

// How long a request of one kind (a route, a priority) keeps its worker lately: an exponential mean
// and mean deviation over some 32 requests, as TCP estimates its round trips (Jacobson, "Congestion
// avoidance and control", 1988):
//   deviation += (|took - mean| - deviation) / min(32, seen),  mean += (took - mean) / min(32,
//   seen)
// A value. Not thread-safe.
class ProcessTime {
 public:
  void record(Duration took, Time now);
  // Zero as long as nothing of the kind has come to an end.
  Duration mean() const { return mean_; }
  // What most of them keep to: mean + 2 deviations.
  Duration most() const { return mean_ + 2 * deviation_; }

  // Whoever is refused because such requests take too long teaches nobody that they have become
  // faster. So one is let through to find out when none has ended for a second or, if they take
  // longer than that, for as long as they take. True: this may be the one.
  bool may_try(Time now) const;
  // It was.
  void note_try(Time now) { news_ = now; }

 private:
  static constexpr std::uint32_t most_seen = 32;
  Duration mean_{};
  Duration deviation_{};
  std::uint32_t seen_ = 0;  // up to most_seen
  Time news_{};             // of the last end, or the last try
};

// The same for each route, by its number. Memory grows with the largest number ever told, which the
// conf bounds. Not thread-safe.
class ProcessTimes {
 public:
  void record(std::uint32_t route, Duration took, Time now) {
    if (route >= times_.size()) times_.resize(route + std::size_t{1});
    times_[route].record(took, now);
  }
  Duration mean(std::uint32_t route) const {
    return route < times_.size() ? times_[route].mean() : Duration::zero();
  }
  Duration most(std::uint32_t route) const {
    return route < times_.size() ? times_[route].most() : Duration::zero();
  }
  bool may_try(std::uint32_t route, Time now) const {
    return route >= times_.size() || times_[route].may_try(now);
  }
  void note_try(std::uint32_t route, Time now) {
    if (route < times_.size()) times_[route].note_try(now);
  }
  void forget() { times_.clear(); }

 private:
  std::vector<ProcessTime> times_;
};

}  // namespace classgate::admission
