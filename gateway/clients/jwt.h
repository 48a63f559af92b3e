#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "conf/settings.h"
#include "gateway/clients/jwt_keys.h"
#include "gateway/clients/token_cache.h"

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
std::string_view word_of(TokenFault fault);

// Reads signed tokens (RFC 7519, in the compact form of RFC 7515). Immutable; any thread.
class JwtVerifier {
 public:
  JwtVerifier(const conf::JwtSettings& settings, std::shared_ptr<const JwtKeys> keys);

  struct Claims {
    std::int64_t ends = 0;  // the first second, of Unix time, in which it is not good any more
    std::array<std::string, conf::jwt_claims_max>
        values;  // beside JwtSettings::claims; empty: none
  };
  // `now`: seconds of Unix time. `checks` bounds the signatures that are checked, of `sender`;
  // null: nothing does.
  std::expected<Claims, TokenFault> verify(std::string_view token, std::int64_t now,
                                           TokenCache* checks, std::uint64_t sender) const;
  // Whether it looks like one at all.
  static bool has_three_parts(std::string_view token);

 private:
  struct Header;
  std::expected<Header, TokenFault> read_header(std::string_view part) const;
  std::expected<Claims, TokenFault> read_claims(std::string_view part, std::int64_t now) const;
  bool may_have_signed(const JwtKeys::Key& key, const Header& header,
                       std::size_t signature_bytes) const;

  conf::JwtSettings settings_;
  std::shared_ptr<const JwtKeys> keys_;
  std::vector<std::string> names_;   // of members of the payload that are looked at
  std::vector<std::size_t> claims_;  // where in it those of the settings stand
};

}  // namespace classgate::gateway
