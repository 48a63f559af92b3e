#pragma once

#include <chrono>
#include <functional>

// The monotonic clock and epoll_wait(2) of this program, libevent's included, are a test's
// (virtual_time.cpp stands in for glibc's): a loop on the only thread finds events at once, timers
// fall due when the test says so, and whenever the loop looks for events the test may act first.

namespace classgate::connection_test {

class VirtualTime {
 public:
  // `on_turn` is called whenever the loop asks for events, before the kernel is asked; `is_idle`:
  // there are none. `on_receive` before each recv(2) of the gateway.
  VirtualTime(std::function<void(bool is_idle)> on_turn, std::function<void()> on_receive);
  ~VirtualTime();
  VirtualTime(const VirtualTime&) = delete;
  VirtualTime& operator=(const VirtualTime&) = delete;

  static void advance(std::chrono::nanoseconds time);
};

}  // namespace classgate::connection_test
