#include <doctest/doctest.h>

#include "gateway/trusted_proxies.h"
#include "proxy/wire/parser.h"
#include "tests/gateway/kit.h"

namespace classgate::gateway::test {
namespace {

std::vector<conf::Network> networks(std::initializer_list<std::string_view> texts) {
  std::vector<conf::Network> all;
  for (const std::string_view text : texts) all.push_back(*conf::parse_network(text));
  return all;
}

conf::IpAddress ip(std::string_view text) { return *conf::IpAddress::parse(text); }

// Whom a request from 10.0.0.1 with these fields comes from, when 10.0.0.0/8 is trusted.
std::string real_client(const std::string& fields) {
  const proxy::wire::HeadLimits limits{32768, 100, 8192};
  proxy::wire::Parser parser;
  parser.begin(proxy::wire::Parser::Kind::request, limits);
  const std::string text = "GET / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
  REQUIRE(parser.parse_head(text) == proxy::wire::Parser::Progress::done);
  return TrustedProxies(networks({"10.0.0.0/8"})).real_client(parser.head(), ip("10.0.0.1")).text();
}

TEST_CASE("the longest prefix that holds an address decides whether it is trusted") {
  const TrustedProxies some(networks({"10.0.0.0/8", "!10.1.0.0/16", "10.1.2.0/24", "2001:db8::1"}));
  CHECK(some.include(ip("10.0.0.1")));
  CHECK_FALSE(some.include(ip("10.1.0.1")));
  CHECK(some.include(ip("10.1.2.1")));
  CHECK(some.include(ip("2001:db8::1")));
  CHECK_FALSE(some.include(ip("2001:db8::2")));
  CHECK_FALSE(some.include(ip("192.0.2.1")));
  CHECK_FALSE(TrustedProxies({}).include(ip("127.0.0.1")));
  const TrustedProxies all_v6(networks({"::/0"}));
  CHECK(all_v6.include(ip("2001:db8::1")));
  CHECK_FALSE(all_v6.include(ip("10.0.0.1")));
  CHECK_FALSE(all_v6.include(ip("unix:")));
}

TEST_CASE("the client is the last address that is not one of the proxies'") {
  CHECK(real_client("") == "10.0.0.1");
  CHECK(real_client("X-Forwarded-For: 192.0.2.7\r\n") == "192.0.2.7");
  CHECK(real_client("X-Forwarded-For: 1.1.1.1, 192.0.2.7, 10.0.0.9\r\n") == "192.0.2.7");
  CHECK(real_client("X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 192.0.2.7 , 10.0.0.9,\r\n") ==
        "192.0.2.7");
  CHECK(real_client("X-Forwarded-For: 10.0.0.3, 10.0.0.2\r\n") == "10.0.0.3");
  CHECK(real_client("X-Forwarded-For: 192.0.2.7:4711\r\n") == "192.0.2.7");
  CHECK(real_client("X-Forwarded-For: [2001:db8::7]:80\r\n") == "2001:db8::7");
  CHECK(real_client("X-Forwarded-For: 2001:db8::7\r\n") == "2001:db8::7");
  CHECK(real_client("X-Forwarded-For: 192.0.2.7, ::\r\n") == "10.0.0.1");
  CHECK(real_client("X-Forwarded-For: unix:\r\n") == "10.0.0.1");
  // Behind what cannot be read stands hearsay.
  CHECK(real_client("X-Forwarded-For: 192.0.2.7, unknown, 10.0.0.9\r\n") == "10.0.0.9");
  CHECK(real_client("X-Forwarded-For: unknown\r\n") == "10.0.0.1");
}

TEST_CASE("Forwarded names the client where X-Forwarded-For does not") {
  CHECK(real_client("Forwarded: for=192.0.2.7\r\n") == "192.0.2.7");
  CHECK(real_client("Forwarded: proto=https;For=\"[2001:db8::7]:4711\";by=_x\r\n") ==
        "2001:db8::7");
  CHECK(real_client("Forwarded: for=1.1.1.1, for=192.0.2.7;proto=http, for=10.0.0.9\r\n") ==
        "192.0.2.7");
  CHECK(real_client("Forwarded: for=192.0.2.7, for=_hidden\r\n") == "10.0.0.1");
  CHECK(real_client("Forwarded: for=192.0.2.7\r\nX-Forwarded-For: 192.0.2.8\r\n") == "192.0.2.8");
}

conf::Settings trusting(std::uint16_t upstream_port) {
  auto settings = settings_for(upstream_port);
  settings.client.trusted_proxies = networks({"127.0.0.1"});
  return settings;
}

TEST_CASE("a stranger's word about its client is replaced, a trusted proxy's goes on") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  const std::string request = get("/x",
                                  "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n"
                                  "X-Request-Id: mine-7\r\nForwarded: for=203.0.113.9\r\n");
  Gateway strict(settings_for(upstream.port()));
  CHECK(Client(strict).ask(request).field("X-Request-Id").size() == 32);
  Gateway trusts(trusting(upstream.port()));
  Client proxy(trusts);
  CHECK(proxy.ask(request).field("X-Request-Id") == "mine-7");
  CHECK(proxy.ask(get("/x", "X-Request-Id: not <ours>\r\n")).field("X-Request-Id").size() == 32);
  const auto seen = upstream.requests();
  REQUIRE(seen.size() == 3);
  CHECK(seen[0].field("X-Forwarded-For") == "127.0.0.1");
  CHECK(seen[0].field("X-Forwarded-Proto") == "http");
  CHECK(seen[0].field("Forwarded") == "");
  CHECK(seen[0].field("X-Request-Id") != "mine-7");
  CHECK(seen[1].field("X-Forwarded-For") == "203.0.113.9, 127.0.0.1");
  CHECK(seen[1].field("X-Forwarded-Proto") == "https");
  CHECK(seen[1].field("Forwarded") == "for=203.0.113.9, for=127.0.0.1;proto=http;host=\"test\"");
  CHECK(seen[1].field("X-Request-Id") == "mine-7");
}

TEST_CASE("fields that the operator names go on from trusted proxies only") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  const std::string said =
      "X-Tenant: one\r\nX-Kept: a\r\nx-tenant: two\r\nX_Tenant: three\r\nX-User: four\r\n"
      "X-Kept: b\r\n";
  auto settings = settings_for(upstream.port());
  settings.client.strip = {"X-Tenant", "X-User"};
  Gateway strict(settings);
  CHECK(Client(strict).ask(get("/x", said)).status() == 200);
  CHECK(
      Client(strict).ask(post_chunked("/x", {"a"}, "X-Tenant: five\r\nX-Sum: six\r\n")).status() ==
      200);
  settings.client.trusted_proxies = networks({"127.0.0.1"});
  Gateway trusts(settings);
  CHECK(Client(trusts).ask(get("/x", said)).status() == 200);
  const auto seen = upstream.requests();
  REQUIRE(seen.size() == 3);
  for (const char* name : {"X-Tenant", "X_Tenant", "X-User"}) CHECK_FALSE(seen[0].has(name));
  CHECK(seen[0].field("X-Kept") == "a, b");
  REQUIRE(seen[1].trailers.size() == 1);
  CHECK(seen[1].trailers[0].first == "X-Sum");
  CHECK(seen[2].field("X-Tenant") == "one, two");
  CHECK(seen[2].field("X-User") == "four");
  CHECK_FALSE(seen[2].has("X_Tenant"));
}

