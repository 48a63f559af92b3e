#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "admission/ids.h"
#include "admission/time.h"

namespace classgate::admission {

// How long a request of one kind (a route, a priority) keeps its worker lately: an exponential mean
// and mean deviation over some 64 requests, as TCP estimates its round trips (Jacobson, "Congestion
// avoidance and control", 1988):
//   deviation += (|took - mean| - deviation) / min(64, seen),  mean += (took - mean) / min(64,
//   seen)
// and the median, which a few long ones do not move (Robbins and Monro, 1951):
//   median += deviation / 64 * sign(took - median),  within one deviation of the mean
// A value. Not thread-safe.
class ProcessTime {
 public:
  void record(Duration took, Time now);
  // Zero as long as nothing of the kind has come to an end.
  Duration mean() const { return mean_; }
  // What most of them keep to: mean + 2 deviations with a caution of 1, the median with none, and
  // in proportion between and beyond.
  Duration most(double caution) const { return from_median(mean_ + 2 * deviation_, caution); }
  // What it takes to be worth a try: the median, and with a caution of 1 or more the mean.
  Duration least(double caution) const { return from_median(mean_, std::min(caution, 1.0)); }

  // Whoever is refused because such requests take too long teaches nobody that they have become
  // faster. So one is let through to find out when none has ended for a second or, if they take
  // longer than that, for as long as they take. True: this may be the one.
  bool may_try(Time now) const;
  // It was.
  void note_try(Time now) { news_ = now; }

  // All that is known, for a process that takes over.
  struct Learnt {
    Duration mean{};
    Duration deviation{};
    std::uint32_t seen = 0;  // 0: nothing
  };
  Learnt learnt() const { return {mean_, deviation_, seen_}; }
  void resume(const Learnt& learnt, Time at) {
    mean_ = std::clamp(learnt.mean, Duration::zero(), longest);
    deviation_ = std::clamp(learnt.deviation, Duration::zero(), longest);
    median_ = mean_;
    seen_ = std::min(learnt.seen, most_seen);
    news_ = at;
  }

 private:
  Duration from_median(Duration to, double part) const {
    const double beyond = part * static_cast<double>((to - median_).count());
    return median_ + Duration(static_cast<Duration::rep>(beyond));
  }

  static constexpr Duration longest = std::chrono::days(30);
  static constexpr std::uint32_t most_seen = 32;
  Duration mean_{};
  Duration median_{};
  Duration deviation_{};
  std::uint32_t seen_ = 0;  // up to most_seen
  Time news_{};             // of the last end, or the last try
};

// The same for each route. What is known of one outlives reloads, and goes when another route has
// its slot; what ends on a route that has gone teaches nothing about that one. Not thread-safe.
class ProcessTimes {
 public:
  void record(RouteId route, Duration took, Time now) {
    if (ProcessTime* const time = times_.find_or_add(route)) time->record(took, now);
  }
  Duration mean(RouteId route) const {
    const ProcessTime* const time = times_.find(route);
    return time ? time->mean() : Duration::zero();
  }
  Duration most(RouteId route, double caution) const {
    const ProcessTime* const time = times_.find(route);
    return time ? time->most(caution) : Duration::zero();
  }
  Duration least(RouteId route, double caution) const {
    const ProcessTime* const time = times_.find(route);
    return time ? time->least(caution) : Duration::zero();
  }
  bool may_try(RouteId route, Time now) const {
    const ProcessTime* const time = times_.find(route);
    return !time || time->may_try(now);
  }
  void note_try(RouteId route, Time now) {
    if (ProcessTime* const time = times_.find(route)) time->note_try(now);
  }
  ProcessTime::Learnt learnt(RouteId route) const {
    const ProcessTime* const time = times_.find(route);
    return time ? time->learnt() : ProcessTime::Learnt{};
  }
  void resume(RouteId route, const ProcessTime::Learnt& learnt, Time at) {
    if (ProcessTime* const time = times_.find_or_add(route)) time->resume(learnt, at);
  }

 private:
  ById<RouteId, ProcessTime> times_;
};

}  // namespace classgate::admission
