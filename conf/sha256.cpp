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

std::optional<Sha256> sha256_in(std::string_view hex) {
  Sha256 hash{};
  if (hex.size() != 2 * hash.size()) return std::nullopt;
  for (std::size_t i = 0; i < hex.size(); ++i) {
    const char c = hex[i];
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) return std::nullopt;
    hash[i / 2] = static_cast<std::uint8_t>(hash[i / 2] << 4 | digit);
  }
  return hash;
}

}  // namespace classgate::conf
