#include "gateway/clients/jwt_keys.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "conf/format.h"
#include "tests/gateway/token_issuer.h"

namespace classgate::gateway {
namespace {

std::vector<std::string> mistakes_in(const std::string& keys,
                                     const std::vector<std::string>& algorithms) {
  conf::JwtSettings settings;
  settings.keys_file = "/keys";
  settings.keys = std::make_shared<const std::string>(keys);
  settings.algorithms = algorithms;
  auto read = JwtKeys::read(settings);
  return read ? std::vector<std::string>() : std::move(read.error());
}

std::string mistake_in(const std::string& keys, const std::vector<std::string>& algorithms) {
  const auto wrong = mistakes_in(keys, algorithms);
  return wrong.empty() ? std::string() : wrong.front();
}

TEST_CASE("a private key is a mistake, whatever it is for and whatever the conf names") {
  const TokenIssuer rsa("RS256"), p256("ES256"), ed25519("EdDSA"), octets("HS256");
  const auto is_private = [&](const std::string& key, const std::string& member) {
    const std::string wrong =
        mistake_in("{\"keys\":[" + p256.jwk() + ",\n  " + key + "]}", {"ES256"});
    CHECK_MESSAGE(wrong == fmt::format("/keys:2:3: is a private key, for it has \"{}\": only its "
                                       "public part belongs here",
                                       member),
                  key);
  };
  // RFC 7518 section 6.3.2: the primes are the secret as much as the exponent is.
  for (const char* member : {"d", "p", "q", "dp", "dq", "qi", "oth"})
    is_private(rsa.jwk(fmt::format(R"(,"{}":"AQAB")", member)), member);
  is_private(p256.jwk(R"(,"d":"AQAB")"), "d");
  is_private(ed25519.jwk(R"(,"d":"AQAB")"), "d");
  is_private(p256.jwk(R"(,"d":"AQAB","use":"enc")"), "d");
  is_private(p256.jwk(R"(,"d":"AQAB","alg":"ES384")"), "d");
  is_private(p256.jwk(R"(,"d":"AQAB","key_ops":["sign"])"), "d");
  is_private(R"({"kty":"EC","crv":"P-384","x":"AQAB","y":"AQAB","d":"AQAB"})", "d");
  is_private(R"({"kty":"OKP","crv":"X25519","x":"AQAB","d":"AQAB"})", "d");
  is_private(R"({"kty":"rsa","n":"AQAB","e":"AQAB","d":"AQAB"})", "d");
  is_private(R"({"d":"AQAB"})", "d");
  // Some write what a key has not as null, or as nothing.
  for (const char* none : {"null", "\"\"", "[]"})
    CHECK(mistake_in(p256.jwk(fmt::format(R"(,"d":{0},"oth":{0},"use":{0})", none)), {"ES256"})
              .empty());
  // What has no private part, and what is for something else.
  CHECK(mistake_in(key_set({p256.jwk(), rsa.jwk(), ed25519.jwk(), octets.jwk(R"(,"d":1)"),
                            R"({"kty":"new","x":"?"})"}),
                   {"ES256"}) == "");
}

TEST_CASE("a member of a key that is missing, or is no base64url, is told by its name") {
  const auto is_told = [](const std::string& key, const std::string& algorithm,
                          const std::string& what) {
    const std::string wrong = mistake_in("\n " + key, {algorithm});
    CHECK_MESSAGE(wrong.starts_with("/keys:2:2: " + what), key);
    CHECK_MESSAGE(!wrong.contains("SECRET"), key);
  };
  const std::string secret = "SECRETSECRETSECRETSECRETSECRETSECRETSECRETSECRET";
  is_told(R"({"kty":"RSA","e":"AQAB"})", "RS256", "the key has no \"n\"");
  is_told(R"({"kty":"RSA","n":"AQAB"})", "RS256", "the key has no \"e\"");
  is_told(R"({"kty":"RSA","n":"+/8=","e":"AQAB"})", "RS256", "\"n\" is no base64url text without");
  is_told(R"({"kty":"RSA","n":"AQAB","e":65537})", "RS256", "\"e\" is no base64url text without");
  is_told(R"({"kty":"EC","crv":"P-256","y":"AAAA"})", "ES256", "the key has no \"x\"");
  is_told(R"({"kty":"EC","crv":"P-256","x":"AAAA","y":"AAA/"})", "ES256", "\"y\" is no base64url");
  is_told(R"({"kty":"OKP","crv":"Ed25519"})", "EdDSA", "the key has no \"x\"");
  is_told(R"({"kty":"OKP","crv":"Ed25519","x":"AA AA"})", "EdDSA", "\"x\" is no base64url");
  is_told(R"({"kty":"oct"})", "HS256", "the key has no \"k\"");
  for (const std::string& odd : {secret + "=", secret + "A", secret + "AB", secret + "\\n"})
    is_told(fmt::format(R"({{"kty":"oct","k":"{}"}})", odd), "HS256", "\"k\" is no base64url");
  // Each that is wrong is told; of what is passed over none is asked for.
  CHECK(mistakes_in(R"({"kty":"RSA","n":"+","e":"="})", {"RS256"}).size() == 2);
  CHECK(mistake_in(R"({"kty":"RSA","n":"+","e":"="})", {"ES256"}).contains("has no key for ES256"));
}

TEST_CASE("keys may begin with a byte order mark, as a conf may") {
  const TokenIssuer rsa("RS256");
  const std::string mark = "\xef\xbb\xbf";
  CHECK(mistake_in(mark + key_set({rsa.jwk()}), {"RS256"}) == "");
  CHECK(mistake_in(mark + "\r\n" + rsa.jwk(), {"RS256"}) == "");
  CHECK(mistake_in(mark + rsa.pem(), {"RS256"}) == "");
  CHECK(mistake_in(mark, {"RS256"}).starts_with("/keys:1:1: is empty"));
  CHECK(mistake_in(mark + "{]", {"RS256"}) == "/keys:1:2: is no JSON from here on");
  CHECK(mistake_in(mark + mark + rsa.jwk(), {"RS256"}).contains("is neither JSON"));
}

TEST_CASE("what has keys is a set of them, whatever else it has") {
  // RFC 7517 section 5: other members of a set must be ignored. One "kty" made it one key.
  const TokenIssuer rsa("RS256");
  const auto beside = [&](const std::string& members) {
    return mistake_in("{" + members + ",\"keys\":[" + rsa.jwk() + "]}", {"RS256"});
  };
  CHECK(beside(R"("kty":"RSA")") == "");
  CHECK(beside(R"("kty":"RSA","n":"AQAB","e":"AQAB")") == "");
  CHECK(beside(R"("kty":null,"other":{})") == "");
  CHECK(mistake_in(R"({"kty":"RSA","n":"AQAB","e":"AQAB","keys":[]})", {"RS256"})
            .contains("has no key for RS256"));
  // A key may have members that nobody knows (section 4).
  CHECK(mistake_in(rsa.jwk(R"(,"keys":"none")"), {"RS256"}) == "");
  CHECK(beside(R"("kty":"RSA","d":"AQAB")").starts_with("/keys:1:1: is a private key"));
}

TEST_CASE("a member that stands twice is a mistake, with the place of the second") {
  const TokenIssuer rsa("RS256"), p256("ES256");
  const auto is_twice = [&](const std::string& keys, const std::string& what) {
    CHECK(mistake_in(keys, {"RS256"}) == "/keys:" + what + " stands here twice");
  };
  is_twice("{\"kty\":\"RSA\",\n\"kty\":\"EC\"}", "2:1: \"kty\"");
  is_twice("{\"kty\":\"RSA\",\n \"k\\u0074y\":\"RSA\"}", "2:2: \"kty\"");
  is_twice("{\"keys\":[\n" + rsa.jwk(R"(,"x":"kid")") + ",\n {\"n\":1,\"e\":2, \"n\":1}]}",
           "3:16: \"n\"");
  is_twice("{\"keys\":[" + rsa.jwk() + "],\n  \"keys\":[]}", "2:3: \"keys\"");
  is_twice("{\"keys\":[{\"a\":[{\"b\":{}},{\"c\":[],\"b\":1,\n\"c\":2}]}]}", "2:1: \"c\"");
  is_twice("{\"\":\"\\\"\",\n\"\":1}", "2:1: \"\"");
  CHECK(mistake_in("{\"" + std::string(1'000, 'x') + "\":1,\"" + std::string(1'000, 'x') + "\":1}",
                   {"RS256"})
            .size() < 200);
  // What is alike in two objects, or is no name.
  CHECK(mistake_in(R"({"a":["a","a",{"a":"a"},{"a":[{}],"b":"a"}],"b":"a\",\"a","keys":[)" +
                       rsa.jwk(R"(,"kty2":"kty","o":{"kty":"n"})") + "," + p256.jwk() + "]}",
                   {"RS256"}) == "");
  CHECK(mistake_in(R"({"a":[{}],"keys":[ {},{"kty":"RSA"}]})", {"RS256"})
            .starts_with("/keys:1:23: the key has no"));
}

// RFC 8032 section 5.1.2: y, the lowest byte first, and above it the bit that says which x.
std::string ed25519_key(unsigned first, std::string_view rest) {
  return fmt::format(R"({{"kty":"OKP","crv":"Ed25519","x":"{}"}})",
                     TokenIssuer::base64url(static_cast<char>(first) + std::string(rest)));
}

TEST_CASE("an Ed25519 key under which anybody can sign is refused, however it is written") {
  const auto is_refused = [](const std::string& keys) {
    CHECK_MESSAGE(mistake_in(keys, {"EdDSA"}).starts_with("/keys:1:1: is an Ed25519 key of small"),
                  keys);
  };
  const std::string zeros(30, '\0'), ones(30, '\xff');
  for (const unsigned y : {0u, 1u})  // of order 4 and 1
    for (const char* last : {"\0", "\x80"}) is_refused(ed25519_key(y, zeros + *last));
  for (const unsigned y : {0xecu, 0xedu, 0xeeu})  // -1, of order 2, and 0 and 1 with the prime more
    for (const char* last : {"\x7f", "\xff"}) is_refused(ed25519_key(y, ones + *last));
  for (const char* x : {"JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU",  // of order 8
                        "JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_IU",
                        "xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA3o",
                        "xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA_o"})
    is_refused(fmt::format(R"({{"kty":"OKP","crv":"Ed25519","x":"{}"}})", x));
  // SubjectPublicKeyInfo of the point 0 (RFC 8410 section 4).
  is_refused(
      "-----BEGIN PUBLIC KEY-----\n"
      "MCowBQYDK2VwAyEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
      "-----END PUBLIC KEY-----\n");
  CHECK(mistake_in(TokenIssuer("EdDSA").jwk(), {"EdDSA"}) == "");
  CHECK(mistake_in(TokenIssuer("EdDSA").pem(), {"EdDSA"}) == "");
  CHECK(mistake_in(ed25519_key(3, zeros + '\0'), {"EdDSA"}) == "");
  CHECK(mistake_in(ed25519_key(0, ""), {"EdDSA"}).contains("the key is not valid"));
  CHECK(mistake_in(ed25519_key(0, zeros + '\0'), {"ES256"}).contains("has no key for ES256"));
}

TEST_CASE("a secret of one byte over and over is refused") {
  const auto of = [](const std::string& secret) {
    return mistake_in(fmt::format(R"({{"kty":"oct","k":"{}"}})", TokenIssuer::base64url(secret)),
                      {"HS256"});
  };
  for (const char byte : {'\0', '0', 'a', '\xff'}) {
    CHECK(of(std::string(32, byte)).contains("this is one byte over and over"));
    CHECK(of(std::string(4'096, byte)).contains("this is one byte over and over"));
    CHECK(of(std::string(31, byte) + '!') == "");
    CHECK(of('!' + std::string(31, byte)) == "");
    CHECK(of(std::string(31, byte)).contains("this has 31"));
  }
}

}  // namespace
}  // namespace classgate::gateway
