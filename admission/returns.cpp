#include "admission/returns.h"

#include <algorithm>
#include <chrono>

#include "admission/measure/units.h"

namespace classgate::admission {

Duration Returns::next(Duration earliest, double cost, const Capacity& capacity, const Asker& asker,
                       Time now) {
  if (spread_ <= Duration::zero() || capacity.pace <= 0) return earliest;
  const double seconds = now > last_ ? measure::in_seconds(now - last_) : 0;
  last_ = std::max(last_, now);
  used_ = std::clamp((used_ * lately + capacity.used) / (lately + seconds), 0.0, 1.0);
  const double pace = capacity.pace * std::clamp(1 - used_, least_spare, 1.0);
  const double spread = measure::in_seconds(spread_);
  const auto duration_of = [&](double wait) {
    return Duration(static_cast<Duration::rep>(std::min(wait, spread) * 1e9));
  };
  // Retry-After has whole seconds. A crowd that is told the same second would come back as a crowd,
  // so each is told a time of its own.
  const auto told = [&](double wait) {
    return wait < spread ? wait * (0.5 + at_random()) : spread * at_random();
  };
  due_ = std::clamp(due_ - seconds * pace, 0.0, spread * pace);
  double wait = due_ / pace;
  // After this time the client's equal part of the capacity is enough for the request, whatever
  // others ask for.
  if (asker.is_content) wait = std::min(wait, cost * asker.clients / capacity.pace);
  if (Promise* const promise = asker.promise) {
    const double own_pace = pace / std::max(asker.clients, 1.0);
    const bool was_told = promise->noted != Time::min();
    const double behind = own_wait(*promise, own_pace, now);
    if (was_told && (promise->turn > now || behind > 0)) {
      promise->behind = std::min(promise->behind + cost, spread * own_pace);
      // A client that comes for the first time now would not be told a longer time than this one.
      promise->turn = std::min(promise->turn, now + earliest + duration_of(wait));
      const Duration rest = std::max(promise->turn - now, earliest);
      return std::min(rest + duration_of(told(behind)), earliest + spread_);
    }
  }
  due_ += cost;
  const Duration time = earliest + duration_of(told(wait));
  if (asker.promise != nullptr) {
    asker.promise->turn = now + time;
    asker.promise->noted = now;
  }
  return time;
}

// How long after its client's turn a request is due, for what the client has asked for besides.
double Returns::own_wait(Promise& promise, double pace, Time now) const {
  const Time since = std::max(promise.noted, promise.turn);
  if (now > since)
    promise.behind = std::max(promise.behind - measure::in_seconds(now - since) * pace, 0.0);
  promise.noted = std::max(promise.noted, now);
  return promise.behind / pace;
}

// SplitMix64 (Steele, Lea, Flood 2014).
double Returns::at_random() {
  std::uint64_t z = random_ += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

}  // namespace classgate::admission
