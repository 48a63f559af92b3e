#include "admission/simulation/upstream.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace classgate::simulation {

std::uint32_t Upstream::take_job(std::uint32_t caller, admission::Duration service) {
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(jobs_.size()));
    jobs_.emplace_back();
  }
  const std::uint32_t job = free_.back();
  free_.pop_back();
  jobs_[job].service = service;
  jobs_[job].caller = caller;
  return job;
}

Upstream::Entered Upstream::enter(std::uint32_t caller, admission::Duration service,
                                  admission::Time now) {
  const std::uint32_t job = take_job(caller, service);
  jobs_[job].came = now;
  ++in_service_;
  if (model_.batch == 0 && has_room()) return {job, start(job)};
  waiting_.push_back(job);
  if (model_.batch > 0) gather(now);
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

// ---- In groups ---------------------------------------------------------------------------------

void Upstream::drop_stopped() {
  while (!waiting_.empty() && jobs_[waiting_.front()].is_stopped) {
    free(waiting_.front());
    waiting_.pop_front();
  }
}

void Upstream::gather(admission::Time now) {
  if (groups_computing_ == model_.servers) return;
  drop_stopped();
  if (waiting_.empty()) return;
  const admission::Duration left = jobs_[waiting_.front()].came + model_.batch_wait - now;
  if (waiting_.size() >= model_.batch || left <= admission::Duration::zero()) return start_group();
  if (alarm_ != no_group) return;
  alarm_ = take_job(nobody, {});
  jobs_[alarm_].is_computing = true;
  others_started_.push_back({alarm_, jobs_[alarm_].generation, left});
}

void Upstream::start_group() {
  if (alarm_ != no_group) free(std::exchange(alarm_, no_group));
  auto group = static_cast<std::uint32_t>(std::ranges::find(groups_, 0U) - groups_.begin());
  if (group == groups_.size()) groups_.push_back(0);
  const std::size_t first = others_started_.size();
  admission::Duration longest{};
  while (groups_[group] < model_.batch && !waiting_.empty()) {
    const std::uint32_t job = waiting_.front();
    waiting_.pop_front();
    Job& of = jobs_[job];
    if (of.is_stopped) {
      free(job);
      continue;
    }
    of.is_computing = true;
    of.group = group;
    longest = std::max(longest, of.service);
    ++groups_[group];
    ++computing_;
    others_started_.push_back({job, of.generation, {}});
  }
  if (groups_[group] == 0) return;
  ++groups_computing_;
  for (std::size_t i = first; i < others_started_.size(); ++i) others_started_[i].takes = longest;
}

void Upstream::end_one_of(std::uint32_t group, admission::Time now) {
  if (--groups_[group] > 0) return;
  --groups_computing_;
  gather(now);
}

Upstream::Finished Upstream::finish(std::uint32_t job, admission::Time now) {
  if (job == alarm_) {
    start_group();
    return {nobody, std::nullopt};
  }
  const std::uint32_t caller = jobs_[job].caller;
  if (const std::uint32_t group = jobs_[job].group; group != no_group) {
    --computing_;
    --in_service_;
    free(job);
    end_one_of(group, now);
    return {caller, std::nullopt};
  }
  --computing_;
  --in_service_;
  free(job);
  return {caller, start_next()};
}

std::optional<Upstream::Started> Upstream::leave(std::uint32_t job) {
  jobs_[job].caller = nobody;
  // A group that has begun is computed as a whole.
  if (!model_.stops_when_left || jobs_[job].group != no_group) return std::nullopt;
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
