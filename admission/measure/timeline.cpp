#include "admission/measure/timeline.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "admission/measure/units.h"

namespace classgate::measure {
namespace {

std::size_t bucket_of(Duration waited) {
  const auto us = static_cast<std::uint64_t>(std::max<Duration::rep>(waited.count(), 0)) / 1000;
  if (us == 0) return 0;
  const auto exponent = static_cast<std::size_t>(std::bit_width(us)) - 1;
  const std::size_t quarter = exponent > 1 ? (us >> (exponent - 2)) & 3 : 0;
  return std::min(1 + exponent * 4 + quarter, Timeline::wait_buckets - 1);
}

}  // namespace

void Timeline::Step::add(const Step& other) {
  const auto add_all = [](auto& to, const auto& from) {
    for (std::size_t i = 0; i < to.size(); ++i) to[i] += from[i];
  };
  add_all(arrived, other.arrived);
  add_all(served, other.served);
  add_all(rejected, other.rejected);
  add_all(waits, other.waits);
  add_all(waiting_seconds, other.waiting_seconds);
  failed += other.failed;
  abandoned += other.abandoned;
  wait_count += other.wait_count;
  wait_seconds += other.wait_seconds;
  active_seconds += other.active_seconds;
}

Duration Timeline::Step::wait_percentile(double share) const {
  const auto rank = static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(wait_count)));
  std::uint64_t seen = 0;
  for (std::size_t bucket = 0; bucket < wait_buckets; ++bucket) {
    seen += waits[bucket];
    if (seen < rank || seen == 0) continue;
    if (bucket == 0) return {};
    // The middle of a quarter of an octave.
    const double us = std::exp2(static_cast<double>((bucket - 1) / 4)) *
                      (1.125 + 0.25 * static_cast<double>((bucket - 1) % 4));
    return Duration(static_cast<Duration::rep>(us * 1000));
  }
  return {};
}

std::size_t Timeline::index_of(Time now) {
  auto index = static_cast<std::size_t>(now.time_since_epoch() / length_);
  while (index >= steps_max) {
    length_ *= 2;
    for (std::size_t i = 0; i < steps_.size(); ++i)
      if (i % 2 == 1)
        steps_[i / 2].add(steps_[i]);
      else if (i > 0)
        steps_[i / 2] = steps_[i];
    steps_.resize((steps_.size() + 1) / 2);
    index /= 2;
  }
  if (index >= steps_.size()) steps_.resize(index + 1);
  return index;
}

Timeline::Step& Timeline::at(Time now) { return steps_[index_of(now)]; }

void Timeline::record_wait(Duration waited, Time now) {
  Step& step = at(now);
  ++step.wait_count;
  step.wait_seconds += in_seconds(waited);
  ++step.waits[bucket_of(waited)];
}

// Gives each step since the level's last change what it had of it.
template <typename Field>
void Timeline::spread(Level& level, Time now, Field field) {
  const std::size_t last = index_of(now);
  if (level.value != 0 && now > level.since) {
    const auto value = static_cast<double>(level.value);
    for (std::size_t i = index_of(level.since); i <= last; ++i) {
      const Time begin = Time{} + length_ * static_cast<Duration::rep>(i);
      const Duration part = std::min(now, begin + length_) - std::max(level.since, begin);
      field(steps_[i]) += value * in_seconds(part);
    }
  }
  level.since = now;
}

void Timeline::waiting_changed(int priority, int by, Time now) {
  const auto index = static_cast<std::size_t>(priority - 1);
  spread(waiting_[index], now, [=](Step& step) -> double& { return step.waiting_seconds[index]; });
  waiting_[index].value += by;
}

void Timeline::active_changed(int by, Time now) {
  spread(active_, now, [](Step& step) -> double& { return step.active_seconds; });
  active_.value += by;
}

void Timeline::settle(Time now) {
  for (int priority = conf::priority_best; priority <= conf::priority_worst; ++priority)
    waiting_changed(priority, 0, now);
  active_changed(0, now);
}

}  // namespace classgate::measure
