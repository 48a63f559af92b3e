#include "admission/simulation/upstream.h"

#include <cmath>

namespace classgate::simulation {

Upstream::Entered Upstream::enter(std::uint32_t caller, admission::Duration service) {
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(jobs_.size()));
    jobs_.emplace_back();
  }
  const std::uint32_t job = free_.back();
  free_.pop_back();
  jobs_[job].service = service;
  jobs_[job].caller = caller;
  ++in_service_;
  if (has_room()) return {job, start(job)};
  waiting_.push_back(job);
  return {job, std::nullopt};
}

std::optional<Upstream::Started> Upstream::start(std::uint32_t job) {
  Job& of = jobs_[job];
  of.is_computing = true;
  ++computing_;
  admission::Duration takes = of.service;
  const double each = static_cast<double>(in_service_) / model_.servers;
  if (model_.slowdown_beyond > 0 && each > model_.slowdown_beyond) {
    const double factor = std::pow(each / model_.slowdown_beyond, model_.slowdown_power);
    // A year is as good as never, and is not too much for a Duration.
    constexpr admission::Duration longest = std::chrono::hours(366 * 24);
    takes = static_cast<double>(takes.count()) * factor < static_cast<double>(longest.count())
                ? std::chrono::duration_cast<admission::Duration>(takes * factor)
                : longest;
  }
  return Started{job, of.generation, takes};
}

std::optional<Upstream::Started> Upstream::start_next() {
  while (!waiting_.empty() && has_room()) {
    const std::uint32_t job = waiting_.front();
    waiting_.pop_front();
    if (!jobs_[job].is_stopped) return start(job);
    free(job);
  }
  return std::nullopt;
}

bool Upstream::is_computing(std::uint32_t job, std::uint32_t generation) const {
  return jobs_[job].is_computing && jobs_[job].generation == generation;
}

Upstream::Finished Upstream::finish(std::uint32_t job) {
  const std::uint32_t caller = jobs_[job].caller;
  --computing_;
  --in_service_;
  free(job);
  return {caller, start_next()};
}

std::optional<Upstream::Started> Upstream::leave(std::uint32_t job) {
  jobs_[job].caller = nobody;
  if (!model_.stops_when_left) return std::nullopt;
  --in_service_;
  if (!jobs_[job].is_computing) {
    jobs_[job].is_stopped = true;
    return std::nullopt;
  }
  --computing_;
  free(job);
  return start_next();
}

void Upstream::free(std::uint32_t job) {
  Job& of = jobs_[job];
  of = Job{.generation = (of.generation + 1) & 0xffffff};
  free_.push_back(job);
}

}  // namespace classgate::simulation
