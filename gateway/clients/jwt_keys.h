#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "conf/settings.h"

namespace classgate::gateway {

// The keys that tokens are checked with (jwt.keys_file): a JSON Web Key Set or one JSON Web Key
// (RFC 7517), or PEM: public keys and certificates.
//
// A key's own type says the one algorithm that it is for: RSA for RS256, P-256 for ES256, Ed25519
// for EdDSA, octets (of a JWK only) for HS256. So nothing that a token says makes a public key the
// secret of an HMAC. Keys of other types, for encryption, or for algorithms that the conf does not
// name are passed over, but a private key is a mistake, whatever it is for.
//
// Immutable; any thread.
class JwtKeys {
 public:
  // The error is a line for each mistake, with its place. On no loop: the first one makes OpenSSL
  // read what it wants to have of files.
  static std::expected<std::shared_ptr<const JwtKeys>, std::vector<std::string>> read(
      const conf::JwtSettings& settings);

  struct Key {
    std::string kid;
    bool has_kid = false;
    std::size_t algorithm = 0;        // in conf::jwt_algorithms
    std::size_t signature_bytes = 0;  // of its signatures
  };
  const std::vector<Key>& keys() const { return keys_; }

  // Whether `token` has a signature by that key, of keys(). It is in compact form (RFC 7515 section
  // 3.1), each part base64url, and its header names the key's algorithm. Needs memory of some times
  // its size, and as much time as the algorithm takes: up to 0.1 ms. Leaves no error behind in
  // OpenSSL's queue, which the TLS sessions of the thread look at.
  bool is_signed(std::size_t key, std::string_view token) const;

  ~JwtKeys();
  JwtKeys(const JwtKeys&) = delete;

 private:
  struct Handle;  // of cjose, or of OpenSSL
  class Reader;
  JwtKeys();
  std::vector<Key> keys_;
  std::vector<Handle> handles_;  // beside keys_
};

}  // namespace classgate::gateway
