#include "admission/process_times.h"

#include <algorithm>

namespace classgate::admission {

void ProcessTimes::record(std::uint32_t of_what, Duration took, Time now) {
  if (of_what >= kinds_.size()) kinds_.resize(of_what + 1);
  Kind& kind = kinds_[of_what];
  kind.seen = std::min(kind.seen + 1, most_seen);
  // A division by what is known here is a shift.
  const auto part = [&kind](Duration whole) {
    return kind.seen == most_seen ? whole / most_seen : whole / kind.seen;
  };
  const Duration error = took - kind.mean;
  if (kind.seen > 1) kind.deviation += part(std::chrono::abs(error) - kind.deviation);
  kind.mean += part(error);
  kind.news = std::max(kind.news, now);
}

Duration ProcessTimes::mean(std::uint32_t of_what) const {
  return of_what < kinds_.size() ? kinds_[of_what].mean : Duration::zero();
}

Duration ProcessTimes::most(std::uint32_t of_what) const {
  if (of_what >= kinds_.size()) return Duration::zero();
  return kinds_[of_what].mean + 2 * kinds_[of_what].deviation;
}

bool ProcessTimes::may_try(std::uint32_t of_what, Time now) const {
  if (of_what >= kinds_.size()) return true;
  const Kind& kind = kinds_[of_what];
  return now - kind.news >= std::max<Duration>(kind.mean, std::chrono::seconds(1));
}

void ProcessTimes::note_try(std::uint32_t of_what, Time now) {
  if (of_what < kinds_.size()) kinds_[of_what].news = now;
}

}  // namespace classgate::admission
