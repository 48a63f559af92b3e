#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "admission/time.h"

namespace classgate::admission {

// The keys that were noted within a time, some 65,000 of them: in each set of four the newcomer
// takes the place of the one that was noted longest ago. Keys are hashes that nobody can steer.
// Takes its memory (1 MiB) with the first key.
class RecentKeys {
 public:
  // `since`: what was noted then or before is forgotten.
  bool contains(std::uint64_t key, Time since) const {
    if (sets_.empty()) return false;
    const Set& set = sets_[key % set_count];
    return std::ranges::any_of(
        set, [&](const Noted& noted) { return noted.key == key && noted.at > since; });
  }
  void note(std::uint64_t key, Time now) {
    if (sets_.empty()) sets_.resize(set_count);
    Set& set = sets_[key % set_count];
    auto place = std::ranges::find(set, key, &Noted::key);
    if (place == set.end()) --place;  // the oldest goes
    std::ranges::move_backward(set.begin(), place, place + 1);
    set.front() = {key, now};
  }

 private:
  struct Noted {
    std::uint64_t key = 0;  // 0 is no key
    Time at{};
  };
  static constexpr std::size_t set_count = 16'384;
  using Set = std::array<Noted, 4>;  // the newest first
  std::vector<Set> sets_;
};

}  // namespace classgate::admission
