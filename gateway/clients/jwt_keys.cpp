// Longer than other files, because the two forms of a key file, JSON and PEM, share every check of
// a key.

#include "gateway/clients/jwt_keys.h"

#include <cjose/cjose.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <utility>

#include "conf/format.h"
#include "conf/printable.h"
#include "conf/text_file.h"
#include "gateway/clients/base64.h"

namespace classgate::gateway {

template <auto release>
struct Release {
  template <typename Handle>
  void operator()(Handle* handle) const {
    release(handle);
  }
};
using JwkHandle = std::unique_ptr<cjose_jwk_t, Release<cjose_jwk_release>>;
using JwsHandle = std::unique_ptr<cjose_jws_t, Release<cjose_jws_release>>;
using PkeyHandle = std::unique_ptr<EVP_PKEY, Release<EVP_PKEY_free>>;

namespace {

constexpr std::size_t keys_max = 100;
constexpr std::size_t kid_bytes_max = 256;
constexpr std::size_t hmac_bytes_min = 32;  // RFC 7518 section 3.2
constexpr std::size_t hmac_bytes_max = 4096;
constexpr std::size_t rsa_bits_min = 2048;  // section 3.3
constexpr std::size_t rsa_bits_max = 8192;  // a check of a longer one takes too long
constexpr std::size_t exponent_bytes_max = 4;
constexpr std::size_t coordinate_bytes = 32;  // of P-256, and of Ed25519

// What no public key has (RFC 7518 sections 6.2.2 and 6.3.2; RFC 8037 section 2).
constexpr std::array<const char*, 7> private_members{"d", "p", "q", "dp", "dq", "qi", "oth"};

using X509Handle = std::unique_ptr<X509, Release<X509_free>>;
using BioHandle = std::unique_ptr<BIO, Release<BIO_free>>;
using BignumHandle = std::unique_ptr<BIGNUM, Release<BN_free>>;
using DigestHandle = std::unique_ptr<EVP_MD_CTX, Release<EVP_MD_CTX_free>>;

// What a thread's TLS sessions must not find.
struct ErrorsForgotten {
  ~ErrorsForgotten() { ERR_clear_error(); }
};

std::uint8_t* bytes_of(std::string& text) { return reinterpret_cast<std::uint8_t*>(text.data()); }
const std::uint8_t* bytes_of(std::string_view text) {
  return reinterpret_cast<const std::uint8_t*>(text.data());
}

std::size_t algorithm_of(std::string_view name) {
  return static_cast<std::size_t>(std::ranges::find(conf::jwt_algorithms, name) -
                                  conf::jwt_algorithms.begin());
}

std::string without_zeros(std::string number) {
  number.erase(0, std::min(number.find_first_not_of('\0'), number.size()));
  return number;
}

std::string place_in(std::string_view text, std::size_t at) {
  const std::string_view before = text.substr(0, at);
  const std::size_t line = static_cast<std::size_t>(std::ranges::count(before, '\n')) + 1;
  const std::size_t start = before.rfind('\n');
  return fmt::format("{}:{}", line, start == std::string_view::npos ? at + 1 : at - start);
}

// Of JSON that has been parsed, an object.
struct Outline {
  std::vector<std::size_t> keys;  // where the objects of "keys" begin
  struct Name {
    std::string text;
    std::size_t at = 0;
  };
  std::optional<Name> twin;  // the first that its object has had already
};
Outline outline_of(std::string_view text) {
  Outline outline;
  std::vector<std::size_t> open;  // objects by their number, and 0 for each array
  std::size_t objects = 0;
  std::set<std::pair<std::size_t, std::string>> names;  // of which object
  std::string top;                                      // the last name of the outermost
  bool is_in_keys = false;
  bool is_name = false;  // the next string
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') {
      const std::size_t begin = i++;
      while (text[i] != '"') i += text[i] == '\\' ? 2 : 1;
      if (!std::exchange(is_name, false)) continue;
      const auto name = nlohmann::json::parse(text.substr(begin, i + 1 - begin)).get<std::string>();
      if (open.size() == 1) top = name;
      if (!names.emplace(open.back(), name).second && !outline.twin) outline.twin = {name, begin};
    } else if (c == '{' || c == '[') {
      if (open.size() == 1) is_in_keys = c == '[' && top == "keys";
      if (open.size() == 2 && is_in_keys && c == '{') outline.keys.push_back(i);
      open.push_back(c == '{' ? ++objects : 0);
      is_name = c == '{';
    } else if (c == '}' || c == ']') {
      open.pop_back();
    } else if (c == ',') {
      is_name = open.back() != 0;
    }
  }
  return outline;
}

