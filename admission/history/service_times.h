#pragma once

#include <array>
#include <cstddef>
#include <span>

#include "admission/history/workers_needed.h"
#include "conf/settings.h"

namespace classgate::history {

// What came to its end in some time at one priority. Counters, or how they have grown.
struct WorkDone {
  static constexpr std::size_t buckets = 15;
  double cost = 0;
  double work_seconds = 0;              // of all its workers
  std::array<double, buckets> times{};  // requests, by how long they had their worker
};
using WorkDonePerPriority = std::array<WorkDone, conf::priority_count>;

// How long requests of each priority take lately: those of the last hour or so weigh, of minutes in
// which any came. `bounds`: of WorkDone::times, in seconds, ascending; the last bucket has none.
// A value; one thread.
class ServiceTimes {
 public:
  explicit ServiceTimes(std::span<const double, WorkDone::buckets - 1> bounds);

  // What has ended in a minute.
  void learn(const WorkDonePerPriority& minute);
  // Enough have ended to say anything.
  bool are_known() const { return requests(all_) >= requests_least; }
  static constexpr double requests_least = 20;
  // Of a priority of which too few have ended it is that of all.
  std::array<Work, conf::priority_count> work() const;

 private:
  static constexpr double kept_a_minute = 0.98;  // half after 34 minutes
  static double requests(const WorkDone& done);
  Work work_of(const WorkDone& done) const;

  std::array<double, WorkDone::buckets> typical_;  // seconds, of a bucket
  WorkDonePerPriority done_{};
  WorkDone all_{};
};

}  // namespace classgate::history
