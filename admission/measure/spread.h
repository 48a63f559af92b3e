#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "admission/measure/time.h"

namespace classgate::measure {

// How long something took, over many: the mean, the least and the greatest exactly, and quantiles
// that are off by 0.4 % at most. Buckets as of HdrHistogram, of nanoseconds, 256 to each power of
// two; inside of one values are taken to be evenly spread, and none lies before the least or beyond
// the greatest. 2 KiB for each power of two that occurs; O(1) to record. Not thread-safe.
class Spread {
 public:
  void record(Duration value);  // less than none counts as none
  void add(const Spread& other);

  std::uint64_t count() const { return count_; }
  // Zero when there is none.
  Duration mean() const;
  Duration least() const { return least_; }
  Duration most() const { return most_; }
  // The least that the given share (0..1) of them does not exceed.
  Duration percentile(double share) const;
  // The same with the digits that are known of it.
  Duration told(double share) const;

 private:
  static constexpr unsigned fine_bits = 8;
  static constexpr std::uint64_t fine = std::uint64_t{1} << fine_bits;
  // The first has all below `fine`, a bucket each; the last what is beyond 140 years, too.
  static constexpr std::size_t octave_count = 62 - fine_bits + 1;
  struct Place {
    std::size_t octave;
    std::size_t step;
  };

  static Place place_of(std::uint64_t ns);
  Duration inside(Place place, double part) const;

  std::array<std::vector<std::uint64_t>, octave_count> octaves_;  // empty or `fine` counts
  std::uint64_t count_ = 0;
  double sum_ = 0;  // ns
  Duration least_{};
  Duration most_{};
};

}  // namespace classgate::measure
