#pragma once

#include <chrono>
#include <cstddef>
#include <vector>

#include "gateway/sharing/board.h"

namespace classgate::gateway {

// What the log says of rates that are not shared as their conf has them, at most once a minute.
// Not thread-safe.
class RateNotes {
 public:
  using Time = std::chrono::steady_clock::time_point;
  explicit RateNotes(std::chrono::milliseconds lease) : lease_(lease) {}

  // So many are not shared, as there are too many.
  void note_beyond(std::size_t beyond);
  // Another gateway's conf says less of one.
  void note_less(const std::vector<SharingHealth::Rate>& rates, Time now);

 private:
  std::chrono::milliseconds lease_;
  std::size_t beyond_ = 0;
  Time less_since_{};  // zero: none is less
  Time complained_{};  // of that, last
};

}  // namespace classgate::gateway
