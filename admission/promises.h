#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "admission/time.h"

namespace classgate::admission {

// What one client that was refused has been told of one line (Returns): when its turn is, and how
// much else of its own stands behind that.
struct Promise {
  std::uint64_t key = 0;        // 0: nobody's
  static constexpr Time had{};  // in place of a turn: it has come in its turn
  Time turn = had;
  double behind = 0;         // cost of what it has asked for since, and of what is not due yet
  Time noted = Time::min();  // `behind` as of then; min(): nothing has been told
  Time paid_until{};         // by its part, for what it was let in before its turn (GCRA)
};

// The promises that were made lately, some 16,000 of them: in each set of four the newcomer takes
// the place of the one that was asked about the longest time ago; its client stands in the line
// anew when it comes. Keys are hashes that nobody can steer. Takes its memory (640 KiB) with the
// first promise. Not thread-safe.
class Promises {
 public:
  // A client's promise of one line, or an empty one that is the client's from now on.
  Promise& find_or_add(std::uint64_t client, std::uint64_t line) {
    if (sets_.empty()) sets_.resize(set_count);
    const std::uint64_t key = key_of(client, line);
    Set& set = sets_[key % set_count];
    const auto found = std::ranges::find(set, key, &Promise::key);
    if (found != set.end()) return *found;
    Promise& oldest = *std::ranges::min_element(set, {}, &Promise::noted);
    oldest = {.key = key};
    return oldest;
  }
  // Null where there is none. Until the next find_or_add().
  Promise* find(std::uint64_t client, std::uint64_t line) {
    if (sets_.empty()) return nullptr;
    const std::uint64_t key = key_of(client, line);
    Set& set = sets_[key % set_count];
    const auto found = std::ranges::find(set, key, &Promise::key);
    return found == set.end() ? nullptr : &*found;
  }
  const Promise* find(std::uint64_t client, std::uint64_t line) const {
    return const_cast<Promises*>(this)->find(client, line);
  }
  // A copy of it; an empty one where there is none.
  Promise look(std::uint64_t client, std::uint64_t line) const {
    const Promise* const found = find(client, line);
    return found == nullptr ? Promise{.key = key_of(client, line)} : *found;
  }

 private:
  static constexpr std::size_t set_count = 4096;
  using Set = std::array<Promise, 4>;
  static std::uint64_t key_of(std::uint64_t client, std::uint64_t line) {
    return (client + line * 0x9e3779b97f4a7c15) | 1U << 31U;  // never 0
  }
  std::vector<Set> sets_;
};

}  // namespace classgate::admission
