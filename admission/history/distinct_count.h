#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace classgate::history {

// How many different ones there were: HyperLogLog with 2^14 registers (16 KiB, whatever comes). The
// standard error is 1.04 / sqrt(2^14) = 0.8 %, so 3 % is passed by one count in some thousands;
// told by the estimator of Ertl ("New cardinality estimation algorithms for HyperLogLog sketches",
// 2017), which needs no table for small counts. Counts add up: that of a union is the same as if
// all had been added here. A value; one thread.
class DistinctCount {
 public:
  static constexpr int bits = 14;
  static constexpr std::size_t registers = std::size_t{1} << bits;

  // Any number: it is mixed here. False: that has changed nothing.
  bool add(std::uint64_t id);
  void add(const DistinctCount& other);
  double estimate() const;
  // What is kept, to be kept elsewhere: of each register the highest rank that came.
  const std::array<std::uint8_t, registers>& ranks() const { return ranks_; }
  // Takes one back. False, and nothing is done: there is no such register or rank.
  [[nodiscard]] bool raise(std::size_t place, std::uint8_t rank);

 private:
  std::array<std::uint8_t, registers> ranks_{};
};

}  // namespace classgate::history
