#include <doctest/doctest.h>

#include <list>

#include "tests/gateway/kit.h"

// New settings while requests flow (Server::reconfigure), and a drain with a successor.

namespace classgate::gateway::test {
namespace {

using conf::Reason;

void every_loop_hears(Gateway& gateway) { REQUIRE(gateway.server().every_loop_turns(10s)); }

void reconfigure(Gateway& gateway, const conf::Settings& settings) {
  const auto result = gateway.server().reconfigure(settings, {});
  REQUIRE_MESSAGE(result.has_value(), result.error());
  every_loop_hears(gateway);
}

bool can_connect(std::uint16_t port) {
  try {
    Socket::connect(port);
    return true;
  } catch (const std::runtime_error&) {
    return false;
  }
}

TEST_CASE("fewer workers and a smaller queue drop nobody; more workers let waiters in at once") {
  FakeUpstream upstream(FakeUpstream::held());
  auto settings = settings_for(upstream.port());
  settings.admission.workers = 2;
  Gateway gateway(settings);
  std::list<Client> clients;
  for (int i = 0; i < 4; ++i) clients.emplace_back(gateway).send(post("/v1/classify", "x"));
  REQUIRE(gateway.comes_to_run(2));
  REQUIRE(gateway.comes_to_wait(2));

  settings.admission.workers = 1;
  settings.admission.queue_size = 0;
  reconfigure(gateway, settings);
  CHECK(gateway.snapshot().active_workers == 2);
  CHECK(gateway.snapshot().waiting == 2);
  Client late(gateway);
  CHECK(late.ask(post("/v1/classify", "x")).reason() == "queue_full");

  settings.admission.workers = 3;
  reconfigure(gateway, settings);
  CHECK(gateway.comes_to_run(3));
  CHECK(gateway.comes_to_wait(1));
  upstream.release(4);
  for (Client& client : clients) CHECK(client.read_answer().status() == 200);
  CHECK(gateway.settles_at({.processed = 4, .rejected = 1}));
}

TEST_CASE("who waits keeps the deadline it came with; who comes later gets the new one") {
  FakeUpstream upstream(FakeUpstream::held());
  auto settings = settings_for(upstream.port());
  settings.admission.workers = 1;
  Gateway gateway(settings);
  Client in_flight(gateway), waits(gateway), comes_later(gateway);
  in_flight.send(get("/in-flight"));
  REQUIRE(gateway.comes_to_run(1));
  waits.send(get("/waits"));
  REQUIRE(gateway.comes_to_wait(1));

  settings.admission.request_timeout = settings.admission.queue_timeout = 30ms;
  reconfigure(gateway, settings);
  CHECK(comes_later.ask(get("/later")).reason() == "queue_timeout");
  CHECK(gateway.snapshot().waiting == 1);
  upstream.release(2);
  CHECK(in_flight.read_answer().status() == 200);
  CHECK(waits.read_answer().status() == 200);
}

TEST_CASE("routes, statuses and limits of requests are the new ones for the next request") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_for(upstream.port());
  Gateway gateway(settings);
  Client client(gateway);
  CHECK(client.ask(post("/v1/classify", "12345")).status() == 200);
  settings.client.body_bytes = {4};
  settings.statuses[conf::index_of(Reason::body_too_large)] = 499;
  settings.routes = {{"/v1/", true, 2, true}};
  reconfigure(gateway, settings);
  CHECK(client.ask(post("/v1/classify", "12345")).status() == 499);
  Client second(gateway);
  CHECK(second.ask(post("/v1/classify", "1234")).status() == 200);