TEST_CASE("a field that names its client, or says its cost, is no trailer") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_for(upstream.port());
  settings.admission.fairness.is_on = true;
  settings.admission.fairness.identity = {{conf::IdentitySource::Kind::header, "X-Api-Key"}};
  settings.routes = {{"/x", false, 3, true}};
  settings.routes[0].identity = {{conf::IdentitySource::Kind::header, "X-Person"}};
  settings.routes[0].cost = {conf::CostSettings::Kind::header, 1, "X-Cost", {}};
  Gateway gateway(settings);
  const std::string trailers =
      "X-Api-Key: other\r\nx_api_key: other\r\nX-Person: other\r\nX-Cost: 1\r\nX-Sum: 6\r\n";
  CHECK(Client(gateway).ask(post_chunked("/y", {"a"}, trailers)).status() == 200);
  const auto seen = upstream.requests();
  REQUIRE(seen.size() == 1);
  CHECK(seen[0].body == "a");
  REQUIRE(seen[0].trailers.size() == 1);
  CHECK(seen[0].trailers[0] == std::pair<std::string, std::string>{"X-Sum", "6"});
}

TEST_CASE("a reload that trusts nobody any more holds for connections that stand") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(trusting(upstream.port()));
  Client client(gateway);
  CHECK(client.ask(get("/x", "X-Request-Id: mine-7\r\n")).field("X-Request-Id") == "mine-7");
  REQUIRE(gateway.server().reconfigure(settings_for(upstream.port()), {}));
  REQUIRE(every_loop_turns(gateway.server(), 10s));
  CHECK(client.ask(get("/x", "X-Request-Id: mine-7\r\n")).field("X-Request-Id").size() == 32);
}

