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
  // "127.0.0.1", "2001:db8::1" or "fe80::1%eth0", without the port.
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

// A server at an address, and what DNS says of it among the servers of its service (SRV records,
// RFC 2782): those with the lowest priority number come first, requests are shared by weight.
struct Endpoint {
  SocketAddress address;
  std::uint16_t priority = 0;
  std::uint16_t weight = 1;
};

std::expected<SocketAddress, std::string> unix_address(const std::string& path);

// Looks the host up; blocks, so only at start. The error is one line for an operator.
std::expected<SocketAddress, std::string> resolve(const conf::Address& address, bool to_listen);

// Of one that is no name: a number, an IPv6 number with the zone of this machine, or a path. Waits
// for nothing. The error is why not, as part of a line.
std::expected<SocketAddress, std::string> address_of_number(const conf::Address& address);
SocketAddress socket_address(const conf::IpAddress& ip, std::uint16_t port);
// By priority, then by address; each address once, where it comes first; 1024 at most. Returns how
// many more there were.
std::size_t tidy(std::vector<Endpoint>& endpoints);

}  // namespace classgate::proxy::net
