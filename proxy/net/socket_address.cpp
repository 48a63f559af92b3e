#include "proxy/net/socket_address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <set>
#include <utility>

#include "proxy/net/handles.h"

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
  if (storage.ss_family == AF_UNIX) return {};
  const conf::IpAddress address = ip();
  std::string text = address == conf::IpAddress() ? "::" : address.text();
  if (storage.ss_family != AF_INET6) return text;
  const std::uint32_t zone = reinterpret_cast<const sockaddr_in6&>(storage).sin6_scope_id;
  std::array<char, IF_NAMESIZE> name{};
  if (zone == 0) return text;
  return text + "%" +
         (if_indextoname(zone, name.data()) != nullptr ? name.data() : std::to_string(zone));
}

std::uint16_t SocketAddress::port() const {
  if (storage.ss_family == AF_INET6)
    return ntohs(reinterpret_cast<const sockaddr_in6&>(storage).sin6_port);
  return ntohs(reinterpret_cast<const sockaddr_in&>(storage).sin_port);
}

void SocketAddress::set_port(std::uint16_t port) {
  if (storage.ss_family == AF_INET6)
    reinterpret_cast<sockaddr_in6&>(storage).sin6_port = htons(port);
  else
    reinterpret_cast<sockaddr_in&>(storage).sin_port = htons(port);
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

namespace {

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

std::expected<AddressList, std::string> look_up(const conf::Address& address, int flags) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | flags;
  const bool is_any = address.host == "*";
  if (is_any) hints.ai_family = AF_INET;
  const std::string port = std::to_string(address.port);
  addrinfo* found = nullptr;
  const int error =
      getaddrinfo(is_any ? nullptr : address.host.c_str(), port.c_str(), &hints, &found);
  if (error != 0) return std::unexpected(std::string(gai_strerror(error)));
  return AddressList(found, &freeaddrinfo);
}

SocketAddress address_of(const addrinfo& info) {
  SocketAddress result;
  result.length = info.ai_addrlen;
  std::memcpy(&result.storage, info.ai_addr, info.ai_addrlen);
  return result;
}

}  // namespace

// Whether the kernel has IPv6 at all.
static bool has_v6() {
  const Fd probe(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!probe) return false;
  SocketAddress any = socket_address(conf::IpAddress(), 0);
  return ::bind(probe.get(), any.get(), any.length) == 0;
}

std::expected<SocketAddress, std::string> resolve(const conf::Address& address, bool to_listen) {
  if (address.is_unix) return unix_address(address.host);
  if (address.host == "*" && to_listen && has_v6())
    return socket_address(conf::IpAddress(), address.port);
  const auto found = look_up(address, to_listen ? AI_PASSIVE : 0);
  if (!found) return std::unexpected("cannot look up \"" + address.text + "\": " + found.error());
  return address_of(**found);
}

std::expected<SocketAddress, std::string> address_of_number(const conf::Address& address) {
  if (address.is_unix) return unix_address(address.host);
  const auto found = look_up(address, AI_NUMERICHOST);
  if (!found) return std::unexpected(found.error());
  return address_of(**found);
}

SocketAddress socket_address(const conf::IpAddress& ip, std::uint16_t port) {
  SocketAddress result;
  if (ip.is_v4()) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(result.storage);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&v4.sin_addr, ip.bytes.data() + 12, 4);
    result.length = sizeof v4;
  } else {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(result.storage);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&v6.sin6_addr, ip.bytes.data(), ip.bytes.size());
    result.length = sizeof v6;
  }
  return result;
}

std::size_t tidy(std::vector<Endpoint>& endpoints) {
  constexpr std::size_t most = 1024;
  const auto where = [](const Endpoint& one) {
    return std::pair(one.address.ip().bytes, one.address.port());
  };
  const auto order = [&](const Endpoint& one) { return std::pair(one.priority, where(one)); };
  std::ranges::sort(endpoints, {}, order);
  std::set<decltype(where(endpoints.front()))> seen;
  std::erase_if(endpoints, [&](const Endpoint& one) { return !seen.insert(where(one)).second; });
  const std::size_t left_out = endpoints.size() - std::min(endpoints.size(), most);
  endpoints.resize(endpoints.size() - left_out);
  return left_out;
}

}  // namespace classgate::proxy::net
