#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "conf/format.h"
#include "gateway/clients/client_identity.h"

namespace classgate::gateway {
namespace {

using conf::UnknownClients;
using Kind = conf::IdentitySource::Kind;

struct KeyedRequest {
  std::vector<proxy::wire::Field> fields = {};
  std::string address = "192.0.2.1";
  std::string subject = {};
  std::string target = "/";
  std::string san = {};
  std::string key = {};  // in X-Api-Key; empty: without
};

KeyedRequest with_key(const std::string& key, const std::string& address = "192.0.2.1") {
  return {.address = address, .key = key};
}

// Clients of a file, and plans, under one conf.
class World {
 public:
  explicit World(UnknownClients unknown, const std::string& file = {}) {
    settings.admission.fairness.is_on = true;
    settings.admission.fairness.identity = {{Kind::header, "X-Api-Key"}, {Kind::tls}};
    settings.clients.unknown = unknown;
    for (const char* name : {"gold", "silver"})
      settings.admission.fairness.plans.push_back({.name = name, .clients = {}});
    auto known = conf::read_known_clients(file);
    REQUIRE(known);
    settings.clients.known = std::make_shared<const conf::KnownClients>(std::move(*known));
  }
  ClientIdentities::Identity who(const KeyedRequest& request, std::string_view route = "*") {
    if (!identities_)
      identities_ = std::make_unique<const ClientIdentities>(settings, admission::Ids(settings),
                                                             HashKey{1, 2});
    proxy::wire::Head head;
    head.fields = request.fields;
    if (!request.key.empty()) head.fields.push_back({"X-Api-Key", request.key});
    head.target = request.target;
    return identities_->of({.head = head,
                            .address = *conf::IpAddress::parse(request.address),
                            .tls_subject = request.subject,
                            .tls_san = request.san},
                           admission::Ids(settings).route(route));
  }
  std::string plan_of(const KeyedRequest& request) {
    return std::string(admission::Ids(settings).name_of(who(request).plan));
  }
  conf::Settings settings;

