#pragma once

// IP addresses and blocks of them, as values.

#include <array>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace classgate::conf {

// IPv6 in network order; IPv4 as the IPv6 address that it is mapped to (RFC 4291 section 2.5.5.2).
// All zeroes, which is nobody's (section 2.5.2), stands for whoever comes by a Unix socket:
// "unix:".
struct IpAddress {
  std::array<std::uint8_t, 16> bytes{};

  static IpAddress from_v4(const std::uint8_t* four);
  // "127.0.0.1", "2001:db8::1" or "unix:", nothing around it.
  static std::optional<IpAddress> parse(std::string_view text);
  bool is_v4() const;
  bool is_unix() const { return *this == IpAddress(); }
  // 127.0.0.0/8 or ::1: the machine itself (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3).
  bool is_loopback() const;
  std::string text() const;
  // With nothing behind its first bits, of the IPv6 form.
  IpAddress masked(int bits) const;
  // The same, as one client: in ::/64 there is only the machine itself ("::1", RFC 4291 section
  // 2.5.3), which stays what it is.
  IpAddress as_client(int bits) const;
  // IPv6, IPv4 and Unix sockets apart: as numbers, ::/64 would have all of IPv4 in it.
  enum class Family : std::uint8_t { unix_socket, v4, v6 };
  using Order = std::pair<Family, std::array<std::uint8_t, 16>>;
  Family family() const;
  Order order() const { return {family(), bytes}; }
  bool operator==(const IpAddress&) const = default;
};
inline constexpr int v4_prefix_bits = 96;  // of the IPv6 form of IPv4

// "10.0.0.0/8", "2001:db8::/32" or one address (RFC 4632, RFC 4291 section 2.3); "!" before it
// takes it out of a larger one. Of one family: in "::/0" there is no IPv4 address.
struct Network {
  IpAddress address;
  int prefix = 128;  // bits, of the IPv6 form
  bool is_excluded = false;
  std::string text;  // as written
  bool contains(const IpAddress& other) const;
  bool is_unix() const { return address.is_unix() && prefix == 128; }
  // All of it lies between these, and nothing else does.
  IpAddress::Order first() const { return {family(), address.masked(prefix).bytes}; }
  IpAddress::Order last() const;
  bool operator==(const Network&) const = default;

 private:
  IpAddress::Family family() const {
    return address.is_unix() && prefix < 128 ? IpAddress::Family::v6 : address.family();
  }
};

std::expected<Network, std::string> parse_network(std::string_view text);

}  // namespace classgate::conf
