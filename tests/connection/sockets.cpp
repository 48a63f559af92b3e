#include "tests/connection/sockets.h"

#include <netinet/tcp.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <stdexcept>

#include "tests/loopback.h"

namespace classgate::connection_test {
using classgate::test::loopback;

Fd open_socket() {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) throw std::runtime_error("no socket");
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

Fd listen_on_loopback() {
  Fd fd = open_socket();
  const sockaddr_in address = loopback(0);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd.get(), 64) != 0)
    throw std::runtime_error("cannot listen");
  return fd;
}

std::uint16_t port_of(const Fd& fd) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw std::runtime_error("a socket without an address");
  return ntohs(address.sin_port);
}

void connect_to_loopback(const Fd& fd, std::uint16_t port) {
  const sockaddr_in address = loopback(port);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
      errno != EINPROGRESS)
    throw std::runtime_error("cannot connect");
}

Fd accept_one(const Fd& listener) {
  return Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

void reset(Fd& fd) {
  if (!fd) return;
  const linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  fd.reset();
}

bool read_all(const Fd& fd, std::string& into, std::size_t most) {
  std::array<char, 4096> bytes;
  while (most > 0) {
    const ssize_t size = ::recv(fd.get(), bytes.data(), std::min(most, bytes.size()), 0);
    if (size <= 0) return size < 0 && (errno == EAGAIN || errno == EINTR);
    into.append(bytes.data(), static_cast<std::size_t>(size));
    most -= static_cast<std::size_t>(size);
  }
  return true;
}

}  // namespace classgate::connection_test
