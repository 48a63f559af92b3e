#include "gateway/clients/pseudonym.h"

#include <bit>
#include <charconv>
#include <cstring>
#include <system_error>

namespace classgate::gateway {

Pseudonym::Pseudonym(std::uint64_t id) {
  if (id == 0) return;
  text_[0] = 'c';
  text_[1] = '_';
  // Eight digits at once: each gets a byte, the last one the lowest, and then becomes a character.
  constexpr std::uint64_t each = 0x0101010101010101;
  std::uint64_t digits = id >> 32;
  digits = (digits | digits << 16) & 0x0000ffff0000ffff;
  digits = (digits | digits << 8) & 0x00ff00ff00ff00ff;
  digits = (digits | digits << 4) & 0x0f * each;
  const std::uint64_t letters = (digits + 6 * each) >> 4 & each;
  digits += '0' * each + ('a' - '9' - 1) * letters;
  if constexpr (std::endian::native == std::endian::little) digits = std::byteswap(digits);
  std::memcpy(text_.data() + 2, &digits, sizeof digits);
  size_ = static_cast<std::uint8_t>(text_.size());
}

std::optional<std::uint32_t> half_in(std::string_view pseudonym) {
  constexpr std::size_t digits = 8;
  if (!pseudonym.starts_with("c_") || pseudonym.size() != 2 + digits) return std::nullopt;
  std::uint32_t half = 0;
  const char* const end = pseudonym.data() + pseudonym.size();
  const auto [stop, error] = std::from_chars(pseudonym.data() + 2, end, half, 16);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return half;
}

}  // namespace classgate::gateway
