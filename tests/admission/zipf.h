#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace classgate::history::test {

// Zipf 1.0 over so many keys, 1 the most frequent.
class Zipf {
 public:
  explicit Zipf(std::size_t keys) : sums_(keys) {
    double sum = 0;
    for (std::size_t i = 0; i < keys; ++i) sums_[i] = sum += 1 / static_cast<double>(i + 1);
  }
  std::uint64_t draw(std::mt19937_64& random) {
    std::uniform_real_distribution<double> at(0, sums_.back());
    return 1 +
           static_cast<std::uint64_t>(std::ranges::lower_bound(sums_, at(random)) - sums_.begin());
  }

 private:
  std::vector<double> sums_;
};

}  // namespace classgate::history::test
