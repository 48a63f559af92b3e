#include "tests/gateway/token_issuer.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>

#include <array>
#include <map>
#include <stdexcept>

namespace classgate::gateway {
namespace {

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

std::string number_of(EVP_PKEY* key, const char* name, int size = 0) {
  BIGNUM* number = nullptr;
  if (EVP_PKEY_get_bn_param(key, name, &number) != 1) throw std::runtime_error(name);
  std::string bytes(static_cast<std::size_t>(size > 0 ? size : BN_num_bytes(number)), '\0');
  BN_bn2binpad(number, reinterpret_cast<unsigned char*>(bytes.data()),
               static_cast<int>(bytes.size()));
  BN_free(number);
  return bytes;
}

std::shared_ptr<EVP_PKEY> make_key(std::string_view algorithm) {
  static std::map<std::string, std::shared_ptr<EVP_PKEY>, std::less<>> made;
  if (const auto known = made.find(algorithm); known != made.end()) return known->second;
  EVP_PKEY* const key = algorithm == "RS256"
                            ? EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", std::size_t{2048})
                        : algorithm == "ES256" ? EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256")
                                               : EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
  if (key == nullptr) throw std::runtime_error("no key");
  return made[std::string(algorithm)] = std::shared_ptr<EVP_PKEY>(key, EVP_PKEY_free);
}

// r and s beside each other (RFC 7518 section 3.4).
std::string raw_signature(std::string_view der) {
  const unsigned char* at = bytes_of(der);
  ECDSA_SIG* const signature = d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size()));
  std::string raw(64, '\0');
  auto* const out = reinterpret_cast<unsigned char*>(raw.data());
  BN_bn2binpad(ECDSA_SIG_get0_r(signature), out, 32);
  BN_bn2binpad(ECDSA_SIG_get0_s(signature), out + 32, 32);
  ECDSA_SIG_free(signature);
  return raw;
}

}  // namespace

TokenIssuer::TokenIssuer(std::string_view algorithm, std::string kid)
    : algorithm_(algorithm), kid_(std::move(kid)) {
  if (algorithm == "HS256")
    secret_ = "a secret of thirty-two bytes, or more";
  else
    key_ = make_key(algorithm);
}

std::string TokenIssuer::header() const {
  return R"({"alg":")" + algorithm_ + '"' + (kid_.empty() ? "" : R"(,"kid":")" + kid_ + '"') + '}';
}

std::string TokenIssuer::token(const std::string& header, const std::string& payload) const {
  const std::string text = base64url(header) + '.' + base64url(payload);
  return text + '.' + base64url(sign(text));
}

std::string TokenIssuer::sign(const std::string& text) const {
  if (!key_) return hs256(text, secret_);
  EVP_MD_CTX* const context = EVP_MD_CTX_new();
  const EVP_MD* const digest = algorithm_ == "EdDSA" ? nullptr : EVP_sha256();
  std::size_t size = 1024;
  std::string signature(size, '\0');
  if (EVP_DigestSignInit(context, nullptr, digest, nullptr, key_.get()) != 1 ||
      EVP_DigestSign(context, reinterpret_cast<unsigned char*>(signature.data()), &size,
                     bytes_of(text), text.size()) != 1)
    throw std::runtime_error("no signature");
  EVP_MD_CTX_free(context);
  signature.resize(size);
  return algorithm_ == "ES256" ? raw_signature(signature) : signature;
}

std::string TokenIssuer::hs256(std::string_view text, std::string_view secret) {
  std::array<unsigned char, 32> mac{};
  unsigned size = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), bytes_of(text), text.size(),
       mac.data(), &size);
  return {reinterpret_cast<const char*>(mac.data()), size};
}

std::string TokenIssuer::jwk(const std::string& more) const {
  std::string key = kid_.empty() ? "{" : R"({"kid":")" + kid_ + "\",";
  const auto member = [](const std::string& name, const std::string& value) {
    return '"' + name + "\":\"" + base64url(value) + '"';
  };
  if (algorithm_ == "HS256") {
    key += R"("kty":"oct",)" + member("k", secret_);
  } else if (algorithm_ == "RS256") {
    key += R"("kty":"RSA",)" + member("n", number_of(key_.get(), OSSL_PKEY_PARAM_RSA_N)) + ',' +
           member("e", number_of(key_.get(), OSSL_PKEY_PARAM_RSA_E));
  } else if (algorithm_ == "ES256") {
    key += R"("kty":"EC","crv":"P-256",)" +
           member("x", number_of(key_.get(), OSSL_PKEY_PARAM_EC_PUB_X, 32)) + ',' +
           member("y", number_of(key_.get(), OSSL_PKEY_PARAM_EC_PUB_Y, 32));
  } else {
    std::string x(32, '\0');
    std::size_t size = x.size();
    EVP_PKEY_get_raw_public_key(key_.get(), reinterpret_cast<unsigned char*>(x.data()), &size);
    key += R"("kty":"OKP","crv":"Ed25519",)" + member("x", x);
  }
  return key + more + '}';
}

std::string TokenIssuer::pem() const {
  BIO* const bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PUBKEY(bio, key_.get());
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<std::size_t>(size));
  BIO_free(bio);
  return text;
}

std::string TokenIssuer::base64url(std::string_view bytes) {
  constexpr std::string_view digits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string text;
  unsigned bits = 0;
  int count = 0;
  for (const char c : bytes) {
    bits = bits << 8 | static_cast<unsigned char>(c);
    for (count += 8; count >= 6; count -= 6) text += digits[bits >> (count - 6) & 63];
  }
  if (count > 0) text += digits[bits << (6 - count) & 63];
  return text;
}

std::string key_set(std::initializer_list<std::string> keys) {
  std::string text = "{\"keys\":[";
  for (const std::string& key : keys) text += (text.ends_with('[') ? "" : ",\n") + key;
  return text + "]}";
}

}  // namespace classgate::gateway
