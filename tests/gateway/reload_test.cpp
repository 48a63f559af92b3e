// A reload under traffic. Long, because each kind of setting changes in a way of its own.

#include <doctest/doctest.h>

#include <list>

#include "tests/gateway/kit.h"
#include "tests/gateway/tls_client.h"

// New settings while requests flow (Server::reconfigure), and a drain with a successor. Long,
// because each thing that a reload may change has its case.

namespace classgate::gateway::test {
namespace {

using conf::Reason;

void every_loop_hears(Gateway& gateway) { REQUIRE(every_loop_turns(gateway.server(), 10s)); }

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

// Its head came under the old conf, its body under the new one. It waited on the new terms, and in
// the line on other ones than for its own timers.
TEST_CASE("who is uploading during a reload waits on the terms under which it came") {
  FakeUpstream upstream(FakeUpstream::held());
  auto settings = settings_for(upstream.port());
  settings.admission.workers = 1;
  Gateway gateway(settings);
  Client in_flight(gateway), uploads(gateway), comes_later(gateway);
  in_flight.send(get("/in-flight"));
  REQUIRE(gateway.comes_to_run(1));
  uploads.send(
      "POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n");
  REQUIRE(uploads.reader.read_head().has_value());  // 100 Continue

  settings.admission.request_timeout = settings.admission.queue_timeout = 30ms;
  reconfigure(gateway, settings);
  uploads.send("x");
  REQUIRE(gateway.comes_to_wait(1));
  // By now who waits on the new terms would have gone, and in the line as well.
  CHECK(comes_later.ask(get("/later")).reason() == "queue_timeout");
  CHECK(gateway.snapshot().waiting == 1);
  upstream.release(2);
  CHECK(in_flight.read_answer().status() == 200);
  CHECK(uploads.read_answer().status() == 200);
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
      station->numbers().for_each_route([&](const RouteMetrics& route) {
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

TEST_CASE("operators can see who waits") {
  FakeUpstream upstream(FakeUpstream::held());
  auto settings = settings_for(upstream.port());
  settings.admission.workers = 1;
  settings.threads = 1;
  settings.client.trusted_proxies = {*conf::parse_network("127.0.0.1")};
  Gateway gateway(settings);
  CHECK(waiting_requests(gateway.server()).empty());
  Client in_flight(gateway), low(gateway), high(gateway), low_too(gateway);
  in_flight.send(get("/x"));
  REQUIRE(gateway.comes_to_run(1));
  low.send(post("/y", "12345", "X-Request-Id: first\r\n"));
  REQUIRE(gateway.comes_to_wait(1));
  low_too.send(get("/y"));
  REQUIRE(gateway.comes_to_wait(2));
  high.send(get("/v1/classify"));
  REQUIRE(gateway.comes_to_wait(3));
  auto waiters = waiting_requests(gateway.server());
  REQUIRE(waiters.size() == 3);
  std::ranges::sort(waiters, {},
                    [](const WaitingRequest& one) { return std::pair(one.priority, one.joined); });
  CHECK(waiters[0].path == "/v1/classify");
  CHECK(waiters[0].priority == 3);
  CHECK(waiters[1].id == "first");
  CHECK(waiters[1].method == "POST");
  CHECK(waiters[1].address == "127.0.0.1");
  CHECK(waiters[1].bytes == 5);
  CHECK(waiters[1].cost == 1);
  CHECK(waiters[1].deadline > 1s);
  CHECK(waiters[1].deadline <= settings.admission.queue_timeout);
  CHECK(waiters[2].method == "GET");
  upstream.release(4);
  for (Client* client : {&in_flight, &high, &low, &low_too})
    CHECK(client->read_answer().status() == 200);
}

// ---- What began under one policy ---------------------------------------------------------------

conf::Settings with_tls(conf::Settings settings) {
  settings.listen = {{"127.0.0.1", 0, "https://127.0.0.1:0", true}};
  settings.tls.certificates = {some_certificate()};
  return settings;
}

constexpr std::string_view introduction = "PROXY TCP4 192.0.2.7 10.0.0.2 56324 443\r\n";

TEST_CASE("a connection waits for its introduction; TLS is turned off: it ends as it began") {
  // accepted for https://, a reload without certificates, its PROXY header, its handshake.
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_for(upstream.port());
  settings.client.trusted_proxies = {*conf::parse_network("127.0.0.1")};
  settings.client.proxy_protocol = true;
  Gateway gateway(with_tls(settings));
  TlsClient waits(Socket::connect(gateway.port()));
  waits.socket.send(introduction.substr(0, 10));
  REQUIRE(await([&] { return gateway.server().connections() == 1; }));

  reconfigure(gateway, settings);
  waits.socket.send(introduction.substr(10));
  CHECK(waits.shake_hands());
  CHECK(waits.ask(get("/served")) == 200);
  Client plain(gateway);
  plain.send(introduction);
  CHECK(plain.ask(get("/plain")).status() == 200);
}

TEST_CASE("a proxy that is trusted no more introduces nobody, though it connected before") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_for(upstream.port());
  auto trusting = settings;
  trusting.client.trusted_proxies = {*conf::parse_network("127.0.0.1")};
  trusting.client.proxy_protocol = true;
  Gateway gateway(trusting);
  Client waits(gateway);
  REQUIRE(await([&] { return gateway.server().connections() == 1; }));
  reconfigure(gateway, settings);
  waits.send(introduction);
  CHECK(waits.is_closed());
  CHECK(upstream.targets().empty());
}

// Connects in one of the ways there are, and says whether it was served or heard that it was not.
bool is_served_or_sent_away(std::uint16_t port, int kind) {
  const auto hears_an_end = [](Socket& socket) {
    std::string said;
    Socket::Got got = Socket::Got::some;
    while (got == Socket::Got::some) got = socket.read(said);
    return got != Socket::Got::late;
  };
  switch (kind % 4) {
    case 0: {  // TLS, introduced or not
      TlsClient client(Socket::connect(port));
      if (kind % 8 == 0) client.socket.send(introduction);
      if (!client.shake_hands()) return !client.was_left_waiting();
      return client.ask(get("/tls")) == 200 || !client.was_left_waiting();
    }
    case 1: {  // no TLS
      Socket socket = Socket::connect(port);
      socket.send(get("/plain", "Connection: close\r\n"));
      return hears_an_end(socket);
    }
    case 2: {  // leaves in the middle of a handshake
      Socket socket = Socket::connect(port);
      socket.send(TlsClient::half_a_hello());
      if (kind % 8 == 2)
        socket.reset();
      else
        socket.end_writing();
      return !socket.is_open() || hears_an_end(socket);
    }
    default: {  // in the middle of its introduction
      Socket socket = Socket::connect(port);
      socket.send(introduction.substr(0, 20));
      socket.end_writing();
      return hears_an_end(socket);
    }
  }
}

TEST_CASE(
    "https to plain and back, hundreds of times while clients connect: nobody is left alone") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_for(upstream.port());
  settings.client.linger_timeout = 100ms;
  settings.admission.queue_size = 100;
  Gateway gateway(with_tls(settings));
  std::atomic<bool> is_over{false};
  std::atomic<std::uint64_t> connected{0}, left_alone{0};
  std::vector<std::thread> clients;
  for (int number = 0; number < 8; ++number)
    clients.emplace_back([&, number] {
      for (int kind = number; !is_over; kind += 3) {
        if (!is_served_or_sent_away(gateway.port(), kind)) ++left_alone;
        ++connected;
      }
    });
  for (int i = 0; i < 300; ++i) {
    auto next = i % 2 == 0 ? settings : with_tls(settings);
    next.client.proxy_protocol = i % 3 == 0;
    if (i % 5 != 0) next.client.trusted_proxies = {*conf::parse_network("127.0.0.1")};
    if (i % 4 == 0) next.tls.certificates = {some_certificate()};  // though nobody listens for it
    const std::uint64_t before = connected;
    REQUIRE(gateway.server().reconfigure(next, {}).has_value());
    REQUIRE(await([&] { return connected >= before + 4; }));
  }
  is_over = true;
  for (std::thread& client : clients) client.join();
  CHECK(left_alone == 0);
  CHECK(await([&] { return gateway.server().connections() == 0; }));

  reconfigure(gateway, with_tls(settings));
  TlsClient last(Socket::connect(gateway.port()));
  REQUIRE(last.shake_hands());
  CHECK(last.ask(get("/last")) == 200);
}

TEST_CASE("a client that resets in the middle of a handshake or introduction is gone at once") {
  // What it sent and the reset come in one event; no timeout here is shorter than our patience.
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = with_tls(settings_for(upstream.port()));
  settings.client.header_timeout = 10min;
  const auto everybody_is_gone = [](const conf::Settings& under, std::string_view first_words) {
    Gateway gateway(under);
    for (int i = 0; i < 50; ++i) {
      Socket client = Socket::connect(gateway.port());
      client.send(first_words);
      client.reset();
    }
    const auto& stations = gateway.server().stations();
    CHECK(await([&] {
      std::uint64_t accepted = 0;
      for (const auto& station : stations) accepted += station->numbers().accepted.read();
      return accepted == 50 && gateway.server().connections() == 0;
    }));
    std::uint64_t failed = 0;
    for (const auto& station : stations) failed += station->numbers().handshakes_failed.read();
    return failed;
  };
  CHECK(everybody_is_gone(settings, TlsClient::half_a_hello()) == 50);
  settings.client.trusted_proxies = {*conf::parse_network("127.0.0.1")};
  settings.client.proxy_protocol = true;
  CHECK(everybody_is_gone(settings, introduction.substr(0, 10)) == 0);  // none had begun
  CHECK(everybody_is_gone(
            settings, std::string(introduction) + std::string(TlsClient::half_a_hello())) == 50);
}

}  // namespace
}  // namespace classgate::gateway::test