// The points of Ed25519 whose order divides 8, by their y without the bit that says which x; those
// of 0 and 1 also as they may be written beyond the field. Under such a key anybody can sign any
// text without a secret, in 8 tries or so. (ge25519_has_small_order of libsodium refuses the same.)
constexpr std::array<std::string_view, 7> small_orders{
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"};

bool is_of_small_order(std::string point) {
  if (point.empty()) return false;
  point.back() = static_cast<char>(point.back() & 0x7f);
  const std::span bytes(bytes_of(std::string_view(point)), point.size());
  const std::string y = fmt::format("{:02x}", fmt::join(bytes, ""));
  return std::ranges::find(small_orders, y) != small_orders.end();
}

}  // namespace

struct JwtKeys::Handle {
  JwkHandle jwk;
  PkeyHandle pkey;  // of EdDSA, which cjose has not
};

JwtKeys::JwtKeys() = default;
JwtKeys::~JwtKeys() = default;

class JwtKeys::Reader {
 public:
  explicit Reader(const conf::JwtSettings& settings)
      // RFC 8259 section 8.1 allows to ignore it.
      : settings_(settings),
        text_(conf::without_byte_order_mark(*settings.keys)),
        keys_(new JwtKeys) {}

  std::expected<std::shared_ptr<const JwtKeys>, std::vector<std::string>> read() {
    const ErrorsForgotten forgotten;
    const std::size_t begin = text_.find_first_not_of(" \t\r\n");
    if (begin == std::string_view::npos)
      mistake(0, "is empty: put the keys of who makes the tokens there, as JWKS or PEM");
    else if (const std::size_t nul = text_.find('\0'); nul != std::string_view::npos)
      mistake(nul, "holds a NUL byte: this is not a text file");
    else if (text_[begin] == '{')
      read_json();
    else
      read_pem();
    if (wrong_.empty()) check_whole();
    if (!wrong_.empty()) return std::unexpected(std::move(wrong_));
    // What is made ready at the first use is made ready here.
    for (std::size_t i = 0; i < keys_->keys_.size(); ++i) {
      const auto& [kid, has_kid, algorithm, size] = keys_->keys_[i];
      static constexpr std::array<std::string_view, conf::jwt_algorithms.size()> headers{
          "eyJhbGciOiJIUzI1NiJ9", "eyJhbGciOiJSUzI1NiJ9", "eyJhbGciOiJFUzI1NiJ9",
          "eyJhbGciOiJFZERTQSJ9"};
      const std::string signature((size * 8 + 5) / 6, 'A');
      keys_->is_signed(i, fmt::format("{}.e30.{}", headers[algorithm], signature));
    }
    return std::shared_ptr<const JwtKeys>(std::move(keys_));
  }

 private:
  struct Names {
    std::string kid;
    bool has_kid = false;
    std::size_t at = 0;  // in the text
  };

  void mistake(std::size_t at, std::string_view what) {
    wrong_.push_back(
        conf::printable(fmt::format("{}:{}: {}", settings_.keys_file, place_in(text_, at), what)));
  }

  bool is_named(std::string_view algorithm) const {
    return std::ranges::find(settings_.algorithms, algorithm) != settings_.algorithms.end();
  }

  void check_whole() {
    const auto& keys = keys_->keys_;
    if (keys.size() > keys_max) mistake(0, fmt::format("has more than {} keys", keys_max));
    for (const std::string& name : settings_.algorithms)
      if (std::ranges::none_of(keys,
                               [&](const Key& key) { return key.algorithm == algorithm_of(name); }))
        mistake(0, fmt::format("has no key for {}, which jwt.algorithms names", name));
    for (std::size_t i = 0; i < keys.size(); ++i)
      for (std::size_t j = 0; j < i; ++j)
        if (keys[i].has_kid && keys[j].has_kid && keys[i].kid == keys[j].kid &&
            keys[i].algorithm == keys[j].algorithm)
          mistake(0, fmt::format("has two keys with the kid \"{}\"", keys[i].kid));
  }

  void add(const Names& names, std::string_view algorithm, std::size_t signature_bytes,
           Handle handle) {
    if (!handle.jwk && !handle.pkey) return mistake(names.at, "the key is not valid");
    keys_->keys_.push_back({names.kid, names.has_kid, algorithm_of(algorithm), signature_bytes});
    keys_->handles_.push_back(std::move(handle));
  }

