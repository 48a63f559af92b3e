// What a stranger may send as a signed token, and what an operator may have in jwt.keys_file. By
// the first byte: a token as it comes; a payload, or a header and a payload, signed as they are (by
// OpenSSL, with the key that the gateway has), so that what is behind the signature is reached; or
// a file of keys.

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <cstdint>
#include <string>

#include "gateway/clients/jwt.h"
#include "tests/fuzz/require.h"

namespace {

using namespace classgate;

constexpr std::int64_t now = 1'800'000'000;
constexpr std::string_view secret = "thirty-two bytes of a secret, no less";

std::string base64url(std::string_view bytes) {
  std::string text(4 * (bytes.size() / 3 + 1) + 1, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                   reinterpret_cast<const unsigned char*>(bytes.data()),
                                   static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  while (text.ends_with('=')) text.pop_back();
  for (char& c : text) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return text;
}

std::string signed_token(std::string_view header, std::string_view payload) {
  const std::string text = base64url(header) + '.' + base64url(payload);
  std::array<unsigned char, 32> mac{};
  unsigned size = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), mac.data(), &size);
  return text + '.' + base64url({reinterpret_cast<const char*>(mac.data()), size});
}

const gateway::JwtVerifier& verifier() {
  static const gateway::JwtVerifier made = [] {
    conf::JwtSettings settings;
    settings.keys_file = "keys";
    settings.algorithms = {"HS256", "ES256", "EdDSA", "RS256"};
    settings.claims = {"sub", "iss"};
    settings.aud = {"api"};
    // The keys of RFC 7515 A.2, A.3 and RFC 8037, and one of our own.
    settings.keys = std::make_shared<const std::string>(
        R"({"keys":[{"kty":"oct","k":")" + base64url(secret) +
        R"("},{"kty":"EC","crv":"P-256","kid":"e","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}]})");
    auto keys = gateway::JwtKeys::read(settings);
    FUZZ_REQUIRE(keys.has_value());
    return gateway::JwtVerifier(settings, std::move(*keys));
  }();
  return made;
}

void check(std::string_view token) {
  const auto claims = verifier().verify(token, now, nullptr, 0);
  if (!claims) {
    FUZZ_REQUIRE(!word_of(claims.error()).empty());
    return;
  }
  FUZZ_REQUIRE(claims->ends > now);
  for (const std::string& value : claims->values) FUZZ_REQUIRE(value.size() <= 256);
  // A byte more, and it is no token of ours.
  FUZZ_REQUIRE(!verifier().verify(std::string(token) + 'A', now, nullptr, 0));
  FUZZ_REQUIRE(!verifier().verify(token, claims->ends, nullptr, 0));
}

void read_keys(std::string_view text) {
  conf::JwtSettings settings;
  settings.keys_file = "keys";
  settings.algorithms = {"HS256", "ES256", "EdDSA", "RS256"};
  settings.keys = std::make_shared<const std::string>(text);
  const auto keys = gateway::JwtKeys::read(settings);
  if (keys) return;
  FUZZ_REQUIRE(!keys.error().empty());
  for (const std::string& mistake : keys.error()) FUZZ_REQUIRE(mistake.starts_with("keys:"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0]) {
    case 'p': check(signed_token(R"({"alg":"HS256"})", text)); break;
    case 'h': {
      const std::size_t end = std::min(text.find('\n'), text.size());
      check(signed_token(text.substr(0, end), text.substr(std::min(end + 1, text.size()))));
      break;
    }
    case 'k': read_keys(text); break;
    default: check(text);
  }
  return 0;
}
