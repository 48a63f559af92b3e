#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace classgate::gateway {

// Why a token is not believed. What is cheap is looked at first, the signature last.
enum class TokenFault : std::uint8_t {
  malformed,      // not three parts of base64url, no JSON, a member twice, of a wrong type or range
  too_large,      // than jwt.token_bytes
  algorithm,      // none that jwt.algorithms names
  unknown_key,    // no key of jwt.keys_file is of this algorithm, kid and length of signature
  missing_claim,  // exp is not there
  expired,        // exp
  not_yet,        // nbf
  issuer,         // iss
  audience,       // aud
  signature,      // by none of the keys
  too_many,       // not looked at: jwt.checks_max
};

// What came of looking at the credentials of a request, as /metrics counts it.
enum class TokenLook : std::uint8_t { none, remembered, verified };  // none, or a TokenFault
enum class KeyLook : std::uint8_t { none, known, not_valid, unknown };

inline constexpr std::array<std::string_view, 13> token_result_words{
    "remembered", "verified", "malformed", "too_large", "algorithm", "unknown_key", "missing_claim",
    "expired",    "not_yet",  "issuer",    "audience",  "signature", "too_many"};
inline constexpr std::array<std::string_view, 3> key_result_words{"known", "not_valid", "unknown"};

// Where in token_result_words.
constexpr std::size_t index_of(TokenFault fault) { return 2 + static_cast<std::size_t>(fault); }
constexpr std::string_view word_of(TokenFault fault) { return token_result_words[index_of(fault)]; }

// Why what a request names its sender by does not say who that is, for operators: the access log
// and `classgate why` tell it. Clients hear no more of it than that they are not known.
enum class CredentialFault : std::uint8_t {
  none,
  ambiguous,       // it is there twice, or the service would not get it
  key_unknown,     // neither in clients.clients_file nor of a plan
  client_expired,  // the file's client, by a key or a verified token: valid no more,
  client_not_yet,  // or not yet
  certificate,     // it is not believed any more, or is missing: tls.client_ca
  names_nobody,    // a verified token without the claim
  token_begin,     // from here on a TokenFault
};
inline constexpr std::array<std::string_view, 18> credential_words{"-",
                                                                   "ambiguous",
                                                                   "key_unknown",
                                                                   "client_expired",
                                                                   "client_not_yet",
                                                                   "certificate",
                                                                   "token_names_nobody",
                                                                   "token_malformed",
                                                                   "token_too_large",
                                                                   "token_algorithm",
                                                                   "token_unknown_key",
                                                                   "token_missing_claim",
                                                                   "token_expired",
                                                                   "token_not_yet",
                                                                   "token_issuer",
                                                                   "token_audience",
                                                                   "token_signature",
                                                                   "token_too_many"};
constexpr CredentialFault credential_fault_of(TokenFault fault) {
  return static_cast<CredentialFault>(static_cast<std::size_t>(CredentialFault::token_begin) +
                                      static_cast<std::size_t>(fault));
}
constexpr std::string_view word_of(CredentialFault fault) {
  return credential_words[static_cast<std::size_t>(fault)];
}
static_assert(word_of(credential_fault_of(TokenFault::too_many)) == "token_too_many");

}  // namespace classgate::gateway
