#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace classgate::history {

// How values (microseconds, 0 to 2^32 - 1) are spread, so that each quantile is told within 1 % of
// the value that has its rank. Bin 0 holds zeros; bin i > 0 the values x with
//   gamma^(i-2) < x <= gamma^(i-1),  gamma = (1 + 0.01) / (1 - 0.01),
// of which 2 gamma^(i-1) / (gamma + 1) is at most 1 % away (Masson, Rim, Lee: DDSketch, VLDB 2019).
// Only bins that hold something take memory: at most bins_max, whatever is added. Sketches add up:
// that of a sum is the sum of the sketches, exactly. A value; one thread.
class QuantileSketch {
 public:
  static constexpr double error = 0.01;
  static constexpr std::size_t bins_max = 1112;
  using Bin = std::pair<std::uint16_t, std::uint64_t>;  // its number, how many

  void add(std::uint32_t value, std::uint64_t times = 1);
  // The same for one that goes into several sketches: its bin is found once.
  static std::uint16_t bin_of(std::uint32_t value);
  void add_to_bin(std::uint16_t bin, std::uint64_t times = 1);
  void add(const QuantileSketch& other);
  // What is left without those of `other`, which were all added here.
  void subtract(const QuantileSketch& other);

  std::uint64_t count() const { return count_; }
  // For 0 <= q <= 1 the value of rank ceil(q n), the least one for 0; 0 where there is none.
  double quantile(double q) const;
  // In the order of their numbers, none of them empty.
  const std::vector<Bin>& bins() const { return bins_; }
  // Takes back what `bins()` told, one after the other. False, and nothing is done: none of these
  // can follow.
  [[nodiscard]] bool append(Bin bin);

 private:
  std::vector<Bin> bins_;
  std::uint64_t count_ = 0;
};

}  // namespace classgate::history
