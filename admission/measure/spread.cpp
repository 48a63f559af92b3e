#include "admission/measure/spread.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace classgate::measure {
namespace {

// Microseconds below 32 have a bucket each; above, the five bits after the leading one choose it.
std::size_t bucket_of(std::uint64_t us, std::size_t count) {
  if (us < 32) return us;
  const auto exponent = static_cast<std::size_t>(std::bit_width(us)) - 6;
  return std::min(32 + exponent * 32 + ((us >> exponent) - 32), count - 1);
}

double middle_of(std::size_t bucket) {
  if (bucket < 32) return static_cast<double>(bucket);
  const std::size_t exponent = (bucket - 32) / 32;
  return (static_cast<double>((bucket - 32) % 32) + 32.5) * static_cast<double>(1ULL << exponent);
}

}  // namespace

void Spread::record(Duration value) {
  const auto ns = std::max<Duration::rep>(value.count(), 0);
  ++buckets_[bucket_of(static_cast<std::uint64_t>(ns) / 1000, bucket_count)];
  ++count_;
  sum_ += static_cast<double>(ns);
  most_ = std::max(most_, value);
}

Duration Spread::mean() const {
  if (count_ == 0) return {};
  return Duration(static_cast<Duration::rep>(sum_ / static_cast<double>(count_)));
}

Duration Spread::percentile(double share) const {
  if (count_ == 0) return {};
  const auto rank = std::max<std::uint64_t>(
      1, static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(count_))));
  std::uint64_t seen = 0;
  for (std::size_t bucket = 0; bucket < bucket_count; ++bucket) {
    seen += buckets_[bucket];
    if (seen < rank) continue;
    const auto ns = static_cast<Duration::rep>(middle_of(bucket) * 1000);
    return std::min(Duration(ns), most_);
  }
  return most_;
}

}  // namespace classgate::measure
