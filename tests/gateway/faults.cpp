#include "tests/gateway/faults.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

extern "C" {
ssize_t __real_classgate_recv(int fd, void* into, std::size_t size, int flags);
ssize_t __real_classgate_send(int fd, const void* bytes, std::size_t size, int flags);
ssize_t __real_sendmsg(int fd, const msghdr* message, int flags);
int __real_accept4(int fd, sockaddr* address, socklen_t* length, int flags);
int __real_connect(int fd, const sockaddr* address, socklen_t length);
int __real_socket(int family, int type, int protocol);
}

namespace classgate::gateway::test {
namespace {

struct State {
  std::mutex mutex;
  std::function<Fault(const Moment&)> plan;
  std::array<std::uint64_t, call_count> calls{};
  std::array<std::uint64_t, call_count> bytes{};
  std::uint64_t injected = 0;
};

State& state() {
  static State the_state;
  return the_state;
}

// Server::start() names them.
bool is_loop() {
  thread_local const bool is = [] {
    std::array<char, 16> name{};
    ::pthread_getname_np(::pthread_self(), name.data(), name.size());
    return std::string_view(name.data()) == "loop";
  }();
  return is;
}

Fault fault_of(Call call) {
  if (!is_loop()) return {};
  State& now = state();
  const std::lock_guard lock(now.mutex);
  if (!now.plan) return {};
  const auto index = static_cast<std::size_t>(call);
  const Fault fault = now.plan({call, now.calls[index]++, now.bytes[index]});
  if (fault.error != 0 || fault.most != SIZE_MAX) ++now.injected;
  return fault;
}

void count_bytes(Call call, ssize_t size) {
  if (size <= 0 || !is_loop()) return;
  const std::lock_guard lock(state().mutex);
  state().bytes[static_cast<std::size_t>(call)] += static_cast<std::uint64_t>(size);
}

// Lets epoll say anew what the socket is ready for: the set it is in is found by the kernel's own
// description of each.
void tell_again(int fd) {
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fdinfo", gone)) {
    std::ifstream info(entry.path());
    for (std::string word; info >> word;) {
      int watched = -1;
      std::string label, events;
      if (word != "tfd:" || !(info >> watched >> label >> events) || watched != fd) continue;
      epoll_event wanted{};
      wanted.events = static_cast<std::uint32_t>(std::stoul(events, nullptr, 16));
      wanted.data.fd = fd;  // as libevent has it
      ::epoll_ctl(std::stoi(entry.path().filename()), EPOLL_CTL_MOD, fd, &wanted);
      return;
    }
  }
}

int fail(int fd, int error) {
  if (error == EAGAIN) tell_again(fd);
  errno = error;
  return -1;
}

std::vector<iovec> first_of(const msghdr& message, std::size_t most) {
  std::vector<iovec> parts;
  for (std::size_t i = 0; i < message.msg_iovlen && most > 0; ++i) {
    parts.push_back(message.msg_iov[i]);
    parts.back().iov_len = std::min(parts.back().iov_len, most);
    most -= parts.back().iov_len;
  }
  return parts;
}

}  // namespace

Injection::Injection(std::function<Fault(const Moment&)> plan) {
  const std::lock_guard lock(state().mutex);
  state().plan = std::move(plan);
  state().calls = {};
  state().bytes = {};
  state().injected = 0;
}

Injection::~Injection() {
  const std::lock_guard lock(state().mutex);
  state().plan = nullptr;
}

std::uint64_t Injection::injected() const {
  const std::lock_guard lock(state().mutex);
  return state().injected;
}

std::uint64_t Injection::bytes(Call call) const {
  const std::lock_guard lock(state().mutex);
  return state().bytes[static_cast<std::size_t>(call)];
}

}  // namespace classgate::gateway::test

using namespace classgate::gateway::test;

extern "C" {

ssize_t __wrap_classgate_recv(int fd, void* into, std::size_t size, int flags) {
  const Fault fault = fault_of(Call::receive);
  if (fault.error != 0) return fail(fd, fault.error);
  const ssize_t got = __real_classgate_recv(fd, into, std::min(size, fault.most), flags);
  if (got > 0 && fault.most < size) tell_again(fd);
  count_bytes(Call::receive, got);
  return got;
}

ssize_t __wrap_classgate_send(int fd, const void* bytes, std::size_t size, int flags) {
  const Fault fault = fault_of(Call::send);
  if (fault.error != 0) return fail(fd, fault.error);
  const ssize_t sent = __real_classgate_send(fd, bytes, std::min(size, fault.most), flags);
  if (fault.most != SIZE_MAX) tell_again(fd);
  count_bytes(Call::send, sent);
  return sent;
}

ssize_t __wrap_sendmsg(int fd, const msghdr* message, int flags) {
  const Fault fault = fault_of(Call::send);
  if (fault.error != 0) return fail(fd, fault.error);
  ssize_t sent;
  if (fault.most == SIZE_MAX) {
    sent = __real_sendmsg(fd, message, flags);
  } else {
    std::vector<iovec> parts = first_of(*message, fault.most);
    msghdr less = *message;
    less.msg_iov = parts.data();
    less.msg_iovlen = parts.size();
    sent = __real_sendmsg(fd, &less, flags);
    tell_again(fd);
  }
  count_bytes(Call::send, sent);
  return sent;
}

int __wrap_accept4(int fd, sockaddr* address, socklen_t* length, int flags) {
  const Fault fault = fault_of(Call::accept);
  if (fault.error != 0) return fail(fd, fault.error);
  return __real_accept4(fd, address, length, flags);
}

int __wrap_connect(int fd, const sockaddr* address, socklen_t length) {
  const Fault fault = fault_of(Call::connect);
  if (fault.error != 0) return fail(fd, fault.error);
  return __real_connect(fd, address, length);
}

int __wrap_socket(int family, int type, int protocol) {
  const Fault fault = fault_of(Call::open_socket);
  if (fault.error != 0) return fail(-1, fault.error);
  return __real_socket(family, type, protocol);
}

}  // extern "C"
