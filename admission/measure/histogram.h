#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

#include "admission/measure/time.h"

namespace classgate::measure {

// Durations in buckets that grow with them, from 1 us up to hours, in the manner of HdrHistogram:
// there are 2^fine_bits buckets to each power of two, so that what comes back, the middle of one,
// is off by half of a share of 2^-fine_bits, or of a microsecond, at most. Fixed memory, O(1) to
// record. Not thread-safe. (Spread has more digits, and takes memory for what occurs.)
template <unsigned fine_bits, typename Count>
class Histogram {
 public:
  void record(Duration value) {
    const auto us = std::chrono::duration_cast<std::chrono::microseconds>(value).count();
    ++buckets_[bucket_of(static_cast<std::uint64_t>(std::max<std::int64_t>(us, 0)))];
    ++count_;
  }
  void merge(const Histogram& other) {
    if (other.count_ == 0) return;
    for (std::size_t i = 0; i < bucket_count; ++i) buckets_[i] += other.buckets_[i];
    count_ += other.count_;
  }
  void clear() { *this = Histogram{}; }

  std::uint64_t count() const { return count_; }
  // The least that the given share (0..1) of the recorded ones does not exceed; 0: there is none.
  Duration percentile(double share) const {
    return count_ == 0 ? Duration::zero() : middle_of(bucket_at(share));
  }

 private:
  static constexpr std::size_t fine = std::size_t{1} << fine_bits;
  static constexpr std::size_t bucket_count = fine * 36;

  // Microseconds below `fine` have a bucket each; above, the bits after the leading one choose it.
  static std::size_t bucket_of(std::uint64_t us) {
    if (us < fine) return static_cast<std::size_t>(us);
    const auto exponent = static_cast<std::size_t>(std::bit_width(us)) - fine_bits - 1;
    const auto step = static_cast<std::size_t>(us >> exponent) - fine;
    return std::min(fine + exponent * fine + step, bucket_count - 1);
  }
  static Duration middle_of(std::size_t bucket) {
    if (bucket < fine) return std::chrono::microseconds(bucket);
    const std::uint64_t halves = 2 * ((bucket - fine) % fine + fine) + 1;
    return std::chrono::nanoseconds(500 * (halves << ((bucket - fine) / fine)));
  }

  // Of one at least.
  std::size_t bucket_at(double share) const {
    const auto rank = std::max<std::uint64_t>(
        1, static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(count_))));
    std::uint64_t seen = 0;
    for (std::size_t bucket = 0; bucket < bucket_count; ++bucket) {
      seen += buckets_[bucket];
      if (seen >= rank) return bucket;
    }
    return bucket_count - 1;
  }

  std::array<Count, bucket_count> buckets_{};
  std::uint64_t count_ = 0;
};

}  // namespace classgate::measure