  // No count is lost: the same path at its old and at its new route. (Counted when the answer is
  // out, so that its reader may be faster.)
  const auto counted = [&] {
    std::vector<std::string> routes;
    for (const auto& station : gateway.server().stations())
      station->numbers().for_each_route([&](const RouteTraffic& route) {
        for (const Counter& ending : route.endings)
          for (std::uint64_t i = 0; i < ending.read(); ++i)
            routes.push_back(route.name + " " + std::to_string(route.priority));
      });
    std::ranges::sort(routes);
    return routes;
  };
  CHECK(await([&] {
    return counted() == std::vector<std::string>{"/v1/* 2", "/v1/* 2", "/v1/classify 3"};
  }));
}

TEST_CASE("other servers: what is in flight ends where it began, the next goes to the new one") {
  FakeUpstream old_one(FakeUpstream::held()), new_one(FakeUpstream::echo_target());
  auto settings = settings_for(old_one.port());
  Gateway gateway(settings);
  Client slow(gateway), next(gateway);
  slow.send(get("/slow"));
  REQUIRE(await([&] { return old_one.holding() == 1; }));

  settings.upstream.servers = settings_for(new_one.port()).upstream.servers;
  reconfigure(gateway, settings);
  CHECK(next.ask(get("/next")).status() == 200);
  CHECK(new_one.targets() == std::vector<std::string>{"/next"});
  old_one.release();
  CHECK(slow.read_answer().status() == 200);
  CHECK(old_one.targets() == std::vector<std::string>{"/slow"});
  // Nothing is kept of the old one.
  CHECK(await([&] { return old_one.open_connections() == 0; }));
  CHECK(gateway.settles_at({.processed = 2}));
}

TEST_CASE("a server that went away before a reload is still looked after by the new settings") {
  std::uint16_t port = 0;
  {
    FakeUpstream gone(FakeUpstream::echo_target());
    port = gone.port();
  }
  auto settings = settings_for(port);
  Gateway gateway(settings);
  Client client(gateway);
  REQUIRE(client.ask(get("/")).status() >= 502);
  settings.upstream.connect_timeout = 1s;  // another pool, the same servers
  reconfigure(gateway, settings);
  const auto& servers = *gateway.server().policy().servers;
  CHECK(servers.state(0) == proxy::Servers::State::unreachable);
  auto back = proxy::net::listen_on({"127.0.0.1", port, "127.0.0.1:" + std::to_string(port)});
  REQUIRE(back.has_value());
  CHECK(await([&] { return servers.state(0) == proxy::Servers::State::reachable; }));
}

TEST_CASE("another listening address: the old one is closed, its connections live on") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_for(upstream.port());
  Gateway gateway(settings);
  const std::uint16_t old_port = gateway.port();
  Client client(gateway);
  REQUIRE(client.ask(get("/before")).status() == 200);
  settings.listen = {{"127.0.0.2", 0, "127.0.0.2:0"}};
  reconfigure(gateway, settings);
  REQUIRE(gateway.server().listen_addresses().size() == 1);
  CHECK(gateway.server().listen_addresses().front().starts_with("127.0.0.2:"));
  CHECK(await([&] { return !can_connect(old_port); }));
  CHECK(client.ask(get("/after")).status() == 200);

  // Back again, to a port that is named: found open the second time.
  const std::string named = "127.0.0.1:" + std::to_string(old_port);
  settings.listen = {{"127.0.0.1", old_port, named}};
  reconfigure(gateway, settings);
  const auto socket = gateway.server().sockets().front();
  reconfigure(gateway, settings);
  CHECK(gateway.server().sockets().front() == socket);
  CHECK(can_connect(old_port));
}

TEST_CASE("a port in use or a name that does not exist changes nothing") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_for(upstream.port());
  Gateway gateway(settings);
  const auto before = gateway.server().listen_addresses();
  auto bad = settings;
  const auto taken = proxy::net::listen_on({"127.0.0.1", 0, "127.0.0.1:0"});
  REQUIRE(taken.has_value());
  bad.admission.workers = 1;
  bad.listen.push_back({"127.0.0.1", taken->local.port(), taken->local.text()});
  const auto result = gateway.server().reconfigure(bad, {});
  REQUIRE_FALSE(result.has_value());
  CHECK(result.error().find("another program has this port") != std::string::npos);
  bad.listen = settings.listen;
  bad.upstream.servers = {{"no-such-host.invalid", 1, "no-such-host.invalid:1"}};
  CHECK_FALSE(gateway.server().reconfigure(bad, {}).has_value());
  CHECK(gateway.server().listen_addresses() == before);
  CHECK(gateway.snapshot().workers == 4);
  Client client(gateway);
  CHECK(client.ask(get("/")).status() == 200);
}

