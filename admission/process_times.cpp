#include "admission/process_times.h"

#include <algorithm>

namespace classgate::admission {
namespace {

// Requests. What a process that takes over is told counts as most_seen.
constexpr std::uint32_t remembered = 64;

}  // namespace

void ProcessTime::record(Duration took, Time now) {
  seen_ = std::min(seen_ + 1, remembered);
  // A division by what is known here is a shift.
  const auto part = [this](Duration whole) {
    return seen_ == remembered ? whole / remembered : whole / seen_;
  };
  const Duration error = took - mean_;
  if (seen_ > 1) deviation_ += part(std::chrono::abs(error) - deviation_);
  mean_ += part(error);
  const Duration step{deviation_.count() >> 6};
  median_ += took > median_ ? step : -step;
  median_ = std::clamp(median_, mean_ - deviation_, mean_ + deviation_);
  news_ = std::max(news_, now);
}

bool ProcessTime::may_try(Time now) const {
  return now - news_ >= std::max<Duration>(mean_, std::chrono::seconds(1));
}

}  // namespace classgate::admission
