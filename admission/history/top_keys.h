#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

#include "conf/invariant.h"

namespace classgate::history {

// The keys that have most, of any number of keys, in fixed room: Space-Saving (Metwally, Agrawal,
// El Abbadi: "Efficient computation of frequent and top-k elements in data streams", ICDT 2005).
// While there are no more keys than room all counts are exact. Then a key that is new takes the
// place of the one that has least, m, and is taken to have had up to m before:
//   at_least <= what it has <= at_least + missed,   missed <= total() / room.
// So a key with more than total() / room has a place, always. Each has a Value, of what came while
// it had its place; that of one that falls out is handed over and can be added to the others: the
// sum of all values is whole. Adding: O(log room). A value; one thread.
template <typename Value>
class TopKeys {
 public:
  struct Entry {
    std::uint64_t key = 0;
    std::uint64_t at_least = 0;  // counted since it has its place
    std::uint64_t missed = 0;    // that it may have had before, at most
    Value value{};
    std::uint64_t bound() const { return at_least + missed; }
  };

  explicit TopKeys(std::size_t room) : room_(room) {
    CLASSGATE_INVARIANT(room > 0);
    heap_.reserve(room);
    places_.reserve(room);
  }

  // `on_fall` is called with the Entry that gives way, if one does.
  template <typename OnFall>
  Value& add(std::uint64_t key, std::uint64_t times, OnFall on_fall) {
    total_ += times;
    std::size_t place = 0;
    if (const auto known = places_.find(key); known != places_.end()) {
      place = known->second;
    } else if (heap_.size() < room_) {
      place = heap_.size();
      heap_.push_back({.key = key});
      places_.emplace(key, place);
      place = rise(place);
    } else {
      Entry& least = heap_.front();
      on_fall(std::as_const(least));
      places_.erase(least.key);
      least = {.key = key, .missed = least.bound()};
      places_.emplace(key, 0);
    }
    heap_[place].at_least += times;
    return heap_[sink(place)].value;
  }

  // What `other` has, too: the bounds hold for both together (Agarwal et al.: "Mergeable
  // summaries", PODS 2012). Values are brought together by `join(Value& to, const Value& from)`.
  template <typename Join, typename OnFall>
  void add(const TopKeys& other, Join join, OnFall on_fall) {
    const std::uint64_t missed_here = missed_by_others();
    const std::uint64_t missed_there = other.missed_by_others();
    std::vector<Entry> all = heap_;
    for (Entry& entry : all)
      if (const Entry* const there = other.find(entry.key)) {
        entry.at_least += there->at_least;
        entry.missed += there->missed;
        join(entry.value, there->value);
      } else {
        entry.missed += missed_there;
      }
    for (const Entry& entry : other.heap_)
      if (find(entry.key) == nullptr) {
        all.push_back(entry);
        all.back().missed += missed_here;
      }
    std::ranges::sort(all, std::greater{}, &Entry::bound);
    for (std::size_t i = room_; i < all.size(); ++i) on_fall(std::as_const(all[i]));
    all.resize(std::min(all.size(), room_));
    std::ranges::reverse(all);  // in order: a heap
    total_ += other.total_;
    heap_ = std::move(all);
    places_.clear();
    for (std::size_t i = 0; i < heap_.size(); ++i) places_.emplace(heap_[i].key, i);
  }

  const Entry* find(std::uint64_t key) const {
    const auto known = places_.find(key);
    return known == places_.end() ? nullptr : &heap_[known->second];
  }
  // In no order.
  const std::vector<Entry>& entries() const { return heap_; }
  std::uint64_t total() const { return total_; }
  // Nobody has fallen out.
  bool is_exact() const {
    return std::ranges::all_of(heap_, [](const Entry& each) { return each.missed == 0; });
  }
  // What a key without a place has, at most.
  std::uint64_t missed_by_others() const {
    return heap_.size() < room_ ? 0 : heap_.front().bound();
  }

 private:
  std::size_t move(std::size_t from, std::size_t to) {
    std::swap(heap_[from], heap_[to]);
    places_[heap_[from].key] = from;
    places_[heap_[to].key] = to;
    return to;
  }
  std::size_t rise(std::size_t place) {
    while (place > 0 && heap_[place].bound() < heap_[(place - 1) / 2].bound())
      place = move(place, (place - 1) / 2);
    return place;
  }
  std::size_t sink(std::size_t place) {
    for (;;) {
      std::size_t least = place;
      for (std::size_t child = 2 * place + 1; child <= 2 * place + 2; ++child)
        if (child < heap_.size() && heap_[child].bound() < heap_[least].bound()) least = child;
      if (least == place) return place;
      place = move(place, least);
    }
  }

  const std::size_t room_;
  std::vector<Entry> heap_;  // the least bound first
  std::unordered_map<std::uint64_t, std::size_t> places_;
  std::uint64_t total_ = 0;
};

}  // namespace classgate::history
