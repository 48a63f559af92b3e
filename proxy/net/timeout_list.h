#pragma once

#include <memory>
#include <vector>

#include "proxy/net/loop.h"

namespace classgate::proxy::net {

// What is done when something has lasted for too long. A member of what it watches; leaves its list
// when destroyed.
class Timeout {
 public:
  using Callback = void (*)(void* owner);
  Timeout(Callback on_due, void* owner) : on_due_(on_due), owner_(owner) {}
  ~Timeout() { cancel(); }
  Timeout(const Timeout&) = delete;
  Timeout& operator=(const Timeout&) = delete;

  bool is_set() const { return next_ != nullptr; }
  void cancel();

 private:
  friend class TimeoutList;
  Timeout() = default;  // a ring's own anchor
  Timeout* previous_ = nullptr;
  Timeout* next_ = nullptr;
  Time due_{};
  Callback on_due_ = nullptr;
  void* owner_ = nullptr;
};

// All timeouts of one duration on one loop, in the order in which they were set, which is the
// order in which they fall due: setting and cancelling are a few pointer writes. One timer watches
// the first; it is not moved when that one is cancelled but looks again when it fires, so that a
// busy loop makes no timer calls at all and an idle one is woken at most once a duration.
class TimeoutList {
 public:
  TimeoutList(Loop& loop, std::chrono::milliseconds duration);
  ~TimeoutList();
  TimeoutList(const TimeoutList&) = delete;
  TimeoutList& operator=(const TimeoutList&) = delete;

  // From now, or, for a timeout that counts from an earlier moment, from then (moments must come
  // in order, give or take a turn). Moves it here if it was set elsewhere.
  void set(Timeout& timeout) { set(timeout, loop_.now()); }
  void set(Timeout& timeout, Time from);
  std::chrono::milliseconds duration() const;
  // For timeouts set from now on; those that are set stay as they are.
  void change_duration(std::chrono::milliseconds duration);
  // Ends the one that was set first, as if it were due, if that was at least `age` ago.
  bool end_oldest(std::chrono::milliseconds age);

 private:
  class Ring;  // of one duration

  Loop& loop_;
  std::unique_ptr<Ring> current_;
  std::vector<std::unique_ptr<Ring>> former_;  // oldest first, until they are empty
};

}  // namespace classgate::proxy::net
