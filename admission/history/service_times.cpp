#include "admission/history/service_times.h"

#include <cmath>
#include <numeric>

namespace classgate::history {

ServiceTimes::ServiceTimes(std::span<const double, WorkDone::buckets - 1> bounds) {
  // The geometric middle of a bucket; of the first and the last, half and twice their bound.
  typical_.front() = bounds.front() / 2;
  for (std::size_t i = 1; i < bounds.size(); ++i)
    typical_[i] = std::sqrt(bounds[i - 1] * bounds[i]);
  typical_.back() = bounds.back() * 2;
}

double ServiceTimes::requests(const WorkDone& done) {
  return std::accumulate(done.times.begin(), done.times.end(), 0.0);
}

void ServiceTimes::learn(const WorkDonePerPriority& minute) {
  const auto follow = [](WorkDone& sums, const WorkDone& more) {
    if (requests(more) <= 0) return;
    sums.cost = kept_a_minute * sums.cost + more.cost;
    sums.work_seconds = kept_a_minute * sums.work_seconds + more.work_seconds;
    for (std::size_t i = 0; i < sums.times.size(); ++i)
      sums.times[i] = kept_a_minute * sums.times[i] + more.times[i];
  };
  WorkDone of_all{};
  for (std::size_t priority = 0; priority < minute.size(); ++priority) {
    const WorkDone& more = minute[priority];
    follow(done_[priority], more);
    of_all.cost += more.cost;
    of_all.work_seconds += more.work_seconds;
    for (std::size_t i = 0; i < more.times.size(); ++i) of_all.times[i] += more.times[i];
  }
  follow(all_, of_all);
}

// Buckets say how times are spread, and the sum how long they are: the typical times are stretched
// until their mean is right.
Work ServiceTimes::work_of(const WorkDone& done) const {
  Work work;
  const double count = requests(done);
  if (count <= 0 || done.cost <= 0 || done.work_seconds <= 0) return work;
  double mean = 0;
  for (std::size_t i = 0; i < typical_.size(); ++i) mean += done.times[i] / count * typical_[i];
  // Of requests that take several workers at once the sum has each of them.
  const double told = done.work_seconds / count;
  constexpr double stretch_most = 2;  // as far as a bucket goes
  const double stretch = told <= stretch_most * mean ? told / mean : 1;
  work.seconds_per_cost = done.work_seconds / done.cost;
  work.seconds_per_request = stretch * mean;
  for (std::size_t i = 0; i < typical_.size(); ++i)
    if (done.times[i] > 0) work.spread.push_back({stretch * typical_[i], done.times[i] / count});
  return work;
}

std::array<Work, conf::priority_count> ServiceTimes::work() const {
  std::array<Work, conf::priority_count> work;
  for (std::size_t i = 0; i < work.size(); ++i)
    work[i] = work_of(requests(done_[i]) >= requests_least ? done_[i] : all_);
  return work;
}

}  // namespace classgate::history
