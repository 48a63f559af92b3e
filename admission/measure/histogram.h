#pragma once

#include <array>
#include <cstdint>

#include "admission/measure/time.h"

namespace classgate::measure {

// Durations in buckets that grow by an eighth of a power of two (error under 12.5 %), from 1 us up
// to hours, in the manner of HdrHistogram. Fixed memory, O(1) to record. Not thread-safe.
class Histogram {
 public:
  void record(Duration value);
  // The value below which the given share (0..1) of the recorded ones lies, 0 when there is none.
  Duration percentile(double share) const;
  std::uint64_t count() const { return count_; }
  void merge(const Histogram& other);
  void clear() { *this = Histogram{}; }

 private:
  static constexpr std::size_t bucket_count = 8 * 36;
  static std::size_t bucket_of(std::uint64_t microseconds);
  static std::uint64_t upper_end(std::size_t bucket);

  std::array<std::uint32_t, bucket_count> buckets_{};
  std::uint64_t count_ = 0;
};

// The percentiles of the last one to two minutes: two histograms take turns.
class RecentHistogram {
 public:
  void record(Duration value, Time now);
  Histogram recent(Time now) const;

 private:
  static constexpr Duration turn = std::chrono::minutes(1);
  Histogram current_;
  Histogram previous_;
  Time turn_began_{};
};

}  // namespace classgate::measure
