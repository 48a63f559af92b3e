#pragma once

// What the command line says about the random tests, and the source of their randomness.

#include <cstdint>
#include <random>
#include <string>

namespace classgate::admission {

struct Run {
  std::string program;
  std::uint64_t seed = 0;            // --seed=N, else a new one for each run
  std::uint64_t events = 1'500'000;  // --events=N: of the simulation; fewer under a sanitizer
};
const Run& run();

// The one command that repeats the random test that is running now. For INFO().
std::string replay(std::uint64_t seed);

// Whole numbers only: the same seed gives the same test with every standard library.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t below(std::uint64_t end) { return engine_() % end; }
  std::uint64_t between(std::uint64_t first, std::uint64_t last) {
    return first + below(last - first + 1);
  }
  bool chance(std::uint64_t percent) { return below(100) < percent; }

 private:
  std::mt19937_64 engine_;
};

}  // namespace classgate::admission
