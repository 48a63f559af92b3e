#include "admission/measure/timeline.h"

#include <algorithm>

#include "admission/measure/units.h"

namespace classgate::measure {
void Timeline::Step::add(const Step& other) {
  const auto add_all = [](auto& to, const auto& from) {
    for (std::size_t i = 0; i < to.size(); ++i) to[i] += from[i];
  };
  add_all(arrived, other.arrived);
  add_all(served, other.served);
  add_all(rejected, other.rejected);
  waits.add(other.waits);
  add_all(waiting_seconds, other.waiting_seconds);
  failed += other.failed;
  abandoned += other.abandoned;
  active_seconds += other.active_seconds;
}

std::size_t Timeline::index_of(Time now) {
  auto index = static_cast<std::size_t>(now.time_since_epoch() / length_);
  while (index >= steps_max) {
    length_ *= 2;
    for (std::size_t i = 0; i < steps_.size(); ++i)
      if (i % 2 == 1)
        steps_[i / 2].add(steps_[i]);
      else if (i > 0)
        steps_[i / 2] = std::move(steps_[i]);
    steps_.resize((steps_.size() + 1) / 2);
    index /= 2;
  }
  if (index >= steps_.size()) steps_.resize(index + 1);
  return index;
}

Timeline::Step& Timeline::at(Time now) { return steps_[index_of(now)]; }

void Timeline::record_wait(Duration waited, Time now) { at(now).waits.record(waited); }

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
  end_ = now.time_since_epoch();
}

Duration Timeline::covered(std::size_t index) const {
  const Duration begin = length_ * static_cast<Duration::rep>(index);
  return std::clamp<Duration>(end_ - begin, Duration(1), length_);
}

}  // namespace classgate::measure
