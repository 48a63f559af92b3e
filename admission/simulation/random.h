#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace classgate::simulation {

// xoshiro256++ (Blackman, Vigna 2019), seeded by splitmix64. Our own because the numbers must be
// the same with every standard library. Each thing that happens at random has a stream of its own,
// so that a change in one leaves the others as they were.
class Random {
 public:
  Random(std::uint64_t seed, std::uint64_t stream) {
    std::uint64_t state = seed * 0x9e3779b97f4a7c15ULL + stream * 0xd1b54a32d192ed03ULL;
    for (std::uint64_t& word : state_) word = splitmix(state);
  }

  std::uint64_t next() {
    const std::uint64_t result = std::rotl(state_[0] + state_[3], 23) + state_[0];
    const std::uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }
  // In (0, 1): a logarithm of it is finite.
  double unit() { return (static_cast<double>(next() >> 11) + 0.5) * 0x1p-53; }
  std::uint64_t below(std::uint64_t end) { return next() % end; }

 private:
  static std::uint64_t splitmix(std::uint64_t& state) {
    std::uint64_t z = state += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  std::array<std::uint64_t, 4> state_{};
};

}  // namespace classgate::simulation