TEST_CASE("a hundred reloads while requests flow lose none") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_for(upstream.port());
  Gateway gateway(settings);
  std::list<Client> clients;
  for (int i = 0; i < 8; ++i) clients.emplace_back(gateway);
  std::uint64_t answered = 0;
  for (int i = 0; i < 100; ++i) {
    for (Client& client : clients) client.send(post("/v1/classify", "x"));
    settings.admission.workers = static_cast<std::uint32_t>(1 + i % 8);
    settings.upstream.idle_timeout = std::chrono::milliseconds(1000 + i);
    settings.client.idle_timeout = std::chrono::milliseconds(5000 + i);
    const auto result = gateway.server().reconfigure(settings, {});
    REQUIRE(result.has_value());
    for (Client& client : clients) answered += client.read_answer().status() == 200 ? 1 : 0;
  }
  CHECK(answered == 800);
  CHECK(gateway.settles_at({.processed = 800}));
}

TEST_CASE("a drain with a successor refuses nobody: each connection may ask once more") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_for(upstream.port());
  Gateway gateway(settings);
  Client kept(gateway), idle(gateway);
  REQUIRE(kept.ask(get("/first")).field("Connection").empty());
  REQUIRE(idle.ask(get("/first")).status() == 200);
  gateway.server().drain({.has_successor = true, .grace = 10s});
  every_loop_hears(gateway);
  const Message last = kept.ask(post("/v1/classify", "x"));
  CHECK(last.status() == 200);
  CHECK(last.field("Connection") == "close");
  CHECK(kept.is_closed());
  CHECK(idle.is_silent());
  CHECK_FALSE(gateway.is_drained());
  CHECK(idle.ask(get("/last")).status() == 200);
  CHECK(await([&] { return gateway.is_drained(); }));
}

TEST_CASE("when the grace is over, connections on which nothing came are closed in order") {
  FakeUpstream upstream(FakeUpstream::held());
  auto settings = settings_for(upstream.port());
  Gateway gateway(settings);
  Client idle(gateway), busy(gateway);
  busy.send(get("/slow"));
  REQUIRE(gateway.comes_to_run(1));
  gateway.server().drain({.has_successor = true, .grace = 20ms});
  CHECK(idle.is_closed());
  CHECK_FALSE(gateway.is_drained());
  upstream.release();
  CHECK(busy.read_answer().status() == 200);
  CHECK(await([&] { return gateway.is_drained(); }));
}

TEST_CASE("operators can see who waits, in the order in which they will go in") {
  FakeUpstream upstream(FakeUpstream::held());
  auto settings = settings_for(upstream.port());
  settings.admission.workers = 1;
  settings.client.trusted_proxies = {*conf::parse_network("127.0.0.1")};
  Gateway gateway(settings);
  CHECK(gateway.server().waiting_requests(10s).empty());
  Client in_flight(gateway), low(gateway), high(gateway), low_too(gateway);
  in_flight.send(get("/x"));
  REQUIRE(gateway.comes_to_run(1));
  low.send(post("/y", "12345", "X-Request-Id: first\r\n"));
  REQUIRE(gateway.comes_to_wait(1));
  low_too.send(get("/y"));
  REQUIRE(gateway.comes_to_wait(2));
  high.send(get("/v1/classify"));
  REQUIRE(gateway.comes_to_wait(3));
  const auto waiters = gateway.server().waiting_requests(10s);
  REQUIRE(waiters.size() == 3);
  CHECK(waiters[0].path == "/v1/classify");
  CHECK(waiters[0].priority == 3);
  CHECK(waiters[1].id == "first");
  CHECK(waiters[1].method == "POST");
  CHECK(waiters[1].client == "127.0.0.1");
  CHECK(waiters[1].bytes == 5);
  CHECK(waiters[1].cost == 1);
  CHECK(waiters[1].deadline > 1s);
  CHECK(waiters[1].deadline <= settings.admission.queue_timeout);
  CHECK(waiters[2].method == "GET");
  upstream.release(4);
  for (Client* client : {&in_flight, &high, &low, &low_too})
    CHECK(client->read_answer().status() == 200);
}

}  // namespace
}  // namespace classgate::gateway::test
