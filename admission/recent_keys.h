#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace classgate::admission {

// The keys that were noted lately, some 65,000 of them: in each set of four the newcomer takes the
// place of the oldest. Keys are hashes that nobody can steer. Takes its memory (512 KiB) with the
// first key.
class RecentKeys {
 public:
  bool contains(std::uint64_t key) const {
    return !sets_.empty() && std::ranges::find(set_of(key), key) != set_of(key).end();
  }
  void note(std::uint64_t key) {
    if (sets_.empty()) sets_.resize(set_count);
    Set& set = sets_[key % set_count];
    if (contains(key)) return;
    std::ranges::move_backward(set.begin(), set.end() - 1, set.end());
    set.front() = key;
  }

 private:
  static constexpr std::size_t set_count = 16'384;
  using Set = std::array<std::uint64_t, 4>;  // the newest first; 0 is no key
  const Set& set_of(std::uint64_t key) const { return sets_[key % set_count]; }
  std::vector<Set> sets_;
};

}  // namespace classgate::admission
