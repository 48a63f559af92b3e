#include "admission/measure/spread.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>

#include "admission/measure/units.h"

namespace classgate::measure {

// The bits after the leading one choose the step.
Spread::Place Spread::place_of(std::uint64_t ns) {
  if (ns < fine) return {0, static_cast<std::size_t>(ns)};
  const auto exponent = static_cast<std::size_t>(std::bit_width(ns)) - fine_bits - 1;
  if (exponent + 1 >= octave_count) return {octave_count - 1, fine - 1};
  return {exponent + 1, static_cast<std::size_t>((ns >> exponent) - fine)};
}

void Spread::record(Duration value) {
  value = std::max(value, Duration::zero());
  const Place place = place_of(static_cast<std::uint64_t>(value.count()));
  std::vector<std::uint64_t>& octave = octaves_[place.octave];
  if (octave.empty()) octave.resize(fine);
  ++octave[place.step];
  least_ = count_ == 0 ? value : std::min(least_, value);
  most_ = std::max(most_, value);
  sum_ += static_cast<double>(value.count());
  ++count_;
}

void Spread::add(const Spread& other) {
  if (other.count_ == 0) return;
  for (std::size_t i = 0; i < octave_count; ++i) {
    if (other.octaves_[i].empty()) continue;
    if (octaves_[i].empty()) octaves_[i].resize(fine);
    std::ranges::transform(octaves_[i], other.octaves_[i], octaves_[i].begin(), std::plus());
  }
  least_ = count_ == 0 ? other.least_ : std::min(least_, other.least_);
  most_ = std::max(most_, other.most_);
  sum_ += other.sum_;
  count_ += other.count_;
}

Duration Spread::mean() const {
  if (count_ == 0) return {};
  const Duration mean(static_cast<Duration::rep>(sum_ / static_cast<double>(count_)));
  return std::clamp(mean, least_, most_);  // adding up many loses the last bits
}

// `part` of the way through what a bucket may hold.
Duration Spread::inside(Place place, double part) const {
  const auto at = static_cast<Duration::rep>(place.step);
  if (place.octave == 0) return Duration(at);
  const std::size_t exponent = place.octave - 1;
  const Duration begin((at + static_cast<Duration::rep>(fine)) << exponent);
  const Duration last = begin + Duration((Duration::rep{1} << exponent) - 1);
  const Duration from = std::max(begin, least_);
  const Duration to =
      place.octave + 1 == octave_count && place.step + 1 == fine ? most_ : std::min(last, most_);
  return from +
         Duration(static_cast<Duration::rep>(static_cast<double>((to - from).count()) * part));
}

Duration Spread::percentile(double share) const {
  if (count_ == 0) return {};
  constexpr double rounding = 1e-9;  // 0.07 * 100 is the seventh, not the eighth
  const double all = static_cast<double>(count_);
  const auto rank =
      static_cast<std::uint64_t>(std::clamp(std::ceil(share * all * (1 - rounding)), 1.0, all));
  if (rank >= count_) return most_;
  if (rank == 1) return least_;
  std::uint64_t before = 0;
  for (std::size_t octave = 0; octave < octave_count; ++octave)
    for (std::size_t step = 0; step < octaves_[octave].size(); ++step) {
      const std::uint64_t here = octaves_[octave][step];
      if (before + here >= rank)
        return inside({octave, step},
                      (static_cast<double>(rank - before) - 0.5) / static_cast<double>(here));
      before += here;
    }
  return most_;
}

Duration Spread::told(double share) const {
  return std::clamp(to_three_digits(percentile(share)), least_, most_);
}

}  // namespace classgate::measure