const std::string v1 = "PROXY TCP4 192.0.2.7 10.0.0.2 56324 443\r\n";
const std::string v2(
    "\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x08\x0a\x00\x00\x01\x00\x01\x00\x01", 28);
const std::string v2_local("\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00", 16);

conf::Settings introduced(std::uint16_t upstream_port) {
  auto settings = trusting(upstream_port);
  settings.client.proxy_protocol = true;
  return settings;
}

TEST_CASE("a PROXY header says whom the requests of its connection come from") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(introduced(upstream.port()));
  const std::string request = get("/x", "X-Forwarded-For: 1.1.1.1\r\n");
  for (const std::string& header : {v1, v2, v2_local}) {
    Client client(gateway);
    CHECK(client.ask(header + request).status() == 200);
    CHECK(client.ask(request).status() == 200);
  }
  const auto seen = upstream.requests();
  REQUIRE(seen.size() == 6);
  // Whoever is behind the proxy is no proxy of ours: what it claims is dropped.
  CHECK(seen[0].field("X-Forwarded-For") == "192.0.2.7");
  CHECK(seen[1].field("X-Forwarded-For") == "192.0.2.7");
  CHECK(seen[3].field("X-Forwarded-For") == "192.0.2.8");
  // The proxy speaks for itself, and is believed.
  CHECK(seen[5].field("X-Forwarded-For") == "1.1.1.1, 127.0.0.1");
}

TEST_CASE("a PROXY header may come in pieces, however small") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(introduced(upstream.port()));
  for (const std::string& header : {v1, v2}) {
    Client client(gateway);
    const std::string all = header + get("/x");
    for (const char byte : all) REQUIRE(client.send({&byte, 1}));
    CHECK(client.read_answer().status() == 200);
  }
}

TEST_CASE("a trusted proxy that says nothing of its client is not served") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(introduced(upstream.port()));
  Client silent(gateway), cut(gateway);
  silent.send(get("/x"));
  CHECK(silent.is_closed());
  cut.socket.send_and_end(v1.substr(0, 20));
  CHECK(cut.is_closed());
  CHECK(upstream.request_count() == 0);
  CHECK(gateway.settles_at({}));
}

TEST_CASE("a stranger's PROXY header is no request, and nothing else") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = introduced(upstream.port());
  settings.client.trusted_proxies = networks({"192.0.2.1"});
  Gateway gateway(settings);
  Client text(gateway), bytes(gateway), plain(gateway);
  CHECK(text.ask(v1 + get("/x")).status() >= 400);
  CHECK(bytes.ask(v2 + get("/x")).status() == 400);
  CHECK(plain.ask(get("/x")).status() == 200);
  CHECK(upstream.request_count() == 1);
}

TEST_CASE("a proxy that begins and does not go on is sent away in time") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = introduced(upstream.port());
  settings.client.header_timeout = 50ms;
  Gateway gateway(settings);
  Client slow(gateway);
  slow.send(v1.substr(0, 20));
  CHECK(slow.is_closed());
}

}  // namespace
}  // namespace classgate::gateway::test
