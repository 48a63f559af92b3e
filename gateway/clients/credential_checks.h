#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace classgate::gateway {

// Why a token is not believed. What is cheap is looked at first, the signature last.
enum class TokenFault : std::uint8_t {
  malformed,    // not three parts of base64url, no JSON, a member twice, of a wrong type or range
  too_large,    // than jwt.token_bytes
  algorithm,    // none that jwt.algorithms names
  unknown_key,  // no key of jwt.keys_file is of this algorithm, kid and length of signature
  expired,      // exp
  not_yet,      // nbf
  issuer,       // iss
  audience,     // aud
  signature,    // by none of the keys
  too_many,     // not looked at: jwt.checks_max
};

// What came of looking at the credentials of a request, as /metrics counts it.
enum class TokenLook : std::uint8_t { none, remembered, verified };  // none, or a TokenFault
enum class KeyLook : std::uint8_t { none, known, not_valid, unknown };

inline constexpr std::array<std::string_view, 12> token_result_words{
    "remembered", "verified", "malformed", "too_large", "algorithm", "unknown_key",
    "expired",    "not_yet",  "issuer",    "audience",  "signature", "too_many"};
inline constexpr std::array<std::string_view, 3> key_result_words{"known", "not_valid", "unknown"};

// Where in token_result_words.
constexpr std::size_t index_of(TokenFault fault) { return 2 + static_cast<std::size_t>(fault); }
constexpr std::string_view word_of(TokenFault fault) { return token_result_words[index_of(fault)]; }

}  // namespace classgate::gateway
