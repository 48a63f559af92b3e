#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace classgate::conf {

// SHA-256 (FIPS 180-4), by OpenSSL. Any thread; takes no memory.
using Sha256 = std::array<std::uint8_t, 32>;
Sha256 sha256(std::string_view bytes);

// 64 digits, small letters.
std::string hex_of(const Sha256& hash);
// Of 64 hexadecimal digits, in either case; nothing else.
std::optional<Sha256> sha256_in(std::string_view hex);

}  // namespace classgate::conf
