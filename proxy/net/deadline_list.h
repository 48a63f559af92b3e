#pragma once

#include <functional>

#include "proxy/net/loop.h"

namespace classgate::proxy::net {

// Something that ends at a deadline. A member of what it watches; leaves its list when destroyed.
class Deadline {
 public:
  using Callback = void (*)(void* owner);
  Deadline(Callback on_due, void* owner) : on_due_(on_due), owner_(owner) {}
  ~Deadline() { cancel(); }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

  bool is_set() const { return next_ != nullptr; }
  void cancel();

 private:
  friend class DeadlineList;
  Deadline() = default;  // a list's own anchor
  Deadline* previous_ = nullptr;
  Deadline* next_ = nullptr;
  Time due_{};
  Callback on_due_ = nullptr;
  void* owner_ = nullptr;
};

// All deadlines of one duration on one loop, in the order in which they were set, which is the
// order in which they fall due: setting and cancelling are a few pointer writes. One timer watches
// the first; it is not moved when that one is cancelled but looks again when it fires, so that a
// busy loop makes no timer calls at all and an idle one is woken at most once a duration.
class DeadlineList {
 public:
  DeadlineList(Loop& loop, std::chrono::milliseconds duration);
  ~DeadlineList();
  DeadlineList(const DeadlineList&) = delete;
  DeadlineList& operator=(const DeadlineList&) = delete;

  // From now, or, for a deadline that counts from an earlier moment, from then (moments must come
  // in order, give or take a turn). Moves it here if it was set elsewhere.
  void set(Deadline& deadline) { set(deadline, loop_.now()); }
  void set(Deadline& deadline, Time from);
  std::chrono::milliseconds duration() const { return duration_; }
  // Ends the one that was set first, as if it were due, if that was at least `age` ago.
  bool end_oldest(std::chrono::milliseconds age);

 private:
  static void on_timer(int, short, void* self) { static_cast<DeadlineList*>(self)->fire(); }
  void fire();
  void end_first();
  void arm();

  Loop& loop_;
  std::chrono::milliseconds duration_;
  Deadline anchor_;  // ring: anchor_.next_ is the first to fall due
  bool is_armed_ = false;
  Event timer_;
};

}  // namespace classgate::proxy::net
