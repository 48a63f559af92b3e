#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <limits>
#include <vector>

#include "admission/time.h"

namespace classgate::admission {

// The times that one client was last told to come back at, each for one request: several of its
// users can have been refused. To the millisecond, modulo 49 days.
class ToldTimes {
 public:
  static constexpr std::size_t most = 8;  // one more takes the place of another
  // Clocks and networks of clients are not ours: so much earlier or later is on time.
  static constexpr Duration early_most = std::chrono::milliseconds(20);
  static constexpr Duration late_most = std::chrono::seconds(5);

  void add(Time time, Time now) {
    const Milliseconds past = milliseconds_of(now - late_most);
    auto place = std::ranges::find_if(times_, [=](Milliseconds known) {
      return known == none || static_cast<std::int32_t>(known - past) < 0;
    });
    if (place == times_.end()) place = times_.begin() + next_++ % most;
    *place = milliseconds_of(time);
  }
  // Whether one of them is now.
  bool has(Time now) const { return find(now) != times_.end(); }
  // The same; that one has been kept then.
  bool take(Time now) {
    const auto found = find(now);
    if (found == times_.end()) return false;
    times_[static_cast<std::size_t>(found - times_.begin())] = none;
    return true;
  }

 private:
  using Milliseconds = std::uint32_t;
  using Times = std::array<Milliseconds, most>;
  static constexpr Milliseconds none = 0;
  static Milliseconds milliseconds_of(Duration time) {
    return static_cast<Milliseconds>(
        std::chrono::duration_cast<std::chrono::milliseconds>(time).count());
  }
  static Milliseconds milliseconds_of(Time time) {
    return milliseconds_of(time.time_since_epoch());
  }
  Times::const_iterator find(Time now) const {
    const Milliseconds begin = milliseconds_of(now - late_most);
    const Milliseconds length = milliseconds_of(late_most + early_most);
    return std::ranges::find_if(
        times_, [=](Milliseconds time) { return time != none && time - begin <= length; });
  }
  Times times_{};
  std::uint32_t next_ = 0;
};

// How one comes who may have been told when to: as its turn is, at another time that it was told,
// as a newcomer, or before.
enum class Coming : std::uint8_t { in_turn, as_told, anew, early };
inline bool is_due(Coming coming) { return coming <= Coming::as_told; }

// What one client that was refused has been told of one line (Returns): when its turn is, and how
// much else of its own stands behind that.
struct Promise {
  std::uint64_t key = 0;        // 0: nobody's
  static constexpr Time had{};  // in place of a turn: it has come in its turn
  Time turn = had;
  double behind = 0;         // cost of what it has asked for since, and of what is not due yet
  Time noted = Time::min();  // `behind` as of then; min(): nothing has been told
  double ahead = 0;          // what it has had but for its turn, and is not yet its part
  Time ahead_noted{};        // `ahead` as of then
  ToldTimes told{};          // all that it was told, the turn among them
  // What it was last refused: the most that it can have at a time that it was told.
  std::uint32_t wanted = std::numeric_limits<std::uint32_t>::max();

  bool is_at_its_turn(Time now) const {
    return turn != had && turn <= now + ToldTimes::early_most && now - turn <= ToldTimes::late_most;
  }
};

// The promises that were made lately, some 16,000 of them: in each set of four the newcomer takes
// the place of the one that was asked about the longest time ago; its client stands in the line
// anew when it comes. Keys are hashes that nobody can steer. Takes its memory (1.4 MiB) with the
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
