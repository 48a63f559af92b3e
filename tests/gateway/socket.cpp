#include "tests/gateway/socket.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <stdexcept>

#include "tests/loopback.h"

namespace classgate::gateway::test {
namespace {

using classgate::test::loopback;

proxy::net::Fd bound_socket(std::uint16_t& port) {
  proxy::net::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  if (!fd || ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw std::runtime_error("cannot bind a socket");
  port = ntohs(address.sin_port);
  return fd;
}

}  // namespace

Socket Socket::connect(std::uint16_t port, int receive_buffer) {
  proxy::net::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (receive_buffer > 0)
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  const sockaddr_in address = loopback(port);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    throw std::runtime_error("cannot connect");
  return Socket(std::move(fd));
}

Socket::Got Socket::wait_for(short events, milliseconds wait) const {
  std::array<pollfd, 2> fds{pollfd{fd_.get(), events, 0}, pollfd{stop_fd_, POLLIN, 0}};
  const auto end = std::chrono::steady_clock::now() + wait;
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(end - std::chrono::steady_clock::now());
    const int count =
        ::poll(fds.data(), fds.size(), left.count() > 0 ? static_cast<int>(left.count()) : 0);
    if (count < 0 && errno == EINTR) continue;
    if (fds[1].revents != 0) return Got::stopped;
    return count > 0 ? Got::some : Got::late;
  }
}

bool Socket::send(std::string_view text) {
  while (!text.empty()) {
    if (!fd_) return false;
    const ssize_t sent = ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      text.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (wait_for(POLLOUT, patience) != Got::some) return false;
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

std::size_t Socket::send_what_fits(std::string_view text) {
  const ssize_t sent = ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  return sent > 0 ? static_cast<std::size_t>(sent) : 0;
}

void Socket::send_and_end(std::string_view text) {
  ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_MORE);
  end_writing();
}

Socket::Got Socket::read(std::string& into, milliseconds wait, std::size_t most) {
  if (!fd_) return Got::end;
  if (const Got got = wait_for(POLLIN, wait); got != Got::some) return got;
  std::array<char, 64 * 1024> bytes;
  const ssize_t size = ::recv(fd_.get(), bytes.data(), std::min(most, bytes.size()), 0);
  if (size < 0) return Got::reset;
  if (size == 0) return Got::end;
  into.append(bytes.data(), static_cast<std::size_t>(size));
  return Got::some;
}

bool Socket::wait_readable(milliseconds wait) { return wait_for(POLLIN, wait) == Got::some; }

bool Socket::wait_word() {
  char first = 0;
  return wait_readable() && ::recv(fd_.get(), &first, 1, MSG_PEEK) > 0;
}

int Socket::unacknowledged() const {
  int bytes = 0;
  ::ioctl(fd_.get(), SIOCOUTQ, &bytes);
  return bytes;
}

void Socket::end_writing() { ::shutdown(fd_.get(), SHUT_WR); }

void Socket::reset() {
  const linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  fd_.reset();
}

DeadPort::DeadPort() : fd_(bound_socket(port_)) {}

proxy::net::Fd DeadPort::listen() {
  if (::listen(fd_.get(), 512) != 0) throw std::runtime_error("cannot listen");
  return std::move(fd_);
}

proxy::net::Fd listen_somewhere(std::uint16_t& port, int backlog) {
  proxy::net::Fd fd = bound_socket(port);
  if (::listen(fd.get(), backlog) != 0) throw std::runtime_error("cannot listen");
  return fd;
}

}  // namespace classgate::gateway::test
