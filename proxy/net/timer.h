#pragma once

#include <chrono>
#include <functional>

#include "proxy/net/loop.h"

namespace classgate::proxy::net {

// Calls back once, when it is due. On the loop's thread. Its place among the loop's timers is asked
// for when it is made, which may throw std::bad_alloc: starting, moving and stopping it need no
// memory and cannot fail. Many timeouts of one duration belong in a TimeoutList.
class Timer {
 public:
  Timer(Loop& loop, std::function<void()> on_due);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // Also when it has been started already: the last start counts. Never due in the turn in which it
  // is started.
  void start(std::chrono::milliseconds after);
  void start_at(Time due);
  void stop();

 private:
  friend class Loop;
  bool is_started() const { return place_.empty(); }

  Loop& loop_;
  std::function<void()> on_due_;
  Loop::Timers::node_type place_;     // while it is stopped
  Loop::Timers::iterator started_{};  // while it is started
};

}  // namespace classgate::proxy::net
