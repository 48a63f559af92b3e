#include "gateway/clients/client_identity.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <deque>
#include <random>
#include <string>
#include <vector>

#include "gateway/json_items.h"
#include "proxy/wire/fields.h"

namespace classgate::gateway {
namespace {

using Kind = conf::IdentitySource::Kind;

constexpr HashKey identity_key{0x0706050403020100, 0x0f0e0d0c0b0a0908};

struct Request {
  std::vector<proxy::wire::Field> fields = {};
  std::string address = "192.0.2.1";
  std::string subject = {};
};

class Identities {
 public:
  explicit Identities(std::vector<conf::IdentitySource> sources) {
    settings.admission.fairness.is_on = true;
    settings.admission.fairness.identity = std::move(sources);
  }
  std::uint64_t of(const Request& request, std::string_view route = "*") const {
    return identify(request, route).id;
  }
  ClientIdentities::Identity identify(const Request& request, std::string_view route = "*") const {
    proxy::wire::Head head;
    head.fields = request.fields;
    for (proxy::wire::Field& field : head.fields) {  // as the parser has them
      field.id = proxy::wire::field_id(field.name);
      head.nominates_fields |= field.id == proxy::wire::FieldId::connection;
    }
    const admission::Ids ids(settings);
    return ClientIdentities(settings, ids, identity_key)
        .of({head, *conf::IpAddress::parse(request.address), request.subject}, ids.route(route));
  }
  // Empty: everybody's.
  std::string plan_of(const Request& request) const {
    return std::string(admission::Ids(settings).name_of(identify(request).plan));
  }
  RetryMarks attempt(const Request& request, std::uint64_t client = 1,
                     std::string_view path = "/a") const {
    proxy::wire::Head head;
    head.fields = request.fields;
    return ClientIdentities(settings, admission::Ids(settings), identity_key)
        .retry_marks_of(head, client, path);
  }
  conf::Settings settings;
};

TEST_CASE("an address has the same id, whether it was seen before or not") {
  std::deque<ClientIdentities> all;  // each with a key or prefixes of its own
  for (const HashKey& key : {identity_key, HashKey{1, 2}})
    for (const auto& [v4, v6] : {std::pair(32, 64), std::pair(24, 64), std::pair(32, 48)}) {
      Identities made({{.kind = Kind::address, .v4_prefix = v4, .v6_prefix = v6}});
      all.emplace_back(made.settings, admission::Ids(made.settings), key);
    }
  AddressIds seen;
  const proxy::wire::Head head;
  std::mt19937 random(7);
  std::vector<conf::IpAddress> addresses;
  for (int i = 0; i < 500; ++i) {
    std::array<std::uint8_t, 16> bytes{};
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random() % 3);
    addresses.push_back(i % 2 == 0 ? conf::IpAddress::from_v4(bytes.data())
                                   : conf::IpAddress{bytes});
  }
  // More than there are places for, each asked for by others between.
  for (int i = 0; i < 20'000; ++i) {
    const ClientIdentities& clients = all[random() % all.size()];
    const conf::IpAddress& address = addresses[random() % addresses.size()];
    const auto with = clients.of({.head = head, .address = address, .addresses = &seen}, {});
    const auto without = clients.of({.head = head, .address = address}, {});
    REQUIRE(with.id == without.id);
  }
}

TEST_CASE("SipHash gives what its authors give") {
  // The test vectors of the reference implementation, for messages 00 01 02 ...
  CHECK(SipHash::of(identity_key, "") == 0x726fdb47dd0e0e31);
  std::string message;
  for (char c = 0; c < 15; ++c) message += c;
  CHECK(SipHash::of(identity_key, message) == 0xa129ca6149be45e5);
  CHECK(SipHash::of(identity_key, message.substr(0, 8)) == 0x93f5f5799a932462);
}

TEST_CASE("a client is known by the first source that its request has") {
  const Identities who({{Kind::header, "X-Api-Key"}, {Kind::bearer, ""}, {Kind::tls, ""}});
  const std::uint64_t by_key = who.of({.fields = {{"x-api-key", "alpha"}}});
  CHECK(by_key != 0);
  CHECK(by_key == who.of({.fields = {{"authorization", "Bearer t"}, {"X-API-KEY", "alpha"}},
                          .address = "192.0.2.9"}));
  CHECK(by_key != who.of({.fields = {{"x-api-key", "beta"}}}));
  const std::uint64_t by_token = who.of({.fields = {{"Authorization", "bearer  t"}}});
  CHECK(by_token == who.of({.fields = {{"authorization", "Bearer t"}}, .address = "::1"}));
  CHECK(by_token != who.of({.fields = {{"authorization", "Basic t"}}}));
  CHECK(who.of({.address = "192.0.2.1", .subject = "CN=a"}) ==
        who.of({.address = "192.0.2.2", .subject = "CN=a"}));
}

TEST_CASE("who names nothing shares with its address, in IPv6 with its /64") {
  const Identities who({{Kind::header, "X-Api-Key"}});
  CHECK(who.of({.fields = {{"x-api-key", ""}}}) == who.of({}));
  CHECK(who.of({.address = "192.0.2.1"}) != who.of({.address = "192.0.2.2"}));
  CHECK(who.of({.address = "2001:db8::1"}) == who.of({.address = "2001:db8::2"}));
  CHECK(who.of({.address = "2001:db8::1"}) != who.of({.address = "2001:db8:0:1::1"}));
}

TEST_CASE("a key that reads like an address is not that address") {
  const Identities who({{Kind::header, "X-Api-Key"}});
  const conf::IpAddress address = *conf::IpAddress::parse("192.0.2.1");
  const std::string bytes(address.bytes.begin(), address.bytes.end());
  CHECK(who.of({.fields = {{"x-api-key", bytes}}}) != who.of({}));
}

TEST_CASE("an identity may be any bytes of any length") {
  const Identities who({{Kind::header, "X-Api-Key"}});
  std::string value;
  for (int i = 0; i < 100'000; ++i) {
    if (i % 9'973 == 0) CHECK(who.of({.fields = {{"x-api-key", value}}}) != 0);
    value += static_cast<char>(i);
  }
}

TEST_CASE("a route may have sources of its own, or none") {
  Identities who({{Kind::header, "X-Api-Key"}});
  who.settings.routes[1].identity = std::vector<conf::IdentitySource>{};
  who.settings.routes[2].identity = std::vector<conf::IdentitySource>{{Kind::address, ""}};
  const Request request{.fields = {{"x-api-key", "alpha"}}};
  CHECK(who.of(request, "/health") != 0);
  CHECK(who.of(request, "/status") == 0);
  CHECK(who.of(request, "/v1/classify") == who.of({}, "/v1/classify"));
  CHECK(who.of(request, "*") == who.of(request, "/health"));
}

TEST_CASE("a plan has the clients it names, by key, token, subject or address") {
  Identities who({{Kind::header, "X-Api-Key"}, {Kind::bearer, ""}});
  conf::PlanSettings gold;
  gold.name = "gold";
  gold.clients = {"header:x-api-key:alpha", "bearer:alpha", "address:192.0.2.7"};
  who.settings.admission.fairness.plans = {conf::PlanSettings{.name = "nobody's", .clients = {}},
                                           gold};
  CHECK(who.plan_of({.fields = {{"x-api-key", "alpha"}}}) == "gold");
  CHECK(who.plan_of({.fields = {{"authorization", "Bearer alpha"}}}) == "gold");
  CHECK(who.plan_of({.address = "192.0.2.7"}) == "gold");
  CHECK(who.plan_of({.fields = {{"x-api-key", "beta"}}}).empty());
}

TEST_CASE("nobody leaves the plan of his network with a key that nobody knows") {
  for (const auto unknown : {conf::UnknownClients::own, conf::UnknownClients::address}) {
    Identities who({{Kind::header, "X-Api-Key"}, {Kind::address, ""}});
    conf::PlanSettings office;
    office.name = "office";
    office.clients = {"address:10.0.0.0/8"};
    who.settings.admission.fairness.plans = {office};
    who.settings.clients.unknown = unknown;
    const Request keyless{.address = "10.1.2.3"};
    const Request invented{.fields = {{"x-api-key", "invented"}}, .address = "10.1.2.3"};
    CHECK(who.plan_of(invented) == "office");
    CHECK(who.of(invented) == who.of(keyless));
  }
}

TEST_CASE("a plan of the machine itself is no plan of strangers") {
  Identities who({{Kind::address, ""}});
  conf::PlanSettings local;
  local.name = "local";
  for (const std::vector<std::string>& clients :
       {std::vector<std::string>{"address:::1"}, {"address:::/64"}, {"address:::/0"}}) {
    local.clients = clients;
    who.settings.admission.fairness.plans = {local};
    CHECK(who.plan_of({.address = "::1"}) == "local");
    for (const char* other : {"8.8.8.8", "127.0.0.1", "unix:"})
      CHECK(who.plan_of({.address = other}).empty());
  }
  CHECK(who.plan_of({.address = "2001:db8::1"}) == "local");
  local.clients = {"address:unix:"};
  who.settings.admission.fairness.plans = {local};
  CHECK(who.plan_of({.address = "unix:"}) == "local");
  CHECK(who.plan_of({.address = "::1"}).empty());
  CHECK(who.of({.address = "unix:"}) != who.of({.address = "::1"}));
}

TEST_CASE("who sends an address or a subject as its key has not the plan of that") {
  Identities who({{Kind::header, "X-Api-Key"}, {Kind::header, "X-Team"}, {Kind::tls, ""}});
  conf::PlanSettings gold;
  gold.name = "gold";
  gold.clients = {"address:10.1.2.3", "tls:CN=gold", "header:X-Team:red"};
  who.settings.admission.fairness.plans = {gold};
  for (const char* said : {"10.1.2.3", "address:10.1.2.3", "CN=gold", "tls:CN=gold", "red"})
    CHECK(who.plan_of({.fields = {{"X-Api-Key", said}}}).empty());
  CHECK(who.plan_of({.address = "10.1.2.3"}) == "gold");
  CHECK(who.plan_of({.subject = "CN=gold"}) == "gold");
  CHECK(who.plan_of({.fields = {{"x-team", "red"}}}) == "gold");
  CHECK(who.of({.fields = {{"X-Api-Key", "red"}}}) != who.of({.fields = {{"X-Team", "red"}}}));
}

TEST_CASE("a field that names is there once, as it is written") {
  const Identities who({{Kind::header, "X-Api-Key"}, {Kind::bearer, ""}});
  const auto is_ambiguous = [&](std::vector<proxy::wire::Field> fields) {
    return who.identify({.fields = std::move(fields)}).is_ambiguous;
  };
  CHECK_FALSE(is_ambiguous({{"X-Api-Key", "a"}, {"Authorization", "Bearer b"}}));
  CHECK(is_ambiguous({{"X-Api-Key", "a"}, {"X-Api-Key", "a"}}));
  CHECK(is_ambiguous({{"X-Api-Key", ""}, {"x-api-key", "b"}}));
  CHECK(is_ambiguous({{"X-Api-Key", "a"}, {"X_Api_Key", "b"}}));
  CHECK(is_ambiguous({{"x_api_key", "b"}}));
  CHECK(is_ambiguous({{"authorization", "Bearer a"}, {"AUTHORIZATION", "Basic b"}}));
  CHECK_FALSE(is_ambiguous({{"X-Other", "a"}, {"X-Other", "b"}}));
}

TEST_CASE("a field that Connection names tells nobody, and matters where it would have told") {
  // "Connection: close, cookie" beside a good key was refused, although the cookie told nobody.
  const Identities who(
      {{Kind::header, "X-Api-Key"}, {Kind::bearer, ""}, {Kind::cookie, "session"}});
  const proxy::wire::Field key_field{"X-Api-Key", "k"}, token{"Authorization", "Bearer t"},
      cookie{"Cookie", "session=1"};
  const auto is_ambiguous = [&](std::vector<proxy::wire::Field> fields, std::string_view named) {
    fields.push_back({"Connection", named});
    return who.identify({.fields = std::move(fields)}).is_ambiguous;
  };
  CHECK_FALSE(is_ambiguous({key_field, cookie}, "close, cookie"));
  CHECK_FALSE(is_ambiguous({key_field, token, cookie}, "authorization, cookie"));
  CHECK(is_ambiguous({key_field, cookie}, "X-Api-Key"));
  CHECK(is_ambiguous({token, cookie}, "close, Authorization"));
  CHECK(is_ambiguous({cookie}, "cookie"));
  // What tells nothing is passed over, as ever.
  CHECK_FALSE(is_ambiguous({{"X-Api-Key", ""}, token}, "x-api-key"));
  CHECK_FALSE(is_ambiguous({{"Cookie", "other=1"}}, "cookie"));
  CHECK_FALSE(is_ambiguous({}, "x-api-key, cookie"));
  CHECK(who.of({.fields = {key_field, cookie, {"Connection", "cookie"}}}) ==
        who.of({.fields = {key_field}}));
}

TEST_CASE("a request may say that it is a retry") {
  const Identities who({{Kind::address, ""}});
  CHECK(who.attempt({.fields = {{"X-Retry-Count", "1"}}}).is_retry);
  CHECK(who.attempt({.fields = {{"x-envoy-attempt-count", "2"}}}).is_retry);
  CHECK(who.attempt({.fields = {{"x-retry-count", std::string(40, '9')}}}).is_retry);
  CHECK(who.attempt({.fields = {{"X-Stainless-Retry-Count", "1"}}}).is_retry);
  CHECK_FALSE(who.attempt({.fields = {{"X-Stainless-Retry-Count", "0"}}}).is_retry);
  for (const char* yes :
       {"attempt=2; max=3", "attempt=2", "ttl=1; attempt=3; max=3", "max=3;attempt=2"})
    CHECK(who.attempt({.fields = {{"amz-sdk-request", yes}}}).is_retry);
  for (const char* no : {"attempt=1; max=3", "max=3", "attempt=", "noattempt=2", ""})
    CHECK_FALSE(who.attempt({.fields = {{"amz-sdk-request", no}}}).is_retry);
  for (const char* no : {"0", "", "-1", "one", " 1", "1e3"})
    CHECK_FALSE(who.attempt({.fields = {{"x-retry-count", no}}}).is_retry);
  CHECK_FALSE(who.attempt({.fields = {{"x-envoy-attempt-count", "1"}}}).is_retry);
  CHECK(who.attempt({.fields = {{"Grpc-Previous-Rpc-Attempts", "1"}}}).is_retry);
  CHECK_FALSE(who.attempt({.fields = {{"grpc-previous-rpc-attempts", "0"}}}).is_retry);
}

TEST_CASE("an attempt has the name that its client gave it, for this client and path") {
  const Identities who({{Kind::address, ""}});
  const Request request{.fields = {{"Idempotency-Key", "r1"}}};
  CHECK(who.attempt({}).key == 0);
  CHECK(who.attempt(request).key != 0);
  CHECK(who.attempt(request).key == who.attempt(request).key);
  CHECK(who.attempt(request, 2).key != who.attempt(request, 1).key);
  CHECK(who.attempt(request, 1, "/b").key != who.attempt(request, 1, "/a").key);
  CHECK(who.attempt({.fields = {{"X-Request-Id", "r1"}, {"Idempotency-Key", "k"}}}).key ==
        who.attempt({.fields = {{"Idempotency-Key", "k"}, {"X-Request-Id", "r2"}}}).key);
  // Which of two the service takes nobody knows.
  for (const char* other : {"r1", "r2", ""})
    CHECK(who.attempt({.fields = {{"Idempotency-Key", "r1"}, {"idempotency-key", other}}}).key ==
          0);
  CHECK(who.attempt({.fields = {{"X-Request-Id", "r1"}}}).key == 0);  // of a trace, not of a call
}

// In one part, and byte by byte.
std::uint64_t items_of(std::string_view text) {
  JsonItemCount whole, bytes;
  whole.read(text);
  for (std::size_t i = 0; i < text.size(); ++i) bytes.read(text.substr(i, 1));
  CHECK(whole.items() == bytes.items());
  return whole.items();
}

TEST_CASE("the items of a JSON array are counted") {
  CHECK(items_of("[1,2,3]") == 3);
  CHECK(items_of(R"([ ])") == 0);
  CHECK(items_of(R"([""])") == 1);
  CHECK(items_of(R"([[1,2],[3,4],{"a":[5,6]}])") == 3);
  CHECK(items_of(R"({"model":"a,b","items":["x","y, \" ] z"],"more":[1,2,3,4]})") == 4);
  CHECK(items_of(R"({"text":"no array"})") == 0);
  CHECK(items_of(R"({"a":{"b":[1,2]},"c":[1]})") == 2);
  CHECK(items_of(R"([1,2,3,)") == 4);
  CHECK(items_of("") == 0);
  CHECK(items_of("]]]]") == 0);
  CHECK(items_of(std::string(100'000, '[')) == 1);
  CHECK(items_of("[" + std::string(100'000, ',')) == 100'001);
  CHECK(items_of(R"(["\)") == 1);
}

TEST_CASE("nobody lowers the count of items by how the text is written") {
  const std::string three = R"("texts":["a","b","c"])";
  CHECK(items_of(R"({"_":[],)" + three + "}") == 3);
  CHECK(items_of(R"({"_":[0],)" + three + "}") == 3);
  CHECK(items_of("{" + three + R"(,"texts":[1]})") == 3);
  CHECK(items_of(R"({"texts":[1],)" + three + "}") == 3);
  CHECK(items_of(R"({"a":{"b":[{"c":{)" + three + "}}]}}") == 3);
  CHECK(items_of(std::string(40, '[') + "1,2,3" + std::string(40, ']')) >= 3);
  CHECK(items_of("{}\n{}\n\n{}\n") == 3);
  CHECK(items_of("{\"texts\":[1,2]}\n{" + three + "}") == 5);
  CHECK(items_of("{}{}") == 2);
  CHECK(items_of("1\n2\n\"a\"") == 3);
  CHECK(items_of("\x1e{}\n\x1e[1,2]\n") == 3);
  CHECK(items_of(std::string("[\0\"\0", 4)) > 1'000'000);
}

std::uint64_t items_of(std::string_view text, std::string_view name) {
  JsonItemCount whole(name), bytes(name);
  whole.read(text);
  for (std::size_t i = 0; i < text.size(); ++i) bytes.read(text.substr(i, 1));
  CHECK(whole.items() == bytes.items());
  return whole.items();
}

TEST_CASE("the items of the array that has the name are counted, and of no other") {
  CHECK(items_of(R"({"texts":["a","b","c"],"tags":[1,2,3,4]})", "texts") == 3);
  CHECK(items_of(R"({"tags":[1,2,3,4],"texts" : ["a" , "b"] })", "texts") == 2);
  CHECK(items_of(R"({"tags":["texts",2,3,4]})", "texts") == 0);
  CHECK(items_of(R"({"texts":"a,b","more":[1,2]})", "texts") == 0);
  CHECK(items_of(R"({"texts":[],"more":[1,2]})", "texts") == 0);
  CHECK(items_of(R"({"texts":[[1,2],[3,4],{"a":[5,6,7]}]})", "texts") == 3);
  // Several of one item each, deeper than is kept apart.
  std::string deep = R"({"texts":[1]})";
  for (int i = 0; i < 17; ++i) deep = R"({"a":)" + deep + "}";
  CHECK(items_of("[" + deep + "," + deep + "," + deep + "]", "texts") >= 3);
  CHECK(items_of(R"(["texts",1,2])", "texts") == 0);
  CHECK(items_of(R"({"text":[1,2],"textss":[1,2],"":[1,2]})", "texts") == 0);
  // Nobody hides it.
  CHECK(items_of(R"({"texts":[],"texts":[1,2,3]})", "texts") == 3);
  CHECK(items_of(R"({"texts":[1,2,3],"texts":[]})", "texts") == 3);
  CHECK(items_of(R"({"TEXTS":[1,2,3]})", "texts") == 3);
  CHECK(items_of(R"({"\u0074exts":[1,2,3]})", "texts") == 3);
  CHECK(items_of("{\"text\xc5\xbf\":[1,2,3]}", "texts") == 3);  // U+017F folds to s
  CHECK(items_of(R"({"a":{"b":[{"texts":[1,2]},{"texts":[3]}]}})", "texts") == 3);
  CHECK(items_of("{\"texts\":[1,2]}\n{\"texts\":[1]}\n{}", "texts") == 4);
  CHECK(items_of(std::string(40, '[') + R"({"texts":[1,2,3]})", "texts") >= 3);
  CHECK(items_of(std::string("{\0\"\0", 4), "texts") > 1'000'000);
}

// Random JSON, and how many items its largest array has: told by who wrote it.
class RandomJson {
 public:
  explicit RandomJson(unsigned seed) : random_(seed) {}
  std::string text;
  std::uint64_t largest = 0;
  void value(int depth) {
    const auto kind = random_() % (depth > 25 ? 3 : 6);
    if (kind == 0) text += std::to_string(random_());
    if (kind == 1) string();
    if (kind == 2) text += random_() % 2 ? "null" : "-1.5e3";
    if (kind >= 3) group(kind < 5, depth);
  }

 private:
  void string() {
    text += '"';
    for (auto size = random_() % 6; size > 0; --size)
      text += std::array{"a", "\\\"", "\\\\", "[", "]", "{", "}", ",", "\\u0022"}[random_() % 9];
    text += '"';
  }
  void group(bool is_array, int depth) {
    const auto size = random_() % 5;
    text += is_array ? '[' : '{';
    for (std::uint64_t i = 0; i < size; ++i) {
      if (i > 0) text += random_() % 2 ? "," : " ,\n";
      if (!is_array) string(), text += ": ";
      value(depth + 1);
    }
    text += is_array ? ']' : '}';
    if (is_array) largest = std::max<std::uint64_t>(largest, size);
  }
  std::mt19937 random_;
};

TEST_CASE("of random JSON no fewer items are counted than its largest array has") {
  for (unsigned seed = 0; seed < 3000; ++seed) {
    CAPTURE(seed);
    RandomJson json(seed);
    json.value(0);
    CAPTURE(json.text);
    CHECK(items_of(json.text) >= json.largest);
    if (json.text.find('[') == std::string::npos) CHECK(items_of(json.text) == 0);
  }
}

}  // namespace
}  // namespace classgate::gateway