  void add_rsa(const Names& names, std::string modulus, std::string exponent) {
    if (!is_named("RS256")) return;
    modulus = without_zeros(std::move(modulus));
    exponent = without_zeros(std::move(exponent));
    const std::size_t bits =
        modulus.empty() ? 0
                        : 8 * modulus.size() - static_cast<std::size_t>(std::countl_zero(
                                                   static_cast<unsigned char>(modulus.front())));
    if (bits < rsa_bits_min || bits > rsa_bits_max)
      return mistake(names.at, fmt::format("an RSA key must have {} to {} bits; this has {}",
                                           rsa_bits_min, rsa_bits_max, bits));
    const bool is_odd = !exponent.empty() && (exponent.back() & 1) != 0;
    if (!is_odd || exponent == "\x01" || exponent.size() > exponent_bytes_max)
      return mistake(names.at, "the exponent of an RSA key must be odd, and from 3 to 2^32");
    cjose_jwk_rsa_keyspec spec{};
    spec.n = bytes_of(modulus);
    spec.nlen = modulus.size();
    spec.e = bytes_of(exponent);
    spec.elen = exponent.size();
    add(names, "RS256", modulus.size(), {JwkHandle(cjose_jwk_create_RSA_spec(&spec, nullptr)), {}});
  }

  void add_p256(const Names& names, std::string x, std::string y) {
    if (!is_named("ES256")) return;
    cjose_jwk_ec_keyspec spec{};
    spec.crv = CJOSE_JWK_EC_P_256;
    spec.x = bytes_of(x);
    spec.xlen = x.size();
    spec.y = bytes_of(y);
    spec.ylen = y.size();
    const bool has_sizes = x.size() == coordinate_bytes && y.size() == coordinate_bytes;
    add(names, "ES256", 2 * coordinate_bytes,
        {JwkHandle(has_sizes ? cjose_jwk_create_EC_spec(&spec, nullptr) : nullptr), {}});
  }

