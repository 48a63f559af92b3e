#include "conf/network.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <span>

#include "conf/format.h"

namespace classgate::conf {
namespace {

constexpr std::array<std::uint8_t, 12> v4_prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr std::string_view unix_name = "unix:";

// The bits behind the prefix: none may be set in a network's address.
bool has_host_bits(const IpAddress& address, int prefix) {
  for (int bit = prefix; bit < 128; ++bit)
    if ((address.bytes[static_cast<std::size_t>(bit) / 8] >> (7 - bit % 8) & 1) != 0) return true;
  return false;
}

}  // namespace

IpAddress IpAddress::from_v4(const std::uint8_t* four) {
  IpAddress address;
  std::ranges::copy(v4_prefix, address.bytes.begin());
  std::copy_n(four, 4, address.bytes.begin() + v4_prefix.size());
  return address;
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  if (text == unix_name) return IpAddress();
  if (text.size() >= INET6_ADDRSTRLEN) return std::nullopt;
  const std::string terminated(text);
  std::array<std::uint8_t, 4> four{};
  if (inet_pton(AF_INET, terminated.c_str(), four.data()) == 1) return from_v4(four.data());
  IpAddress address;
  if (inet_pton(AF_INET6, terminated.c_str(), address.bytes.data()) == 1) return address;
  return std::nullopt;
}

bool IpAddress::is_v4() const { return std::ranges::equal(v4_prefix, std::span(bytes).first(12)); }

bool IpAddress::is_loopback() const {
  constexpr std::uint8_t v4_loopback = 127;
  if (is_v4()) return bytes[12] == v4_loopback;
  IpAddress v6;
  v6.bytes.back() = 1;
  return *this == v6;
}

std::string IpAddress::text() const {
  if (is_unix()) return std::string(unix_name);
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (is_v4())
    inet_ntop(AF_INET, bytes.data() + v4_prefix.size(), text.data(), text.size());
  else
    inet_ntop(AF_INET6, bytes.data(), text.data(), text.size());
  return text.data();
}

IpAddress IpAddress::masked(int bits) const {
  IpAddress masked = *this;
  const auto whole = static_cast<std::size_t>(bits) / 8;
  if (whole >= bytes.size()) return masked;
  masked.bytes[whole] &= static_cast<std::uint8_t>(0xff00 >> (bits % 8));
  std::fill(masked.bytes.begin() + static_cast<std::ptrdiff_t>(whole) + 1, masked.bytes.end(),
            std::uint8_t{0});
  return masked;
}

IpAddress IpAddress::as_client(int bits) const {
  constexpr int block = 64;
  return !is_v4() && masked(block).is_unix() ? *this : masked(bits);
}

IpAddress::Family IpAddress::family() const {
  return is_v4() ? Family::v4 : is_unix() ? Family::unix_socket : Family::v6;
}

IpAddress::Order Network::last() const {
  IpAddress last = address;
  int bits = prefix;
  for (std::size_t i = 0; i < last.bytes.size(); ++i, bits -= 8)
    if (bits < 8)
      last.bytes[i] |= bits <= 0 ? std::uint8_t{0xff} : static_cast<std::uint8_t>(0xff >> bits);
  return {family(), last.bytes};
}

bool Network::contains(const IpAddress& other) const {
  if (family() != other.family()) return false;
  const auto whole = static_cast<std::size_t>(prefix) / 8;
  if (!std::equal(address.bytes.begin(), address.bytes.begin() + static_cast<std::ptrdiff_t>(whole),
                  other.bytes.begin()))
    return false;
  if (prefix % 8 == 0) return true;
  const int shift = 8 - prefix % 8;
  return address.bytes[whole] >> shift == other.bytes[whole] >> shift;
}

std::expected<Network, std::string> parse_network(std::string_view text) {
  Network network;
  network.text = text;
  const auto wrong = [&](std::string_view why) {
    return std::unexpected(fmt::format(
        "\"{}\" {}: write an address or a network, such as \"10.0.0.0/8\" or \"2001:db8::/32\"; "
        "\"!\" before it takes it out of a larger one",
        network.text, why));
  };
  network.is_excluded = text.starts_with('!');
  if (network.is_excluded) text.remove_prefix(1);
  const std::size_t slash = text.find('/');
  const auto address = IpAddress::parse(text.substr(0, slash));
  if (!address) return wrong("is no network");
  network.address = *address;
  if (slash == std::string_view::npos) return network;
  const int bits = address->is_v4() ? 32 : 128;
  const std::string_view length = text.substr(slash + 1);
  int prefix = 0;
  const auto [end, error] = std::from_chars(length.data(), length.data() + length.size(), prefix);
  if (error != std::errc{} || end != length.data() + length.size() || prefix < 0 || prefix > bits)
    return wrong(fmt::format("has no prefix length from 0 to {}", bits));
  network.prefix = prefix + (address->is_v4() ? v4_prefix_bits : 0);
  if (has_host_bits(*address, network.prefix))
    return wrong(fmt::format("has bits set behind its first {}", prefix));
  return network;
}

}  // namespace classgate::conf
