#pragma once

#include <cstdint>
#include <vector>

#include "admission/time.h"

namespace classgate::admission {

// How long a request keeps its worker lately, for each kind of request (a route, a priority): an
// exponential mean and mean deviation over some 32 requests, as TCP estimates its round trips
// (Jacobson, "Congestion avoidance and control", 1988):
//   deviation += (|took - mean| - deviation) / min(32, seen),  mean += (took - mean) / min(32,
//   seen)
// O(1); memory grows with the largest number ever told, which the conf bounds. Not thread-safe.
class ProcessTimes {
 public:
  void record(std::uint32_t of_what, Duration took, Time now);
  // Zero as long as nothing of the kind has come to an end.
  Duration mean(std::uint32_t of_what) const;
  // What most of them keep to: mean + 2 deviations.
  Duration most(std::uint32_t of_what) const;

  // Whoever is refused because such requests take too long teaches nobody that they have become
  // faster. So one is let through to find out when none has ended for a second or, if they take
  // longer than that, for as long as they take. True: this may be the one.
  bool may_try(std::uint32_t of_what, Time now) const;
  // It was.
  void note_try(std::uint32_t of_what, Time now);

  void forget() { kinds_.clear(); }

 private:
  static constexpr std::uint32_t most_seen = 32;
  struct Kind {
    Duration mean{};
    Duration deviation{};
    std::uint32_t seen = 0;  // up to most_seen
    Time news{};             // of the last end, or the last try
  };
  std::vector<Kind> kinds_;
};

}  // namespace classgate::admission
