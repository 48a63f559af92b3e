#include "tests/connection/virtual_time.h"

#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>

namespace classgate::connection_test {
namespace {

constexpr std::int64_t billion = 1'000'000'000;

struct State {
  bool is_on = false;
  std::int64_t now_ns = 1000 * billion;  // never goes back, whatever was run before
  std::function<void(bool)> on_turn;
  std::function<void()> on_receive;
};

State& state() {
  static State the_state;
  return the_state;
}

int poll_at_once(int set, epoll_event* events, int most) {
  return static_cast<int>(::syscall(SYS_epoll_pwait, set, events, most, 0, nullptr, 8));
}

}  // namespace

VirtualTime::VirtualTime(std::function<void(bool)> on_turn, std::function<void()> on_receive) {
  state().on_turn = std::move(on_turn);
  state().on_receive = std::move(on_receive);
  state().is_on = true;
}

VirtualTime::~VirtualTime() {
  state().is_on = false;
  state().on_turn = nullptr;
  state().on_receive = nullptr;
}

void VirtualTime::advance(std::chrono::nanoseconds time) { state().now_ns += time.count(); }

}  // namespace classgate::connection_test

using classgate::connection_test::billion;
using classgate::connection_test::poll_at_once;
using classgate::connection_test::state;

extern "C" {

int clock_gettime(clockid_t clock, timespec* time) noexcept {
  const bool is_ours = clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE;
  if (!is_ours || !state().is_on)
    return static_cast<int>(::syscall(SYS_clock_gettime, clock, time));
  time->tv_sec = state().now_ns / billion;
  time->tv_nsec = state().now_ns % billion;
  return 0;
}

int epoll_wait(int set, epoll_event* events, int most, int timeout) {
  if (!state().is_on)
    return static_cast<int>(::syscall(SYS_epoll_pwait, set, events, most, timeout, nullptr, 8));
  state().now_ns += 1'000;  // no two turns have the same time
  const int ready = poll_at_once(set, events, most);
  // What comes of it, and timers that fall due with it, are this turn's too.
  if (ready >= 0 && ready < most) {
    state().on_turn(ready == 0);
    const int more = poll_at_once(set, events + ready, most - ready);
    return more > 0 ? ready + more : ready;
  }
  return ready;
}

ssize_t __real_classgate_recv(int fd, void* into, std::size_t size, int flags);
ssize_t __wrap_classgate_recv(int fd, void* into, std::size_t size, int flags) {
  if (state().is_on) state().on_receive();
  return __real_classgate_recv(fd, into, size, flags);
}

}  // extern "C"
