#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "conf/settings.h"
#include "gateway/clients/credential_checks.h"
#include "gateway/clients/jwt_keys.h"
#include "gateway/clients/token_cache.h"

namespace classgate::gateway {

// Reads signed tokens (RFC 7519, in the compact form of RFC 7515). Immutable; any thread.
class JwtVerifier {
 public:
  JwtVerifier(const conf::JwtSettings& settings, std::shared_ptr<const JwtKeys> keys);

  struct Claims {
    std::int64_t ends = 0;  // the first second, of Unix time, in which it is not good any more
    std::array<std::string, conf::jwt_claims_max>
        values;  // beside JwtSettings::claims; empty: none
  };
  // `now`: seconds of Unix time. `checks` bounds the signatures that are checked and the tokens
  // that are read in vain, of `sender`; null: nothing does.
  std::expected<Claims, TokenFault> verify(std::string_view token, std::int64_t now,
                                           TokenCache* checks, std::uint64_t sender) const;
  // Whether it looks like one at all.
  static bool has_three_parts(std::string_view token);

 private:
  struct Header;
  std::expected<Header, TokenFault> read_header(std::string_view part) const;
  std::expected<Claims, TokenFault> look_into(std::string_view token, std::int64_t now,
                                              TokenCache* checks, std::uint64_t sender) const;
  std::expected<Claims, TokenFault> read_claims(std::string_view part, std::int64_t now) const;
  bool may_have_signed(const JwtKeys::Key& key, const Header& header,
                       std::size_t signature_bytes) const;

  conf::JwtSettings settings_;
  std::shared_ptr<const JwtKeys> keys_;
  std::vector<std::string> names_;   // of members of the payload that are looked at
  std::vector<std::size_t> claims_;  // where in it those of the settings stand
};

// What is wrong with jwt.keys_file, a line for each mistake; empty: nothing. On no loop.
std::vector<std::string> check_jwt(const conf::JwtSettings& settings);

}  // namespace classgate::gateway
