#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace classgate::gateway {

// What each character stands for in an alphabet of RFC 4648; -1: it is none of its digits.
using Base64Digits = std::array<std::int8_t, 256>;

consteval Base64Digits base64_digits(char digit_62, char digit_63) {
  constexpr std::string_view first =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  Base64Digits digits{};
  digits.fill(-1);
  std::int8_t value = 0;
  for (const char c : first) digits[static_cast<unsigned char>(c)] = value++;
  digits[static_cast<unsigned char>(digit_62)] = 62;
  digits[static_cast<unsigned char>(digit_63)] = 63;
  return digits;
}
inline constexpr Base64Digits base64 = base64_digits('+', '/');     // section 4
inline constexpr Base64Digits base64url = base64_digits('-', '_');  // section 5

// Gives `take` the bytes of `text`, one by one, for as long as it says true. Whether it has had all
// of them: then the text has no padding, and is written in the one way there is (section 3.5).
template <typename Take>
bool each_base64_byte(std::string_view text, const Base64Digits& digits, Take take) {
  std::uint32_t bits = 0;
  int count = 0;  // of bits that no byte has had yet
  for (const char c : text) {
    const int digit = digits[static_cast<unsigned char>(c)];
    if (digit < 0) return false;
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    if (!take(static_cast<char>(bits >> count & 0xff))) return false;
  }
  return count < 6 && (bits & ((1U << count) - 1)) == 0;
}

// Base64url without padding (RFC 7515 section 2), written in the one way there is; false: it is
// not. Replaces what `into` has.
bool read_base64url(std::string_view text, std::string& into);

}  // namespace classgate::gateway
