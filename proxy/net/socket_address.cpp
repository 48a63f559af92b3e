#include "proxy/net/socket_address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/un.h>

#include <cstddef>
#include <memory>

namespace classgate::proxy::net {

// A client that came by IPv4 to a dual-stack socket is what it is.
conf::IpAddress SocketAddress::ip() const {
  conf::IpAddress address;
  if (storage.ss_family == AF_INET6)
    std::memcpy(address.bytes.data(), &reinterpret_cast<const sockaddr_in6&>(storage).sin6_addr,
                address.bytes.size());
  else if (storage.ss_family == AF_INET)
    address = conf::IpAddress::from_v4(reinterpret_cast<const std::uint8_t*>(
        &reinterpret_cast<const sockaddr_in&>(storage).sin_addr));
  return address;
}

std::string SocketAddress::host() const {
  return storage.ss_family == AF_UNIX ? std::string() : ip().text();
}

std::uint16_t SocketAddress::port() const {
  if (storage.ss_family == AF_INET6)
    return ntohs(reinterpret_cast<const sockaddr_in6&>(storage).sin6_port);
  return ntohs(reinterpret_cast<const sockaddr_in&>(storage).sin_port);
}

std::string SocketAddress::text() const {
  if (storage.ss_family == AF_UNIX) return reinterpret_cast<const sockaddr_un&>(storage).sun_path;
  const std::string name = host();
  const bool is_v6 = name.find(':') != std::string::npos;
  return (is_v6 ? "[" + name + "]:" : name + ":") + std::to_string(port());
}

std::expected<SocketAddress, std::string> unix_address(const std::string& path) {
  SocketAddress result;
  auto& address = reinterpret_cast<sockaddr_un&>(result.storage);
  if (path.size() >= sizeof address.sun_path)
    return std::unexpected("the path \"" + path + "\" is too long for a Unix socket");
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, path.size());
  result.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return result;
}

std::expected<SocketAddress, std::string> resolve(const conf::Address& address, bool to_listen) {
  if (address.is_unix) return unix_address(address.host);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (to_listen ? AI_PASSIVE : 0);
  const bool is_any = address.host == "*";
  if (is_any) hints.ai_family = AF_INET;
  const std::string port = std::to_string(address.port);
  addrinfo* found = nullptr;
  const int error =
      getaddrinfo(is_any ? nullptr : address.host.c_str(), port.c_str(), &hints, &found);
  if (error != 0)
    return std::unexpected("cannot look up \"" + address.text + "\": " + gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
  SocketAddress result;
  result.length = found->ai_addrlen;
  std::memcpy(&result.storage, found->ai_addr, found->ai_addrlen);
  return result;
}

}  // namespace classgate::proxy::net