 private:
  std::unique_ptr<const ClientIdentities> identities_;
};

std::string hash_of(std::string_view key) {
  return fmt::format("key=sha256:{}", conf::hex_of(conf::sha256(key)));
}

TEST_CASE("a known client is one client with all its keys, wherever it comes from") {
  World world(UnknownClients::address,
              "acme plan=gold " + hash_of("a") + ' ' + hash_of("b") + "\nother " + hash_of("c"));
  const auto acme = world.who(with_key("a"));
  CHECK(acme.is_known);
  REQUIRE(acme.client != nullptr);
  CHECK(acme.client->name == "acme");
  CHECK(world.plan_of(with_key("b")) == "gold");
  CHECK(world.who(with_key("b", "198.51.100.9")).id == acme.id);
  CHECK(world.who(with_key("c")).id != acme.id);
  CHECK(world.plan_of(with_key("c")).empty());
  CHECK(world.who(with_key("a")).id == acme.id);  // again, by what was learnt
}

TEST_CASE("whatever keys somebody invents, it is its address, or one with all others, or nobody") {
  const std::string file = "acme plan=gold " + hash_of("a");
  World by_address(UnknownClients::address, file), shared(UnknownClients::shared, file),
      refused(UnknownClients::refuse, file), own(UnknownClients::own, file);
  std::set<std::uint64_t> addresses, all, names;
  for (int i = 0; i < 1'000; ++i) {
    const KeyedRequest request =
        with_key("invented-" + std::to_string(i), i % 2 ? "192.0.2.1" : "192.0.2.2");
    addresses.insert(by_address.who(request).id);
    all.insert(shared.who(request).id);
    names.insert(own.who(request).id);
    CHECK_FALSE(by_address.who(request).is_known);
    CHECK(by_address.who(request).source == nullptr);
    CHECK(refused.who(request).is_refused);
    CHECK(refused.who(request).id == 0);
  }
  CHECK(addresses.size() == 2);
  CHECK(addresses.contains(by_address.who({}).id));  // as it would be without a key
  CHECK(all.size() == 1);
  CHECK(all.contains(shared.who({.address = "198.51.100.1"}).id));
  CHECK(names.size() == 1'000);
  for (World* world : {&by_address, &shared, &refused, &own})
    CHECK(world->who(with_key("a")).client != nullptr);
}

TEST_CASE("the route tells who a client is, else the listener, else everybody's identity") {
  using Sources = std::vector<conf::IdentitySource>;
  conf::Settings settings;
  settings.admission.fairness.is_on = true;
  settings.admission.fairness.identity = {{Kind::header, "X-Api-Key"}};
  settings.clients.unknown = UnknownClients::own;
  settings.listeners = {
      {.address = "127.0.0.1:1", .port = 1, .identity = {{{Kind::bearer}}}, .origin = {}},
      {.address = "unix:/x", .identity = Sources(), .origin = {}}};
  settings.routes.push_back({.path = "/own", .identity = {{{Kind::cookie, "c"}}}});
  const admission::Ids ids(settings);
  const ClientIdentities clients(settings, ids, HashKey{1, 2});
  proxy::wire::Head head;
  head.target = "/";
  head.fields = {{"X-Api-Key", "a"}, {"Authorization", "Bearer b"}, {"Cookie", "c=d"}};
  const auto source = [&](const ClientIdentities::Listener* listener, std::string_view route) {
    const auto identity = clients.of({.head = head,
                                      .address = *conf::IpAddress::parse("192.0.2.1"),
                                      .tls_subject = {},
                                      .listener = listener},
                                     ids.route(route));
    return identity.source == nullptr ? std::string() : conf::word_of(*identity.source);
  };
  const ClientIdentities::Listener own{"127.0.0.1:1", 1}, other{"127.0.0.1:2", 2},
      unix{"unix:/x", 0}, given{"", 1}, given_other{"", 3};
  CHECK(source(nullptr, "*") == "header:X-Api-Key");
  CHECK(source(&other, "*") == "header:X-Api-Key");
  CHECK(source(&own, "*") == "bearer");
  CHECK(source(&given, "*") == "bearer");
  CHECK(source(&given_other, "*") == "header:X-Api-Key");
  CHECK(source(&unix, "*").empty());
  CHECK(source(&own, "/own") == "cookie:c");
  CHECK(source(nullptr, "/own") == "cookie:c");
}

TEST_CASE("a certificate's alternative name is another name than its subject") {
  World world(UnknownClients::refuse);
  world.settings.admission.fairness.identity = {{Kind::tls}, {Kind::tls_san}};
  world.settings.admission.fairness.plans[0].clients = {"tls:san:a.example"};
  world.settings.admission.fairness.plans[1].clients = {"tls:a.example"};
  CHECK(world.plan_of({.san = "a.example"}) == "gold");
  CHECK(world.plan_of({.subject = "a.example"}) == "silver");
  CHECK(world.plan_of({.subject = "CN=b", .san = "a.example"}).empty());  // the first tells
  CHECK(world.who({.san = "b.example"}).is_known);
  CHECK(world.plan_of({.san = "A.Example"}) == "gold");
  CHECK(world.who({.san = "A.Example"}).id == world.who({.san = "a.example"}).id);
  CHECK(world.who({.san = "spiffe://x/A"}).id != world.who({.san = "spiffe://x/a"}).id);
  CHECK(world.who({.san = "A@example"}).id != world.who({.san = "a@example"}).id);
  CHECK(world.who({.san = "b.example"}).id != world.who({.subject = "b.example"}).id);
  CHECK(world.who({}).is_refused);
}

TEST_CASE("known is also who has a verified certificate, or comes from a plan's network") {
  World world(UnknownClients::refuse);
  auto& plans = world.settings.admission.fairness.plans;
  plans[0].clients = {"tls:CN=a", "address:10.0.0.0/8", "address:2001:db8::/32"};
  plans[1].clients = {"address:11.1.2.3", "header:X-Api-Key:silver's"};
  CHECK(world.plan_of({.subject = "CN=a"}) == "gold");
  CHECK(world.who({.subject = "CN=b"}).is_known);
  CHECK(world.plan_of({.address = "10.255.255.255"}) == "gold");
  CHECK(world.plan_of({.address = "10.0.0.0"}) == "gold");
  CHECK(world.who({.address = "10.0.0.1"}).id != world.who({.address = "10.0.0.2"}).id);
  CHECK(world.plan_of({.address = "2001:db8:ffff::1"}) == "gold");
  CHECK(world.plan_of({.address = "11.1.2.3"}) == "silver");
  CHECK(world.plan_of(with_key("silver's")) == "silver");
  CHECK(world.who(with_key("silver's")).is_known);
  CHECK(world.plan_of(with_key("invented", "10.1.1.1")) == "gold");  // its address is its name
  for (const char* address : {"9.255.255.255", "11.0.0.0", "11.1.2.2", "11.1.2.4", "2001:db9::"})
    CHECK(world.who({.address = address}).is_refused);
}

TEST_CASE("who is nobody anywhere is refused nowhere") {
  World world(UnknownClients::refuse);
  world.settings.routes[0].identity = std::vector<conf::IdentitySource>{};
  CHECK_FALSE(world.who({}, "/health").is_refused);
  CHECK(world.who({}, "/status").is_refused);
}

TEST_CASE("a key that does not hold yet, or any more, is an unknown one") {
  World world(UnknownClients::address, "early not_before=2999-01-01 " + hash_of("e") +
                                           "\nlate not_after=2001-01-01 " + hash_of("l") +
                                           "\nnow not_before=2001-01-01 not_after=2999-01-01 " +
                                           hash_of("n"));
  CHECK_FALSE(world.who(with_key("e")).is_known);
  CHECK_FALSE(world.who(with_key("l")).is_known);
  CHECK(world.who(with_key("l")).id == world.who({}).id);
  CHECK(world.who(with_key("n")).is_known);
  // Operators are told whose it is.
  REQUIRE(world.who(with_key("l")).not_valid != nullptr);
  CHECK(world.who(with_key("l")).not_valid->name == "late");
  CHECK(world.who(with_key("l")).client == nullptr);
  CHECK(world.who(with_key("n")).not_valid == nullptr);
  CHECK(world.who(with_key("invented")).not_valid == nullptr);
}

TEST_CASE("a plan's key may stand as its hash, and counts only where the plan says") {
  World world(UnknownClients::address);
  auto& plans = world.settings.admission.fairness.plans;
  world.settings.admission.fairness.identity = {{Kind::header, "X-Api-Key"}, {Kind::bearer}};
  plans[0].clients = {"bearer:sha256:" + conf::hex_of(conf::sha256("k"))};
  plans[1].clients = {"header:x-api-key:k"};
  CHECK(world.plan_of(with_key("k")) == "silver");
  CHECK(world.plan_of({.fields = {{"Authorization", "Bearer k"}}}) == "gold");
  CHECK(world.who(with_key("sha256:" + conf::hex_of(conf::sha256("k")))).is_known == false);
}

TEST_CASE("an address is as many bits as identity says, on a route as that says") {
  World world(UnknownClients::own);
  world.settings.admission.fairness.identity = {
      {.kind = Kind::address, .v4_prefix = 24, .v6_prefix = 48}};
  world.settings.routes[0].identity = std::vector<conf::IdentitySource>{{Kind::address}};
  const auto id = [&](const char* address, const char* route = "*") {
    return world.who({.address = address}, route).id;
  };
  CHECK(id("192.0.2.1") == id("192.0.2.255"));
  CHECK(id("192.0.2.1") != id("192.0.3.1"));
  CHECK(id("2001:db8:1:2::1") == id("2001:db8:1:ffff::1"));
  CHECK(id("2001:db8:1::1") != id("2001:db8:2::1"));
  CHECK(id("192.0.2.1", "/health") != id("192.0.2.255", "/health"));
}

TEST_CASE("who has none of a route's names is known by the bits of everybody's address") {
  World world(UnknownClients::own);
  world.settings.admission.fairness.identity = {
      {.kind = Kind::address, .v4_prefix = 24, .v6_prefix = 48}};
  world.settings.routes[0].identity = std::vector<conf::IdentitySource>{{Kind::header, "X-K"}};
  CHECK(world.who({.address = "192.0.2.1"}, "/health").id ==
        world.who({.address = "192.0.2.255"}, "*").id);
}

TEST_CASE("cookies, parameters and users of Basic name a client, each apart from the others") {
  World world(UnknownClients::own, "acme " + hash_of("alice"));
  world.settings.admission.fairness.identity = {
      {Kind::cookie, "sid"}, {Kind::query, "key"}, {Kind::basic}};
  const KeyedRequest cookie{.fields = {{"Cookie", "sid=bob"}}}, query{.target = "/?key=bob"},
      basic{.fields = {{"Authorization", "Basic Ym9iOg=="}}};  // bob:
  CHECK(world.who(cookie).id != world.who(query).id);
  CHECK(world.who(query).id != world.who(basic).id);
  CHECK(world.who(basic).id != world.who(cookie).id);
  CHECK(world.who({.fields = {{"Cookie", "sid=alice"}}}).is_known);
  CHECK(world.who({.target = "/?key=%61lice"}).is_known);
  CHECK(world.who({.fields = {{"Authorization", "Basic YWxpY2U6eA=="}}}).is_known);
  CHECK(world.who({.target = "/?key=a&key=b"}).is_ambiguous);
}

TEST_CASE("who is named and has a quota is told from whoever is in a plan's network") {
  World world(UnknownClients::address,
              "acme plan=gold " + hash_of("a") + "\nother plan=silver " + hash_of("b"));
  auto& plans = world.settings.admission.fairness.plans;
  plans[0].quota.day = 10;
  plans[0].clients = {"header:X-Api-Key:c", "tls:CN=d", "address:198.51.100.0/24"};
  plans[1].clients = {"address:203.0.113.0/24", "tls:CN=e"};
  const auto names = quota_names_of(world.settings, HashKey{1, 2});
  CHECK(names->keys == 1);
  CHECK(names->ids.size() == 2);
  CHECK(names->has(world.who(with_key("a")).id));
  CHECK(names->has(world.who({.subject = "CN=d"}).id));
  CHECK_FALSE(names->has(world.who(with_key("b")).id));  // its plan has none
  CHECK_FALSE(names->has(world.who({.subject = "CN=e"}).id));
  for (const KeyedRequest& request :
       {with_key("a", "198.51.100.1"), with_key("c"), KeyedRequest{.subject = "CN=d"}}) {
    CHECK(world.who(request).is_known);
    CHECK_FALSE(world.who(request).is_of_network);
  }
  for (const char* const address : {"198.51.100.1", "203.0.113.7"}) {
    const auto host = world.who(with_key("invented", address));
    CHECK(host.is_known);
    CHECK(host.is_of_network);
    CHECK_FALSE(names->has(host.id));
  }
  CHECK_FALSE(world.who({}).is_of_network);
}

}  // namespace
}  // namespace classgate::gateway
