#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>
#include <expected>
#include <string>
#include <vector>

#include "conf/network.h"
#include "conf/settings.h"

namespace classgate::proxy::net {

// An IPv4 or IPv6 address with its port, or the path of a Unix socket, ready for the kernel.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  // "127.0.0.1" or "2001:db8::1", without the port.
  std::string host() const;
  // Of a Unix socket conf::IpAddress(), which is "unix:".
  conf::IpAddress ip() const;
  std::uint16_t port() const;
  void set_port(std::uint16_t port);  // not of a Unix socket
  // "127.0.0.1:8080" or "[::1]:8080".
  std::string text() const;
  bool operator==(const SocketAddress& other) const {
    return length == other.length && std::memcmp(&storage, &other.storage, length) == 0;
  }
};

std::expected<SocketAddress, std::string> unix_address(const std::string& path);

// Looks the host up; blocks, so only at start. The error is one line for an operator.
std::expected<SocketAddress, std::string> resolve(const conf::Address& address, bool to_listen);

// All addresses of one family, IPv4 where there are any, in a fixed order. Blocks likewise.
std::expected<std::vector<SocketAddress>, std::string> resolve_all(const conf::Address& address);
SocketAddress socket_address(const conf::IpAddress& ip, std::uint16_t port);
// Sorted, without doubles, and not more than a service could sensibly have.
void tidy(std::vector<SocketAddress>& addresses);

}  // namespace classgate::proxy::net