  void add_ed25519(const Names& names, const std::string& x) {
    if (!is_named("EdDSA")) return;
    if (is_of_small_order(x))
      return mistake(names.at,
                     "is an Ed25519 key of small order, under which anybody can sign: no key pair "
                     "has it");
    EVP_PKEY* const key =
        x.size() == coordinate_bytes
            ? EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, bytes_of(x), x.size())
            : nullptr;
    add(names, "EdDSA", 2 * coordinate_bytes, {{}, PkeyHandle(key)});
  }

  void add_octets(const Names& names, const std::string& secret) {
    if (!is_named("HS256")) return;
    if (secret.size() < hmac_bytes_min || secret.size() > hmac_bytes_max)
      return mistake(names.at, fmt::format("a key for HS256 must have {} to {} bytes; this has {}",
                                           hmac_bytes_min, hmac_bytes_max, secret.size()));
    if (std::ranges::count(secret, secret.front()) == std::ssize(secret))
      return mistake(names.at,
                     "a key for HS256 must be random bytes; this is one byte over and over, which "
                     "anybody can guess");
    add(names, "HS256", 32,
        {JwkHandle(cjose_jwk_create_oct_spec(bytes_of(secret), secret.size(), nullptr)), {}});
  }

  // ---- JSON ----

  void read_json() {
    nlohmann::json all;
    try {
      all = nlohmann::json::parse(text_);
    } catch (const nlohmann::json::exception& failure) {
      const auto* const wrong = dynamic_cast<const nlohmann::json::parse_error*>(&failure);
      const std::size_t byte = wrong == nullptr ? 1 : std::max<std::size_t>(wrong->byte, 1);
      return mistake(std::min(byte - 1, text_.size()), "is no JSON from here on");
    }
    // Which of the two counts is unknown (RFC 7517 section 4).
    const auto [places, twin] = outline_of(text_);
    if (twin)
      return mistake(twin->at, fmt::format("\"{}\" stands here twice", twin->text.substr(0, 64)));
    // What a set has beside "keys" does not make it one key (RFC 7517 section 5); a secret there is
    // one nonetheless.
    const bool is_set = all.contains("keys") && all["keys"].is_array();
    if (is_set && is_private(all, text_.find('{'))) return;
    if (!is_set && all.contains("kty")) return read_jwk(all, text_.find('{'));
    if (!is_set)
      return mistake(0, "is neither a JSON Web Key Set, {\"keys\": [...]}, nor one JSON Web Key");
    std::size_t number = 0;
    for (const nlohmann::json& key : all["keys"]) {
      if (!key.is_object()) return mistake(0, "\"keys\" has something that is no key");
      read_jwk(key, number < places.size() ? places[number] : 0);
      ++number;
    }
  }

  static std::optional<std::string> text_in(const nlohmann::json& key, const char* name) {
    const auto found = key.find(name);
    if (found == key.end() || !found->is_string()) return std::nullopt;
    return found->get<std::string>();
  }
  // Null: it is not there, or not to be read, and this has been told.
  std::optional<std::string> bytes_in(const nlohmann::json& key, const char* name, std::size_t at) {
    std::string bytes;
    const auto text = text_in(key, name);
    if (text && read_base64url(*text, bytes)) return bytes;
    mistake(at, key.contains(name)
                    ? fmt::format("\"{}\" is no base64url text without padding: letters, digits, "
                                  "- and _, and no + / = (RFC 4648 section 5)",
                                  name)
                    : fmt::format("the key has no \"{}\"", name));
    return std::nullopt;
  }

  // Some write so what a key has not.
  static bool is_nothing(const nlohmann::json& value) {
    return value.is_null() || value == nlohmann::json::array() || value == "";
  }

  // True: and this has been told.
  bool is_private(const nlohmann::json& key, std::size_t at) {
    if (text_in(key, "kty") == "oct") return false;
    for (const char* const name : private_members)
      if (const auto found = key.find(name); found != key.end() && !is_nothing(*found)) {
        mistake(at, fmt::format("is a private key, for it has \"{}\": only its public part "
                                "belongs here",
                                name));
        return true;
      }
    return false;
  }

  // What a program does not know of is none of its keys (RFC 7517 section 5); but a private key
  // belongs on no machine that only checks, whatever it is for.
  void read_jwk(nlohmann::json key, std::size_t at) {
    for (auto member = key.begin(); member != key.end();)
      if (is_nothing(*member))
        member = key.erase(member);
      else
        ++member;
    const std::string type = text_in(key, "kty").value_or("");
    const std::string curve = text_in(key, "crv").value_or("");
    const std::string_view algorithm = type == "RSA"                         ? "RS256"
                                       : type == "EC" && curve == "P-256"    ? "ES256"
                                       : type == "OKP" && curve == "Ed25519" ? "EdDSA"
                                       : type == "oct"                       ? "HS256"
                                                                             : "";
    if (is_private(key, at) || algorithm.empty()) return;
    if (key.contains("alg") && text_in(key, "alg") != algorithm) return;
    if (key.contains("use") && text_in(key, "use") != "sig") return;
    const auto uses = key.find("key_ops");
    if (uses != key.end() &&
        !(uses->is_array() && std::ranges::find(*uses, nlohmann::json("verify")) != uses->end()))
      return;
    if (!is_named(algorithm)) return;
    Names names{.kid = text_in(key, "kid").value_or(""), .has_kid = key.contains("kid"), .at = at};
    if (names.has_kid && (!text_in(key, "kid") || names.kid.size() > kid_bytes_max))
      return mistake(at, fmt::format("kid must be text, {} bytes at most", kid_bytes_max));
    if (type == "RSA") {
      const auto n = bytes_in(key, "n", at), e = bytes_in(key, "e", at);
      if (n && e) add_rsa(names, *n, *e);
    } else if (type == "EC") {
      const auto x = bytes_in(key, "x", at), y = bytes_in(key, "y", at);
      if (x && y) add_p256(names, *x, *y);
    } else if (type == "OKP") {
      if (const auto x = bytes_in(key, "x", at)) add_ed25519(names, *x);
    } else if (const auto k = bytes_in(key, "k", at)) {
      add_octets(names, *k);
    }
  }

  // ---- PEM ----

  void read_pem() {
    const BioHandle bio(BIO_new_mem_buf(text_.data(), static_cast<int>(text_.size())));
    std::size_t at = text_.find("-----BEGIN ");
    if (at == std::string_view::npos || !bio)
      return mistake(0, "is neither JSON (a JSON Web Key Set) nor PEM");
    for (; at != std::string_view::npos && wrong_.empty(); at = text_.find("-----BEGIN ", at + 1)) {
      char* name = nullptr;
      char* header = nullptr;
      unsigned char* data = nullptr;
      long size = 0;
      if (PEM_read_bio(bio.get(), &name, &header, &data, &size) != 1)
        return mistake(at, "is no whole PEM block");
      const std::string kind(name);
      PkeyHandle key = key_in(kind, {data, static_cast<std::size_t>(size)});
      OPENSSL_cleanse(data, static_cast<std::size_t>(size));
      OPENSSL_free(name);
      OPENSSL_free(header);
      OPENSSL_free(data);
      if (kind.contains("PRIVATE KEY"))
        return mistake(at,
                       "is a private key: only its public part belongs here (openssl pkey -in "
                       "KEY -pubout)");
      if (!key) return mistake(at, "is no public key and no certificate");
      add_pkey({.kid = {}, .has_kid = false, .at = at}, key.get());
    }
  }

  static PkeyHandle key_in(const std::string& kind, std::span<const unsigned char> data) {
    const unsigned char* at = data.data();
    const auto size = static_cast<long>(data.size());
    if (kind == "PUBLIC KEY") return PkeyHandle(d2i_PUBKEY(nullptr, &at, size));
    if (kind == "RSA PUBLIC KEY")
      return PkeyHandle(d2i_PublicKey(EVP_PKEY_RSA, nullptr, &at, size));
    if (kind != "CERTIFICATE") return {};
    const X509Handle certificate(d2i_X509(nullptr, &at, size));
    return PkeyHandle(certificate ? X509_get_pubkey(certificate.get()) : nullptr);
  }

  // A number of the key, at least so many bytes.
  static std::string number_of(const EVP_PKEY* key, const char* name, std::size_t least = 0) {
    BIGNUM* found = nullptr;
    if (EVP_PKEY_get_bn_param(key, name, &found) != 1) return {};
    const BignumHandle number(found);
    const std::size_t size = std::max(least, static_cast<std::size_t>(BN_num_bytes(number.get())));
    std::string bytes(size, '\0');
    if (BN_bn2binpad(number.get(), bytes_of(bytes), static_cast<int>(size)) < 0) return {};
    return bytes;
  }

  void add_pkey(const Names& names, const EVP_PKEY* key) {
    switch (EVP_PKEY_get_base_id(key)) {
      case EVP_PKEY_RSA:
        return add_rsa(names, number_of(key, OSSL_PKEY_PARAM_RSA_N),
                       number_of(key, OSSL_PKEY_PARAM_RSA_E));
      case EVP_PKEY_EC: {
        std::array<char, 64> curve{};
        std::size_t size = 0;
        if (EVP_PKEY_get_group_name(key, curve.data(), curve.size(), &size) != 1 ||
            std::string_view(curve.data(), size) != SN_X9_62_prime256v1)
          return mistake(names.at, "is a key of another curve than P-256, which ES256 wants");
        return add_p256(names, number_of(key, OSSL_PKEY_PARAM_EC_PUB_X, coordinate_bytes),
                        number_of(key, OSSL_PKEY_PARAM_EC_PUB_Y, coordinate_bytes));
      }
      case EVP_PKEY_ED25519: {
        std::string bytes(coordinate_bytes, '\0');
        std::size_t size = bytes.size();
        if (EVP_PKEY_get_raw_public_key(key, bytes_of(bytes), &size) != 1) size = 0;
        bytes.resize(size);
        return add_ed25519(names, bytes);
      }
      default: return mistake(names.at, "is a key of a type that no algorithm here has");
    }
  }

  const conf::JwtSettings& settings_;
  std::string_view text_;
  std::unique_ptr<JwtKeys> keys_;
  std::vector<std::string> wrong_;
};

std::expected<std::shared_ptr<const JwtKeys>, std::vector<std::string>> JwtKeys::read(
    const conf::JwtSettings& settings) {
  return Reader(settings).read();
}

bool JwtKeys::is_signed(std::size_t key, std::string_view token) const {
  const ErrorsForgotten forgotten;
  const Handle& handle = handles_[key];
  if (handle.jwk) {
    const JwsHandle jws(cjose_jws_import(token.data(), token.size(), nullptr));
    return jws && cjose_jws_verify(jws.get(), handle.jwk.get(), nullptr);
  }
  std::string signature;
  const std::size_t dot = token.rfind('.');
  if (!read_base64url(token.substr(dot + 1), signature)) return false;
  const std::string_view text = token.substr(0, dot);
  const DigestHandle context(EVP_MD_CTX_new());
  return context &&
         EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, handle.pkey.get()) == 1 &&
         EVP_DigestVerify(context.get(), bytes_of(signature), signature.size(), bytes_of(text),
                          text.size()) == 1;
}

}  // namespace classgate::gateway
