#include "admission/returns.h"

#include <algorithm>
#include <chrono>

namespace classgate::admission {
namespace {

double seconds_of(Duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

Duration Returns::next(Duration earliest, double cost, const Capacity& capacity, Time now) {
  if (spread_ <= Duration::zero() || capacity.pace <= 0) return earliest;
  const double seconds = now > last_ ? seconds_of(now - last_) : 0;
  last_ = std::max(last_, now);
  used_ = std::clamp((used_ * lately + capacity.used) / (lately + seconds), 0.0, 1.0);
  const double pace = capacity.pace * std::clamp(1 - used_, least_spare, 1.0);
  const double spread = seconds_of(spread_);
  due_ = std::clamp(due_ - seconds * pace, 0.0, spread * pace);
  const double wait = due_ / pace;
  due_ += cost;
  // A field says whole seconds: a crowd that is told the same one would be a crowd again.
  const double told = wait < spread ? wait * (0.5 + at_random()) : spread * at_random();
  return earliest + Duration(static_cast<Duration::rep>(std::min(told, spread) * 1e9));
}

// SplitMix64 (Steele, Lea, Flood 2014).
double Returns::at_random() {
  std::uint64_t z = random_ += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

}  // namespace classgate::admission
