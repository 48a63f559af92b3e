#pragma once

// What the programs of the benchmark share about sockets. IPv4 on the loopback only; whatever fails
// ends the program, because a benchmark that lost something has measured nothing.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace bench {

[[noreturn]] inline void fail(const char* what) {
  std::perror(what);
  std::exit(2);
}

inline sockaddr_in address_of(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  const std::string host(text.substr(0, colon));
  const std::string port(text.substr(colon + 1));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(port.c_str())));
  if (::inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) fail("not an address");
  return address;
}

inline int listen_on(sockaddr_in address) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fail("bind");
  if (::listen(fd, 4096) != 0) fail("listen");
  socklen_t size = sizeof address;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  std::printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  return fd;
}

inline void set_no_delay(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

// On the loopback this does not wait, as long as the listener's backlog has room.
inline int connect_to(const sockaddr_in& target, const sockaddr_in* source = nullptr) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket");
  if (source) {
    const int on = 1;
    ::setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (::bind(fd, reinterpret_cast<const sockaddr*>(source), sizeof *source) != 0) fail("bind");
  }
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&target), sizeof target) != 0)
    fail("connect");
  if (::fcntl(fd, F_SETFL, O_NONBLOCK) != 0) fail("fcntl");
  set_no_delay(fd);
  return fd;
}

inline void watch(int epoll, int operation, int fd, std::uint32_t events, void* owner) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = owner;
  if (::epoll_ctl(epoll, operation, fd, &event) != 0) fail("epoll_ctl");
}

using Clock = std::chrono::steady_clock;

// Timers of this thread are not put together with others: by default they may be 50 us late.
inline void wake_in_time() { ::prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0); }

// epoll_wait until a point in time, to the nanosecond; negative durations do not wait.
inline int wait_until(int epoll, epoll_event* events, int room, Clock::time_point until) {
  const auto left = std::max(until - Clock::now(), Clock::duration::zero());
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
  const timespec timeout{.tv_sec = seconds.count(), .tv_nsec = (left - seconds).count()};
  return ::epoll_pwait2(epoll, events, room, &timeout, nullptr);
}

}  // namespace bench
