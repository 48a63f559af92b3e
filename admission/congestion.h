#pragma once

#include "admission/time.h"

namespace classgate::admission {

// Whether the line of one priority is congested: not long for a moment, which is what a queue is
// for, but standing, so that everybody waits and nobody gains by it.
//
// It becomes so by CoDel's criterion (Nichols and Jacobson, "Controlling queue delay", ACM Queue
// 10(5), 2012): the *shortest* wait of an interval stayed above the target. It is healthy again
// when it has run empty (Maurer, "Fail at scale", ACM Queue 13(8), 2015). In between, whoever has
// waited for the target is shed, and the newest goes in first (the same article's adaptive LIFO):
// its client is the most likely to be still there. CoDel itself sheds one in interval / sqrt(count)
// and relies on senders that slow down when they lose a packet; ours do not (ten times the load
// would take minutes), so that the wait itself is what is held to the target. The interval is one
// target: a burst gets as long to pass as the worst that is then allowed. O(1). Not thread-safe.
class Congestion {
 public:
  bool is_on() const { return is_on_; }
  // One goes in, or is looked at, after waiting for so long.
  void note_wait(Duration waited, Duration target, Time now) {
    if (is_on_) return;
    if (waited < target)
      is_above_ = false;
    else if (!is_above_)
      is_above_ = true, above_since_ = now;
    else
      is_on_ = now - above_since_ >= target;
  }
  void note_empty() { is_on_ = is_above_ = false; }

 private:
  bool is_on_ = false;
  bool is_above_ = false;
  Time above_since_{};
};

}  // namespace classgate::admission
