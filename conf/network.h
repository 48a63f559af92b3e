#pragma once

// IP addresses and blocks of them, as values.

#include <array>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

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
  std::string text() const;
  // With nothing behind its first bits, of the IPv6 form.
  IpAddress masked(int bits) const;
  bool operator==(const IpAddress&) const = default;
};
inline constexpr int v4_prefix_bits = 96;  // of the IPv6 form of IPv4

// "10.0.0.0/8", "2001:db8::/32" or one address (RFC 4632, RFC 4291 section 2.3); "!" before it
// takes it out of a larger one.
struct Network {
  IpAddress address;
  int prefix = 128;  // bits, of the IPv6 form
  bool is_excluded = false;
  std::string text;  // as written
  bool contains(const IpAddress& other) const;
  IpAddress first() const { return address.masked(prefix); }
  IpAddress last() const;
  bool operator==(const Network&) const = default;
};

std::expected<Network, std::string> parse_network(std::string_view text);

}  // namespace classgate::conf
