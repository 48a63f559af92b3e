// The functions that OpenSSL 3 would have replaced by EVP's: those look for providers and their
// conf, which takes 2.3 MB of memory and opens files, for what is a loop over 64 bytes.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "conf/sha256.h"

#include <openssl/sha.h>

namespace classgate::conf {

Sha256 sha256(std::string_view bytes) {
  Sha256 hash;
  SHA256_CTX state;
  SHA256_Init(&state);  // none of these can fail
  SHA256_Update(&state, bytes.data(), bytes.size());
  SHA256_Final(hash.data(), &state);
  return hash;
}

std::string hex_of(const Sha256& hash) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : hash) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

namespace {

constexpr std::uint8_t no_digit = 16;
constexpr auto digit_values = [] {
  std::array<std::uint8_t, 256> values{};
  values.fill(no_digit);
  for (std::uint8_t i = 0; i < 10; ++i) values['0' + i] = i;
  for (std::uint8_t i = 10; i < 16; ++i) values['a' + i - 10] = values['A' + i - 10] = i;
  return values;
}();

}  // namespace

std::optional<Sha256> sha256_in(std::string_view hex) {
  Sha256 hash{};
  if (hex.size() != 2 * hash.size()) return std::nullopt;
  const auto value_at = [&](std::size_t i) {
    return digit_values[static_cast<unsigned char>(hex[i])];
  };
  unsigned all = 0;
  for (std::size_t i = 0; i < hash.size(); ++i) {
    const unsigned high = value_at(2 * i), low = value_at(2 * i + 1);
    all |= high | low;
    hash[i] = static_cast<std::uint8_t>(high << 4U | (low & 15U));
  }
  if ((all & no_digit) != 0) return std::nullopt;
  return hash;
}

}  // namespace classgate::conf
