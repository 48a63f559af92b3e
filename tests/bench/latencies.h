#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

namespace bench {

// Durations in buckets that grow by a 256th of a power of two (error under 0.2 %), in the manner of
// HdrHistogram: finer than the gateway's own, because percentiles are compared with it.
class Latencies {
 public:
  void record(std::uint64_t nanoseconds) {
    ++buckets_[bucket_of(nanoseconds)];
    ++count_;
    most_ = std::max(most_, nanoseconds);
  }

  // In microseconds.
  double percentile(double share) const {
    auto rank = static_cast<std::uint64_t>(share * static_cast<double>(count_));
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      if (buckets_[i] > rank) return middle_of(i) / 1e3;
      rank -= buckets_[i];
    }
    return static_cast<double>(most_) / 1e3;
  }
  double most() const { return static_cast<double>(most_) / 1e3; }

 private:
  static constexpr unsigned fine_bits = 8;
  static constexpr std::uint64_t fine = 1U << fine_bits;

  static std::size_t bucket_of(std::uint64_t value) {
    if (value < fine) return value;
    const auto shift = static_cast<unsigned>(std::bit_width(value)) - fine_bits - 1;
    return (shift + 1) * fine + ((value >> shift) - fine);
  }
  static double middle_of(std::size_t bucket) {
    if (bucket < fine) return static_cast<double>(bucket);
    const auto shift = bucket / fine - 1;
    return (static_cast<double>(bucket % fine + fine) + 0.5) *
           static_cast<double>(std::uint64_t{1} << shift);
  }

  std::vector<std::uint64_t> buckets_ = std::vector<std::uint64_t>(fine * 59);
  std::uint64_t count_ = 0;
  std::uint64_t most_ = 0;
};

}  // namespace bench
