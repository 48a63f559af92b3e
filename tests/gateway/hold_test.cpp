#include <doctest/doctest.h>

#include <list>

#include "tests/gateway/kit.h"

// upstream.hold: while no server is up, what fits waits for one.

namespace classgate::gateway::test {
namespace {

using conf::Reason;
using proxy::Servers;

// A gateway whose only server is away.
struct House {
  explicit House(conf::Settings settings) : gateway(settings) {
    REQUIRE(await([&] { return state() == Servers::State::unreachable; }));
  }
  Servers::State state() { return gateway.server().policy().servers->state(0); }
  Gateway gateway;
};

conf::Settings holding(std::uint16_t port) {
  conf::Settings settings = settings_for(port);
  settings.upstream.hold = 1h;
  return settings;
}

// One after the other; those that have a worker first.
void ask_all(std::list<Client>& clients, Gateway& gateway, std::size_t count) {
  const std::size_t workers = 4;
  for (std::size_t i = 1; i <= count; ++i) {
    clients.emplace_back(gateway).send(post("/x", std::to_string(i)));
    REQUIRE(gateway.comes_to_run(static_cast<std::uint32_t>(std::min(i, workers))));
    REQUIRE(gateway.comes_to_wait(i - std::min(i, workers)));
  }
}

TEST_CASE("a restart of the only server costs nobody anything: what fits waits, and no more") {
  DeadPort port;
  House house(holding(port.port()));
  std::list<Client> clients;
  ask_all(clients, house.gateway, 14);  // all workers and the queue
  CHECK(Client(house.gateway).ask(post("/x", "1")).reason() == "queue_full");
  for (Client& client : clients) CHECK(client.is_silent());
  FakeUpstream upstream(FakeUpstream::echo_target(), port);
  for (Client& client : clients) CHECK(client.read_answer().status() == 200);
  CHECK(house.gateway.settles_at({.processed = 14, .rejected = 1}));
  CHECK(upstream.request_count() == 14);
}

TEST_CASE("when no server has come within the hold, whoever waits hears so, and the next at once") {
  const DeadPort port;
  auto settings = holding(port.port());
  settings.upstream.hold = 300ms;
  settings.upstream.probe_interval = 1h;
  House house(settings);
  std::list<Client> clients;
  for (int i = 0; i < 6; ++i) clients.emplace_back(house.gateway).send(post("/x", "1"));
  // Whenever they come: each hears the same in the end.
  for (Client& client : clients) CHECK(client.read_answer().reason() == "upstream_down");
  CHECK(Client(house.gateway).ask(post("/x", "1")).reason() == "upstream_down");
  CHECK(house.gateway.snapshot().in_flight == 0);
}

TEST_CASE("nobody is held for longer than it may wait itself") {
  const DeadPort port;
  auto settings = holding(port.port());
  settings.admission.deadlines.from_client = true;
  settings.admission.queue_timeout = 100ms;
  House house(settings);
  const auto ask = [&](std::string_view fields) {
    return Client(house.gateway).ask(post("/x", "1", fields)).reason();
  };
  CHECK(ask("") == "upstream_down");
  CHECK(ask("X-Request-Timeout: 50ms\r\n") == "deadline");
  CHECK(house.gateway.failed(Reason::upstream_down) == 1);
  CHECK(house.gateway.rejected(Reason::deadline) == 1);
  CHECK(house.gateway.settles_at({.failed = 1, .rejected = 1}));
}

TEST_CASE("a client that leaves while it is held gives its worker to the next") {
  DeadPort port;
  House house(holding(port.port()));
  std::list<Client> clients;
  ask_all(clients, house.gateway, 5);
  clients.pop_front();
  REQUIRE(house.gateway.comes_to_wait(0));
  FakeUpstream upstream(FakeUpstream::echo_target(), port);
  for (Client& client : clients) CHECK(client.read_answer().status() == 200);
  CHECK(house.gateway.settles_at({.processed = 4, .abandoned = 1}));
  // What a client says that is gone is not said to the service.
  CHECK(upstream.request_count() == 4);
}

TEST_CASE("who could not be sent is held too, and a reload takes its server from under it") {
  // The server goes without a sign; the first request finds out. Then its pool is gone.
  auto before = std::make_unique<FakeUpstream>(FakeUpstream::echo_target());
  auto settings = holding(before->port());
  settings.upstream.probe_interval = 1h;
  Gateway gateway(settings);
  CHECK(Client(gateway).ask(post("/x", "1")).status() == 200);
  before.reset();
  Client held(gateway), leaves(gateway);
  held.send(post("/x", "2"));
  leaves.send(post("/x", "3"));
  REQUIRE(gateway.comes_to_run(2));
  REQUIRE(await(
      [&] { return gateway.server().policy().servers->state(0) == Servers::State::unreachable; }));
  const DeadPort other;
  settings.upstream.servers = settings_for(other.port()).upstream.servers;
  REQUIRE(gateway.server().reconfigure(settings, {}).has_value());
  REQUIRE(await(
      [&] { return gateway.server().policy().servers->state(0) == Servers::State::unreachable; }));
  leaves.socket.reset();
  REQUIRE(gateway.comes_to_run(1));
  FakeUpstream third(FakeUpstream::echo_target());
  settings.upstream.servers = settings_for(third.port()).upstream.servers;
  REQUIRE(gateway.server().reconfigure(settings, {}).has_value());
  CHECK(held.read_answer().body == "POST /x");
  CHECK(gateway.settles_at({.processed = 2, .abandoned = 1}));
}

TEST_CASE("who is held while a reload changes the routes is refused as its own route is") {
  const DeadPort port;
  auto settings = holding(port.port());
  House house(settings);
  Client client(house.gateway);
  client.send(get("/zzz"));  // of no route: its number is another's in the next conf
  REQUIRE(house.gateway.comes_to_run(1));
  settings.upstream.hold = 0ms;
  settings.routes.push_back({.path = "/other",
                             .priority = 3,
                             .refusal_body = conf::RefusalBody::text,
                             .statuses = {{Reason::upstream_down, 418}}});
  REQUIRE(house.gateway.server().reconfigure(settings, {}).has_value());
  const Message answer = client.read_answer();
  CHECK(answer.status() == 503);
  CHECK(answer.field("Content-Type") == "application/problem+json");
  CHECK(Client(house.gateway).ask(get("/other")).status() == 418);
}

TEST_CASE("a drain waits for who is held as for who is in the queue") {
  DeadPort port;
  House house(holding(port.port()));
  std::list<Client> clients;
  ask_all(clients, house.gateway, 5);
  house.gateway.server().drain();
  REQUIRE(await([&] { return house.gateway.snapshot().draining; }));
  CHECK_FALSE(house.gateway.is_drained());
  FakeUpstream upstream(FakeUpstream::echo_target(), port);
  for (Client& client : clients) {
    const Message answer = client.read_answer();
    CHECK(answer.status() == 200);
    CHECK(answer.field("Connection") == "close");
  }
  CHECK(house.gateway.settles_at({.processed = 5}));
}

TEST_CASE("a body that is still coming goes on coming to who is held, as far as it is buffered") {
  DeadPort port;
  auto settings = holding(port.port());
  settings.client.body_buffer = conf::Bytes{4096};
  House house(settings);
  Client client(house.gateway);
  const std::string body = pattern(1'000'000);
  const std::string request = post("/x", body);
  REQUIRE(client.send(request.substr(0, 10'000)));
  REQUIRE(house.gateway.comes_to_run(1));
  FakeUpstream upstream(FakeUpstream::each([&](Peer& peer, const Message& asked) {
                          peer.send(answer_with(asked.body == body ? "same" : "other"));
                        }),
                        port);
  REQUIRE(client.send(request.substr(10'000)));
  CHECK(client.read_answer().body == "same");
}

TEST_CASE("the time for which a request was held is no time that the service took") {
  DeadPort port;
  House house(holding(port.port()));
  Client client(house.gateway);
  client.send(post("/x", "1"));
  REQUIRE(house.gateway.comes_to_run(1));
  const auto before = std::chrono::steady_clock::now();
  // Longer than an answer takes, by the clock that both see.
  REQUIRE(await([&] { return std::chrono::steady_clock::now() - before > 300ms; }));
  FakeUpstream upstream(FakeUpstream::echo_target(), port);
  CHECK(client.read_answer().status() == 200);
  const auto took = std::chrono::steady_clock::now() - before;
  CHECK(house.gateway.snapshot().average_process < took - 250ms);
}

}  // namespace
}  // namespace classgate::gateway::test
