#pragma once

#include <cstdint>
#include <vector>

#include "admission/simulation/event_heap.h"
#include "admission/simulation/traffic.h"

namespace classgate::planning {

// Wishes that are taken in the order in which they arrive; of the same time, in that in which they
// were added. Memory grows with those that are in it.
class WishOrder {
 public:
  using Wish = simulation::Wish;
  struct Again {  // after this wish as many more, each so much later
    std::uint64_t left = 0;
    admission::Duration step{};
  };

  void add(const Wish& wish, Again again) {
    if (free_.empty()) {
      free_.push_back(static_cast<std::uint32_t>(places_.size()));
      places_.emplace_back();
    }
    const std::uint32_t slot = free_.back();
    free_.pop_back();
    places_[slot] = {wish, again};
    push(slot);
  }
  bool is_empty() const { return heap_.is_empty(); }
  admission::Time first() const { return heap_.first().at; }
  // `renew` makes the next one of it, where there are more of it.
  template <typename Renew>
  Wish take_first(const Renew& renew) {
    const std::uint32_t slot = heap_.pop().slot;
    Place& place = places_[slot];
    const Wish wish = place.wish;
    if (place.again.left > 0) {
      --place.again.left;
      renew(place.wish);
      place.wish.at += place.again.step;
      push(slot);
    } else {
      free_.push_back(slot);
    }
    return wish;
  }

 private:
  struct Place {
    Wish wish;
    Again again;
  };
  void push(std::uint32_t slot) {
    simulation::Event event;
    event.at = places_[slot].wish.at;
    event.sequence = sequence_++;
    event.slot = slot;
    heap_.push(event);
  }

  simulation::EventHeap heap_;
  std::vector<Place> places_;
  std::vector<std::uint32_t> free_;
  std::uint64_t sequence_ = 0;
};

}  // namespace classgate::planning
