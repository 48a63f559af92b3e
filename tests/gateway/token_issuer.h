#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <openssl/evp.h>

namespace classgate::gateway {

// Makes signed tokens, and the keys that they are checked with, by OpenSSL alone: not by what the
// gateway reads them with. Each algorithm has one key pair of this process.
class TokenIssuer {
 public:
  explicit TokenIssuer(std::string_view algorithm, std::string kid = {});

  // `payload` is written as it is.
  std::string token(const std::string& payload) const { return token(header(), payload); }
  std::string token(const std::string& header, const std::string& payload) const;
  std::string header() const;
  // A JSON Web Key; of HS256 with the secret.
  std::string jwk(const std::string& more = {}) const;
  std::string pem() const;  // "PUBLIC KEY"

  static std::string base64url(std::string_view bytes);
  static std::string hs256(std::string_view text, std::string_view secret);

 private:
  std::string sign(const std::string& text) const;

  std::string algorithm_;
  std::string kid_;
  std::string secret_;
  std::shared_ptr<EVP_PKEY> key_;
};

// {"keys": [...]} with those.
std::string key_set(std::initializer_list<std::string> keys);

}  // namespace classgate::gateway
