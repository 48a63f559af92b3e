#include "admission/measure/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace classgate::measure {

// Values below 8 have a bucket each; above, the three bits after the leading one choose the bucket.
std::size_t Histogram::bucket_of(std::uint64_t microseconds) {
  if (microseconds < 8) return static_cast<std::size_t>(microseconds);
  const auto exponent = static_cast<std::size_t>(std::bit_width(microseconds)) - 4;
  const auto eighth = static_cast<std::size_t>(microseconds >> exponent) - 8;
  return std::min(8 + exponent * 8 + eighth, bucket_count - 1);
}

std::uint64_t Histogram::upper_end(std::size_t bucket) {
  if (bucket < 8) return bucket;
  const std::size_t exponent = (bucket - 8) / 8;
  const std::uint64_t eighth = (bucket - 8) % 8;
  return ((eighth + 9) << exponent) - 1;
}

void Histogram::record(Duration value) {
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(value).count();
  ++buckets_[bucket_of(us < 0 ? 0 : static_cast<std::uint64_t>(us))];
  ++count_;
}

Duration Histogram::percentile(double share) const {
  if (count_ == 0) return Duration::zero();
  const auto rank = std::max<std::uint64_t>(
      1, static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(count_))));
  std::uint64_t seen = 0;
  for (std::size_t bucket = 0; bucket < bucket_count; ++bucket) {
    seen += buckets_[bucket];
    if (seen >= rank) return std::chrono::microseconds(upper_end(bucket));
  }
  return std::chrono::microseconds(upper_end(bucket_count - 1));
}

void Histogram::merge(const Histogram& other) {
  for (std::size_t i = 0; i < bucket_count; ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
}

void RecentHistogram::record(Duration value, Time now) {
  const Duration age = now - turn_began_;
  if (age >= turn) {
    // Turns follow each other without a gap, or what is in the first would be told for three.
    const bool is_next_turn = age < 2 * turn;
    previous_ = is_next_turn ? current_ : Histogram{};
    current_.clear();
    turn_began_ = is_next_turn ? turn_began_ + turn : now;
  }
  current_.record(value);
}

Histogram RecentHistogram::recent(Time now) const {
  Histogram merged;
  const Duration age = now - turn_began_;
  if (age < 2 * turn) merged.merge(current_);
  if (age < turn) merged.merge(previous_);
  return merged;
}

}  // namespace classgate::measure
