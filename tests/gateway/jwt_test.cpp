// Signed tokens: which are believed, whose they are, and what is remembered of them. Long, because
// each way to be wrong has its case.

#include "gateway/clients/jwt.h"

#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "conf/format.h"
#include "conf/sha256.h"
#include "gateway/clients/client_identity.h"
#include "tests/gateway/token_issuer.h"

namespace classgate::gateway {
namespace {

using Kind = conf::IdentitySource::Kind;

constexpr std::int64_t now = 1'800'000'000;

conf::JwtSettings settings_with(const std::string& keys,
                                const std::vector<std::string>& algorithms) {
  conf::JwtSettings settings;
  settings.keys_file = "/keys";
  settings.keys = std::make_shared<const std::string>(keys);
  settings.algorithms = algorithms;
  settings.claims = {"sub"};
  return settings;
}

std::string key_mistake_in(const std::string& keys, const std::vector<std::string>& algorithms) {
  const auto wrong = check_jwt(settings_with(keys, algorithms));
  return wrong.empty() ? std::string() : wrong.front();
}

// "good", or why not.
std::string verdict(const conf::JwtSettings& settings, const std::string& token,
                    std::int64_t at = now, TokenCache* checks = nullptr) {
  auto keys = JwtKeys::read(settings);
  REQUIRE(keys);
  const auto claims = JwtVerifier(settings, *keys).verify(token, at, checks, 1);
  return std::string(claims ? "good" : word_of(claims.error()));
}

std::string payload(const std::string& more = {}) {
  return fmt::format(R"({{"sub":"alice","exp":{}{}}})", now + 60, more);
}

TEST_CASE("the examples of RFC 7515 and RFC 8037 are good, to their last second") {
  const std::string claims =
      "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl"
      "fQ";
  const std::string hs256 = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + claims +
                            ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
  const auto with_octets = settings_with(
      R"({"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"})",
      {"HS256"});
  CHECK(verdict(with_octets, hs256, 1'300'819'379) == "good");
  CHECK(verdict(with_octets, hs256, 1'300'819'380) == "expired");
  const std::string es256 =
      "eyJhbGciOiJFUzI1NiJ9." + claims +
      ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
  const auto with_p256 = settings_with(
      R"({"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})",
      {"ES256"});
  CHECK(verdict(with_p256, es256, 1'300'819'379) == "good");
  CHECK(verdict(with_p256, hs256, 1'300'819'379) == "algorithm");
  const auto ed25519 = JwtKeys::read(settings_with(
      R"({"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})",
      {"EdDSA"}));
  REQUIRE(ed25519);
  CHECK((*ed25519)->is_signed(0,
                              "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
                              "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVs"
                              "Pt9g7sVvpAr_MuM0KAg"));
}

TEST_CASE("each algorithm is checked with its keys, of a set and of PEM") {
  for (const char* name : {"HS256", "RS256", "ES256", "EdDSA"}) {
    CAPTURE(name);
    const TokenIssuer issuer(name, "one");
    const std::string token = issuer.token(payload());
    const auto settings = settings_with(key_set({issuer.jwk()}), {name});
    CHECK(verdict(settings, token) == "good");
    for (const std::size_t at : {token.size() - 2, token.size() / 2, token.find('.') + 3}) {
      std::string other = token;
      other[at] = other[at] == 'A' ? 'B' : 'A';
      CHECK(verdict(settings, other) != "good");
    }
    CHECK(verdict(settings, token.substr(0, token.rfind('.') + 1)) == "unknown_key");
    if (std::string_view(name) != "HS256")
      CHECK(verdict(settings_with(issuer.pem(), {name}), token) == "good");
  }
}

TEST_CASE("no token chooses how it is checked") {
  const TokenIssuer rsa("RS256", "k"), octets("HS256", "k");
  const auto only_rsa = settings_with(key_set({rsa.jwk(), octets.jwk()}), {"RS256"});
  const auto both = settings_with(key_set({rsa.jwk(), octets.jwk()}), {"RS256", "HS256"});
  const auto text_with = [](const std::string& header) {
    return TokenIssuer::base64url(header) + '.' + TokenIssuer::base64url(payload());
  };
  for (const char* none : {"none", "None", "NONE", "nOnE", ""}) {
    const std::string text = text_with(fmt::format(R"({{"alg":"{}"}})", none));
    CHECK(verdict(both, text + '.') == "algorithm");
    CHECK(verdict(both, text + ".AAAA") == "algorithm");
  }
  // The public key as the secret of an HMAC (CVE-2015-9235): PEM, with and without its last line.
  const std::string hs256 = text_with(R"({"alg":"HS256","kid":"k"})");
  for (const std::string& secret :
       {rsa.pem(), rsa.pem().substr(0, rsa.pem().size() - 1), rsa.jwk()}) {
    const std::string forged =
        hs256 + '.' + TokenIssuer::base64url(TokenIssuer::hs256(hs256, secret));
    CHECK(verdict(only_rsa, forged) == "algorithm");
    CHECK(verdict(both, forged) == "signature");
    CHECK(verdict(settings_with(rsa.pem(), {"RS256"}), forged) == "algorithm");
  }
  CHECK(verdict(only_rsa, octets.token(payload())) == "algorithm");  // good, but not named
  // One algorithm's signature under another's name, and relatives that nobody named.
  CHECK(verdict(both, rsa.token(R"({"alg":"HS256","kid":"k"})", payload())) == "unknown_key");
  for (const char* other :
       {"RS384", "PS256", "HS512", "ES256", "rs256", "RS256 ", R"(RS256\u0000)"})
    CHECK(verdict(both, rsa.token(fmt::format(R"({{"alg":"{}"}})", other), payload())) ==
          "algorithm");
  // A key of the token's own, or from where it says.
  CHECK(verdict(both, TokenIssuer("ES256").token(
                          R"({"alg":"ES256","jwk":)" + TokenIssuer("ES256").jwk() + "}",
                          payload())) == "algorithm");
  const auto p256 = settings_with(
      R"({"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})",
      {"ES256"});
  CHECK(verdict(p256,
                TokenIssuer("ES256").token(R"({"alg":"ES256","jwk":)" + TokenIssuer("ES256").jwk() +
                                               R"(,"jku":"https://evil.example/keys"})",
                                           payload())) == "signature");
  // An extension that must be understood is not (RFC 7515 section 4.1.11).
  CHECK(verdict(both, rsa.token(R"({"alg":"RS256","crit":["exp"]})", payload())) == "malformed");
  CHECK(verdict(both, rsa.token(R"({"alg":"RS256","b64":false})", payload())) == "malformed");
}

TEST_CASE("a kid is compared with those of the set, and is nothing else") {
  const TokenIssuer issuer("RS256", "2026-a");
  const auto settings = settings_with(key_set({issuer.jwk()}), {"RS256"});
  const auto with_kid = [&](const std::string& kid) {
    return verdict(settings, issuer.token(R"({"alg":"RS256","kid":)" + kid + "}", payload()));
  };
  CHECK(with_kid(R"("2026-a")") == "good");
  for (const char* kid : {R"("../../../../dev/null")", R"("/keys")", R"("2026-a\u0000")", R"("")",
                          R"("x' UNION SELECT 'key")", R"("|/bin/sh")", R"("2026-A")"})
    CHECK(with_kid(kid) == "unknown_key");
  for (const char* kid : {"1", "null", R"(["2026-a"])", R"({"a":"2026-a"})"})
    CHECK(with_kid(kid) == "malformed");
  CHECK(verdict(settings, issuer.token(R"({"alg":"RS256"})", payload())) == "good");  // says none
  const auto from_pem = settings_with(issuer.pem(), {"RS256"});
  CHECK(verdict(from_pem, issuer.token(payload())) == "good");  // PEM has none
}

TEST_CASE("when and for whom a token is, to the second") {
  const TokenIssuer issuer("HS256");
  auto settings = settings_with(issuer.jwk(), {"HS256"});
  const auto with = [&](const std::string& claims) {
    return verdict(settings, issuer.token("{" + claims + "}"));
  };
  const auto time = [](const char* claim, std::int64_t at) {
    return fmt::format("\"{}\":{}", claim, at);
  };
  CHECK(with(time("exp", now + 1)) == "good");
  CHECK(with(time("exp", now)) == "expired");
  CHECK(with(time("exp", now - 1)) == "expired");
  CHECK(with(time("nbf", now) + "," + time("exp", now + 9)) == "good");
  CHECK(with(time("nbf", now + 1) + "," + time("exp", now + 9)) == "not_yet");
  CHECK(with(R"("sub":"alice")") == "missing_claim");  // for ever
  settings.leeway = conf::milliseconds{2'000};
  CHECK(with(time("exp", now - 1)) == "good");
  CHECK(with(time("exp", now - 2)) == "expired");
  CHECK(with(time("nbf", now + 2) + "," + time("exp", now + 9)) == "good");
  CHECK(with(time("nbf", now + 3) + "," + time("exp", now + 9)) == "not_yet");
  settings.leeway = conf::milliseconds{0};
  for (const char* odd :
       {"\"1900000000\"", "null", "true", "[1900000000]", "{}", "-1", "1e300", "1e999",
        "99999999999999999999999", "253402300800", "NaN", "0x7fffffff", "01900000000"})
    CHECK_MESSAGE(with(fmt::format("\"exp\":{}", odd)) == "malformed", odd);
  CHECK(with("\"exp\":1.9e9") == "good");
  CHECK(with("\"iat\":\"now\"," + time("exp", now + 9)) == "malformed");
  const std::string good = time("exp", now + 9);
  CHECK(with(good + R"(,"aud":"api")") == "audience");  // it is for somebody, and not us
  settings.aud = {"api", "web"};
  settings.iss = "https://issuer.example";
  const std::string issued = good + R"(,"iss":"https://issuer.example")";
  CHECK(with(issued + R"(,"aud":"api")") == "good");
  CHECK(with(issued + R"(,"aud":["other","web"])") == "good");
  CHECK(with(issued) == "audience");
  CHECK(with(issued + R"(,"aud":"API")") == "audience");
  CHECK(with(issued + R"(,"aud":"api2")") == "audience");
  CHECK(with(issued + R"(,"aud":[])") == "audience");
  CHECK(with(issued + R"(,"aud":["api",1])") == "malformed");
  CHECK(with(issued + R"(,"aud":[["api"]])") == "malformed");
  CHECK(with(issued + R"(,"aud":{"a":"api"})") == "malformed");
  CHECK(with(good + R"(,"aud":"api")") == "issuer");
  CHECK(with(good + R"(,"aud":"api","iss":"https://issuer.example/")") == "issuer");
  CHECK(with(good + R"(,"aud":"api","iss":["https://issuer.example"])") == "malformed");
}

TEST_CASE("what two readers might read differently is refused") {
  const TokenIssuer issuer("HS256");
  const auto settings = settings_with(issuer.jwk(), {"HS256"});
  const std::string end = fmt::format("\"exp\":{}", now + 9);
  const auto is_malformed = [&](const std::string& text) {
    const std::string found = verdict(settings, issuer.token(text));
    CHECK_MESSAGE(found == "malformed", text);
  };
  is_malformed("{" + end + R"(,"sub":"a","sub":"b"})");
  is_malformed("{" + end + R"(,"sub":"a","s\u0075b":"b"})");
  is_malformed("{" + end + "," + end + "}");
  is_malformed("{" + end + R"(,"other":{"x":1,"x":2}})");
  is_malformed("{" + end + R"(,"other":[{"x":1,"x":2}]})");
  is_malformed("{" + end + R"(,"sub":["alice"]})");
  is_malformed("{" + end + R"(,"sub":{"sub":"alice"}})");
  is_malformed("{" + end + R"(,"sub":7})");
  is_malformed("{" + end + "," + R"("sub":")" + std::string(257, 'x') + "\"}");
  is_malformed("[{" + end + "}]");
  is_malformed("\"" + std::string(20, 'x') + "\"");
  is_malformed("1900000000");
  is_malformed("null");
  is_malformed("");
  is_malformed("{" + end + "}{}");
  is_malformed("{" + end + "} x");
  is_malformed("{" + end + "}" + '\0' + "{}");
  is_malformed("{" + end + "}" + '\0');
  is_malformed("{" + end + ",}");
  is_malformed("{'exp':1900000000}");
  is_malformed("/**/{" + end + "}");
  is_malformed("{" + end + ",\"a\":\"\xff\"}");
  is_malformed("{" + end + ",\"a\":\"\\ud800\"}");
  is_malformed("{" + end + ",\"a\":" + std::string(20, '[') + std::string(20, ']') + "}");
  std::string many = "{" + end;
  for (int i = 0; i < 300; ++i) many += fmt::format(",\"m{}\":1", i);
  is_malformed(many + "}");
  CHECK(verdict(settings, issuer.token("{" + end + R"(,"other":{"x":[1,{"x":2}]},"sub":"a"})")) ==
        "good");
  // The header alike.
  for (const char* header :
       {R"({"alg":"HS256","alg":"none"})", R"({"alg":"none","alg":"HS256"})", R"(["HS256"])",
        R"({"alg":["HS256"]})", R"({"alg":null})", "{}", "", R"({"alg":"HS256"}})"})
    CHECK_MESSAGE(verdict(settings, issuer.token(header, payload())) == "malformed", header);
}

TEST_CASE("a token is written in one way, in three parts, and no larger than it may be") {
  const TokenIssuer issuer("HS256");
  auto settings = settings_with(issuer.jwk(), {"HS256"});
  const std::string token = issuer.token(payload());
  CHECK(verdict(settings, token) == "good");
  for (const std::string& odd :
       {token + ".", "." + token, token + "=", token + " ", " " + token, token + "\n", token + "A",
        token + '\0', std::string(".."), std::string("..."), std::string("."), std::string("a.b.c"),
        token.substr(0, token.find('.')), token + "." + token})
    CHECK_MESSAGE(verdict(settings, odd) != "good", odd);
  // The last digit of 32 bytes has two bits that mean nothing.
  std::string same_bytes = token;
  constexpr std::string_view digits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  same_bytes.back() = digits[digits.find(same_bytes.back()) ^ 1];
  CHECK(verdict(settings, same_bytes) == "malformed");
  settings.token_bytes = conf::Bytes{token.size()};
  CHECK(verdict(settings, token) == "good");
  settings.token_bytes = conf::Bytes{token.size() - 1};
  CHECK(verdict(settings, token) == "too_large");
  CHECK(verdict(settings, std::string(10'000'000, '.')) == "too_large");
}

TEST_CASE("keys that are no good are told with their place") {
  const TokenIssuer rsa("RS256"), p256("ES256");
  CHECK(key_mistake_in(rsa.pem(), {"RS256"}).empty());
  CHECK(key_mistake_in(rsa.pem() + p256.pem(), {"RS256", "ES256"}).empty());
  CHECK(key_mistake_in("", {"RS256"}).starts_with("/keys:1:1: is empty"));
  CHECK(key_mistake_in(std::string("{}\n") + '\0' + "\"", {"RS256"}) ==
        "/keys:2:1: holds a NUL byte: this is not a text file");
  CHECK(key_mistake_in("hello", {"RS256"}).starts_with("/keys:1:1: is neither JSON"));
  CHECK(key_mistake_in("{\n  \"keys\": [\n  }", {"RS256"}) == "/keys:3:3: is no JSON from here on");
  CHECK(key_mistake_in("{\"a\":1}", {"RS256"}).contains("is neither a JSON Web Key Set"));
  CHECK(key_mistake_in(R"({"keys":[7]})", {"RS256"}).contains("something that is no key"));
  CHECK(key_mistake_in(key_set({p256.jwk()}), {"RS256"}) ==
        "/keys:1:1: has no key for RS256, which jwt.algorithms names");
  CHECK(key_mistake_in("{\"keys\":[\n  " + rsa.jwk(R"(,"d":"AQAB")") + "]}", {"RS256"}) ==
        "/keys:2:3: is a private key, for it has \"d\": only its public part belongs here");
  CHECK(key_mistake_in(R"({"kty":"oct","k":"c2hvcnQ"})", {"HS256"})
            .contains("a key for HS256 must have 32 to 4096 bytes; this has 5"));
  CHECK(key_mistake_in(R"({"kty":"RSA","n":"AQAB","e":"AQAB"})", {"RS256"})
            .contains("must have 2048 to 8192 bits; this has 17"));
  CHECK(key_mistake_in(R"({"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"})", {"ES256"})
            .contains("the key is not valid"));
  const std::string off_curve(43, 'A');
  CHECK(
      key_mistake_in(fmt::format(R"({{"kty":"EC","crv":"P-256","x":"{0}","y":"{0}"}})", off_curve),
                     {"ES256"})
          .contains("the key is not valid"));
  CHECK(key_mistake_in("comment\n-----BEGIN PUBLIC KEY-----\nAAAA\n", {"RS256"}) ==
        "/keys:2:1: is no whole PEM block");
  CHECK(key_mistake_in("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", {"RS256"})
            .starts_with("/keys:1:1: is a private key"));
  const TokenIssuer twin("RS256", "a");
  CHECK(key_mistake_in(key_set({twin.jwk(), twin.jwk()}), {"RS256"})
            .contains("two keys with the kid"));
  // What is for something else is passed over.
  const auto wrong_use = [&](const std::string& more) {
    return key_mistake_in(key_set({rsa.jwk(more)}), {"RS256"});
  };
  for (const char* more : {R"(,"use":"enc")", R"(,"alg":"RS512")", R"(,"key_ops":["encrypt"])"})
    CHECK(wrong_use(more).contains("has no key for RS256"));
  CHECK(wrong_use(R"(,"use":"sig","alg":"RS256","key_ops":["verify"],"x5t":"?")").empty());
}

// A loop that checks 80 signatures in a second, of one sender 10 bad ones.
struct Bounded {
  Bounded() {
    settings.checks_max = 80;
    verifier.emplace(settings, JwtKeys::read(settings).value());
    cache.serve(1, settings);
  }
  std::string ask(const std::string& token, std::uint64_t sender, std::int64_t at) {
    const auto claims = verifier->verify(token, at, &cache, sender);
    return std::string(claims ? "good" : word_of(claims.error()));
  }

  const TokenIssuer issuer{"HS256"};
  conf::JwtSettings settings = settings_with(issuer.jwk(), {"HS256"});
  std::optional<JwtVerifier> verifier;
  TokenCache cache;
  const std::string good = issuer.token(payload());
};

TEST_CASE("no more signatures are checked in a second than the conf says, and of one sender less") {
  Bounded bounded;
  const std::string& good = bounded.good;
  std::string bad = good;
  bad[bad.size() - 3] = bad[bad.size() - 3] == 'A' ? 'B' : 'A';
  const auto ask = [&](const std::string& token, std::uint64_t sender, std::int64_t at = now) {
    return bounded.ask(token, sender, at);
  };
  for (int i = 0; i < 10; ++i) CHECK(ask(bad, 7) == "signature");
  for (int i = 0; i < 1'000; ++i) CHECK(ask(bad, 7) == "too_many");
  CHECK(ask(good, 7) == "too_many");  // it has spent its own
  for (int i = 0; i < 70; ++i) CHECK(ask(good, 8) == "good");
  CHECK(ask(good, 8) == "too_many");
  CHECK(ask(good, 9) == "too_many");
  CHECK(ask("a.b.c", 9) == "too_many");  // it is not read any more
  CHECK(bounded.cache.take_checked() == 80);
  CHECK(ask(good, 7, now + 1) == "good");
}

TEST_CASE(
    "a sender of tokens that are read in vain comes to its end too, and takes nothing from "
    "others") {
  Bounded bounded;
  const std::string& good = bounded.good;
  const auto ask = [&](const std::string& token, std::uint64_t sender, std::int64_t at = now) {
    return bounded.ask(token, sender, at);
  };
  // An eighth of 80 signatures, and eight of these for each.
  for (int i = 0; i < 80; ++i) CHECK(ask("a.b.c", 7) == "malformed");
  for (int i = 0; i < 1'000; ++i) CHECK(ask("a.b.c", 7) == "too_many");
  CHECK(ask(good, 7) == "too_many");
  CHECK(bounded.cache.take_checked() == 0);
  for (int i = 0; i < 80; ++i) CHECK(ask(good, 8) == "good");
  CHECK(ask("a.b.c", 7, now + 1) == "malformed");
}

TEST_CASE("senders that stand in one place come to their end each, and do not reset each other") {
  Bounded bounded;
  for (int i = 0; i < 80; ++i)
    for (const std::uint64_t sender : {7U, 7U + 1024, 7U + 2048, 7U + 3072})
      CHECK(bounded.ask("a.b.c", sender, now) == "malformed");
  for (const std::uint64_t sender : {7U, 7U + 1024, 7U + 2048, 7U + 3072})
    CHECK(bounded.ask("a.b.c", sender, now) == "too_many");
  CHECK(bounded.ask("a.b.c", 7U + 4096, now) == "malformed");
}

// Clients of a conf whose identity is ["jwt:sub", "bearer", "address"].
class World {
 public:
  explicit World(conf::UnknownClients unknown, const std::string& file = {}) {
    settings.jwt = settings_with(issuer.jwk(), {"HS256"});
    settings.admission.fairness.is_on = true;
    settings.admission.fairness.identity = {{Kind::jwt, "sub"}, {Kind::bearer}, {}};
    settings.admission.fairness.plans.push_back({.name = "gold", .clients = {"jwt:sub:planned"}});
    settings.clients.unknown = unknown;
    auto known = conf::read_known_clients(file, true);
    REQUIRE(known);
    settings.clients.known = std::make_shared<const conf::KnownClients>(std::move(*known));
  }
  ClientIdentities::Identity who(const std::string& bearer, TokenCache* tokens = nullptr) {
    if (!identities_) make();
    proxy::wire::Head head;
    const std::string value = (settings.jwt.from.kind == Kind::bearer ? "Bearer " : "") + bearer;
    head.fields.push_back(
        {settings.jwt.from.kind == Kind::bearer ? "Authorization" : "X-Token", value});
    return identities_->of({.head = head,
                            .address = *conf::IpAddress::parse("192.0.2.1"),
                            .tls_subject = {},
                            .tokens = tokens},
                           {});
  }
  void make() {
    identities_ =
        std::make_unique<const ClientIdentities>(settings, admission::Ids(settings), HashKey{1, 2});
  }
  std::string token(const std::string& sub, std::int64_t ends = 4'000'000'000) const {
    return issuer.token(fmt::format(R"({{"sub":"{}","exp":{}}})", sub, ends));
  }
  std::string plan_of(const ClientIdentities::Identity& identity) const {
    return std::string(admission::Ids(settings).name_of(identity.plan));
  }
  const TokenIssuer issuer{"HS256"};
  conf::Settings settings;

 private:
  std::unique_ptr<const ClientIdentities> identities_;
};

TEST_CASE("a refreshed token of the same subject is the same client, and no other is") {
  World world(conf::UnknownClients::refuse, "acme plan=gold\nold not_after=2001-01-01\n");
  TokenCache cache;
  const auto alice = world.who(world.token("alice"), &cache);
  CHECK(alice.is_known);
  CHECK(alice.id != 0);
  CHECK(alice.client == nullptr);
  CHECK(world.who(world.token("alice", 4'000'000'001), &cache).id == alice.id);
  CHECK(world.who(world.token("alice", 4'000'000'001), &cache).id == alice.id);  // remembered
  CHECK(world.who(world.token("alice"), nullptr).id == alice.id);
  CHECK(world.who(world.token("bob"), &cache).id != alice.id);
  const auto acme = world.who(world.token("acme"), &cache);
  REQUIRE(acme.client != nullptr);
  CHECK(acme.client->name == "acme");
  CHECK(world.plan_of(acme) == "gold");
  CHECK(world.plan_of(world.who(world.token("planned"), &cache)) == "gold");
  const auto old = world.who(world.token("old"), &cache);
  CHECK(old.is_refused);
  REQUIRE(old.not_valid != nullptr);
  CHECK(old.not_valid->name == "old");
  CHECK_FALSE(world.who(world.token("old"), &cache).is_known);
  CHECK(world.who(world.token(""), &cache).is_refused);  // says nothing
}

TEST_CASE("a token that is not believed is an unknown client, whatever it says") {
  for (const auto unknown : {conf::UnknownClients::refuse, conf::UnknownClients::shared,
                             conf::UnknownClients::address, conf::UnknownClients::own}) {
    World world(unknown);
    TokenCache cache;
    const std::uint64_t alice = world.who(world.token("alice"), &cache).id;
    std::string forged = world.token("alice");
    forged.back() = forged.back() == 'A' ? 'Q' : 'A';
    const auto first = world.who(forged, &cache);
    const auto expired = world.who(world.token("alice", 1'000'000'000), &cache);
    CHECK_FALSE(first.is_known);
    CHECK(first.id != alice);
    CHECK(first.token_fault.has_value());
    CHECK(expired.id == first.id);
    CHECK(expired.token_fault == TokenFault::expired);
    CHECK(first.is_refused == (unknown == conf::UnknownClients::refuse));
    CHECK(world.who(world.token("alice"), &cache).id == alice);
  }
  // What has not three parts may be a key.
  World world(conf::UnknownClients::own);
  CHECK(world.who("opaque-key").source->kind == Kind::bearer);
}

TEST_CASE("a known key may have two dots; an unknown one is a token that is not believed") {
  World world(conf::UnknownClients::refuse,
              "mailer key=sha256:" + conf::hex_of(conf::sha256("SG.abc.def")) + "\n");
  TokenCache cache;
  const auto mailer = world.who("SG.abc.def", &cache);
  REQUIRE(mailer.client != nullptr);
  CHECK(mailer.client->name == "mailer");
  CHECK_FALSE(mailer.is_refused);
  CHECK(world.who("SG.abc.deg", &cache).is_refused);
  CHECK(world.who("SG.abc.deg", &cache).token_fault == TokenFault::malformed);
}

TEST_CASE("claims whose names differ by their case only are not each other") {
  World world(conf::UnknownClients::refuse);
  world.settings.jwt.claims = {"sub", "Sub"};
  world.settings.admission.fairness.identity = {{Kind::jwt, "Sub"}, {Kind::jwt, "sub"}};
  world.settings.admission.fairness.plans.front().clients = {"jwt:Sub:boss"};
  const auto plan_with = [&](const std::string& claim) {
    const std::string token =
        world.issuer.token(fmt::format(R"({{"{}":"boss","exp":4000000000}})", claim));
    return world.plan_of(world.who(token));
  };
  CHECK(plan_with("Sub") == "gold");
  CHECK(plan_with("sub").empty());
}

TEST_CASE("a token stands where the conf says, once") {
  World world(conf::UnknownClients::refuse);
  world.settings.jwt.from = {.kind = Kind::header, .name = "X-Token"};
  CHECK(world.who(world.token("alice")).is_known);
  proxy::wire::Head head;
  const std::string token = world.token("alice");
  head.fields = {{"X-Token", token}, {"X_Token", token}};
  const ClientIdentities identities(world.settings, admission::Ids(world.settings), {1, 2});
  CHECK(identities.of({.head = head, .address = {}, .tls_subject = {}}, {}).is_ambiguous);
  // The service would not get it.
  head.fields = {{"X-Token", token}, {"Connection", "x-token", proxy::wire::FieldId::connection}};
  head.nominates_fields = true;
  CHECK(identities.of({.head = head, .address = {}, .tls_subject = {}}, {}).is_ambiguous);
}

TEST_CASE("what a loop remembers of tokens ends with them, with their keys, and is bounded") {
  conf::JwtSettings settings;
  settings.tokens_max = 64;
  TokenCache cache;
  cache.serve(1, settings);
  const auto key = cache.key_of("a.b.c");
  cache.put(key, now + 2, now, {42});
  REQUIRE(cache.find(key, now + 1) != nullptr);
  CHECK((*cache.find(key, now + 1))[0] == 42);
  CHECK(cache.find(key, now + 2) == nullptr);
  CHECK(cache.find(cache.key_of("a.b.d"), now) == nullptr);
  cache.serve(1, settings);
  CHECK(cache.find(key, now) != nullptr);
  cache.serve(2, settings);  // other keys
  CHECK(cache.find(key, now) == nullptr);
  int kept = 0;
  for (int i = 0; i < 10'000; ++i) cache.put(cache.key_of(std::to_string(i)), now + 10, now, {1});
  for (int i = 0; i < 10'000; ++i)
    kept += cache.find(cache.key_of(std::to_string(i)), now) != nullptr ? 1 : 0;
  CHECK(kept == 64);
}

}  // namespace
}  // namespace classgate::gateway
