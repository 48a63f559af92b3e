#include <doctest/doctest.h>

#include <array>
#include <optional>
#include <stdexcept>

#include "tests/gateway/kit.h"

// The gateway ends: nothing new comes in, what is in is finished, and then it says so.
// (drain_timeout is main's: tests/process.)

namespace classgate::gateway::test {
namespace {

using conf::Reason;

conf::Settings drain_settings(const FakeUpstream& upstream) {
  conf::Settings settings = settings_for(upstream.port());
  settings.admission.workers = 1;
  settings.client.linger_timeout = 50ms;
  return settings;
}

bool refuses_connections(const Gateway& gateway) {
  try {
    Client one_more(gateway);
    return false;
  } catch (const std::runtime_error&) {
    return true;
  }
}

// Every loop has heard of it.
void drain(Gateway& gateway) {
  gateway.server().drain();
  REQUIRE(await([&] { return refuses_connections(gateway); }));
}

bool comes_to_be_drained(const Gateway& gateway) {
  return await([&] { return gateway.is_drained(); });
}

TEST_CASE("with nobody there, the gateway is drained at once and refuses connections") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(drain_settings(upstream));
  CHECK_FALSE(gateway.is_drained());
  CHECK_FALSE(refuses_connections(gateway));
  drain(gateway);
  CHECK(comes_to_be_drained(gateway));
  CHECK(gateway.snapshot().draining);
}

TEST_CASE("what is in flight and what waits is answered, on connections that then end") {
  FakeUpstream upstream(FakeUpstream::held());
  Gateway gateway(drain_settings(upstream));
  Client in_flight(gateway), waits(gateway), waits_too(gateway);
  in_flight.send(get("/in-flight"));
  REQUIRE(comes_to_hold(upstream, 1));
  waits.send(get("/waits"));
  REQUIRE(gateway.comes_to_wait(1));
  waits_too.send(post("/waits-too", "body"));
  REQUIRE(gateway.comes_to_wait(2));

  drain(gateway);
  CHECK(gateway.snapshot().waiting == 2);
  CHECK(gateway.snapshot().active_workers == 1);
  CHECK_FALSE(gateway.is_drained());

  upstream.release(3);
  const std::array expected{"GET /in-flight", "GET /waits", "POST /waits-too"};
  for (std::size_t i = 0; Client * client : {&in_flight, &waits, &waits_too}) {
    const Message answer = client->read_answer();
    CHECK(answer.status() == 200);
    CHECK(answer.body == expected[i++]);
    CHECK(answer.field("Connection") == "close");
    CHECK(client->is_closed());
  }
  CHECK(comes_to_be_drained(gateway));
  CHECK(gateway.settles_at({.processed = 3}));
}

TEST_CASE("idle connections are told goodbye, and need not answer it") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(drain_settings(upstream));
  Client used(gateway), fresh(gateway);
  CHECK(used.ask(get("/")).field("Connection") != "close");
  REQUIRE(await([&] { return gateway.server().connections() == 2; }));
  drain(gateway);
  CHECK(used.read_answer().status() == 0);
  CHECK(used.is_closed());
  CHECK(fresh.is_closed());
  CHECK(comes_to_be_drained(gateway));  // though both keep their side open
  CHECK(gateway.settles_at({.processed = 1}));
}

TEST_CASE("a request whose head had begun is told that the gateway drains") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(drain_settings(upstream));
  Client client(gateway);
  CHECK(client.ask(get("/before")).status() == 200);
  // Behind a whole request on the same connection, so that the gateway has surely read it.
  client.send(get("/behind") + "GET /late HTTP/1.1\r\nHo");
  CHECK(client.read_answer().status() == 200);
  drain(gateway);
  const Message answer = client.ask("st: test\r\n\r\n");
  CHECK(answer.status() == 503);
  CHECK(answer.reason() == "draining");
  CHECK(answer.has("Retry-After"));
  CHECK(answer.field("Connection") == "close");
  CHECK(client.is_closed());
  CHECK(comes_to_be_drained(gateway));
  CHECK(gateway.settles_at({.processed = 2, .rejected = 1}));
  CHECK(gateway.rejected(Reason::draining) == 1);
}

TEST_CASE("within the grace a connection that never asked is served, and then ends") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(drain_settings(upstream));
  Client asks(gateway), silent(gateway), begins(gateway);
  REQUIRE(await([&] { return gateway.server().connections() == 3; }));
  begins.send("GET /late HTTP/1.1\r\nHo");
  gateway.server().drain({.has_successor = false, .grace = 300ms});
  REQUIRE(await([&] { return refuses_connections(gateway); }));
  CHECK_FALSE(gateway.snapshot().draining);  // nobody is refused yet
  const Message answer = asks.ask(get("/first"));
  CHECK(answer.status() == 200);
  CHECK(answer.field("Connection") == "close");
  CHECK(asks.is_closed());
  CHECK(silent.is_closed());  // when the grace is over, and from then on:
  CHECK(gateway.snapshot().draining);
  CHECK(begins.ask("st: test\r\n\r\n").reason() == "draining");
  CHECK(comes_to_be_drained(gateway));
  CHECK(gateway.settles_at({.processed = 1, .rejected = 1}));
}

TEST_CASE("a request whose body was being read is served") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(drain_settings(upstream));
  Client client(gateway);
  client.send(
      "POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length: 5000\r\n"
      "Expect: 100-continue\r\n\r\n");
  const auto go_on = client.reader.read_head();
  REQUIRE(go_on.has_value());
  REQUIRE(go_on->status() == 100);
  drain(gateway);
  const Message answer = client.ask(pattern(5000));
  CHECK(answer.body == "POST /upload");
  CHECK(answer.field("Connection") == "close");
  CHECK(client.is_closed());
  CHECK(upstream.requests().at(0).body == pattern(5000));
  CHECK(comes_to_be_drained(gateway));
  CHECK(gateway.settles_at({.processed = 1}));
}

TEST_CASE("what is pipelined behind the request in flight is not begun any more") {
  FakeUpstream upstream(FakeUpstream::held());
  Gateway gateway(drain_settings(upstream));
  Client client(gateway);
  client.send(get("/1") + get("/2"));
  REQUIRE(comes_to_hold(upstream, 1));
  drain(gateway);
  upstream.release(2);
  const Message answer = client.read_answer();
  CHECK(answer.body == "GET /1");
  CHECK(answer.field("Connection") == "close");  // so the client knows that /2 was not taken
  CHECK(client.is_closed());
  CHECK(comes_to_be_drained(gateway));
  CHECK(gateway.settles_at({.processed = 1}));
  CHECK(upstream.request_count() == 1);
}

TEST_CASE("a connection whose answer had begun before the drain ends with that answer") {
  // Its head has promised to keep the connection; then the drain begins.
  FakeUpstream upstream(FakeUpstream::each([](Peer& peer, const Message&) {
    peer.send("HTTP/1.1 200 Fine\r\nContent-Length: 8\r\n\r\nhalf");
    if (peer.hold()) peer.send("rest");
  }));
  Gateway gateway(drain_settings(upstream));
  Client client(gateway);
  client.send(get("/"));
  REQUIRE(client.socket.wait_readable());
  REQUIRE(comes_to_hold(upstream, 1));
  drain(gateway);
  upstream.release();
  CHECK(client.read_answer().body == "halfrest");
  CHECK(client.is_closed());
  CHECK(comes_to_be_drained(gateway));
  CHECK(gateway.settles_at({.processed = 1}));
}

TEST_CASE("a connection whose client still reads its answer ends when it has all of it") {
  // The upstream is done, the rest of the answer stands in the gateway's buffer; then the drain
  // begins.
  const std::string body(24 << 20, 'x');
  FakeUpstream upstream(
      FakeUpstream::each([&](Peer& peer, const Message&) { peer.send(answer_with(body)); }));
  conf::Settings settings = drain_settings(upstream);
  settings.client.response_buffer = conf::MiB(32);
  Gateway gateway(settings);
  Client client(gateway, 4096);
  client.send(get("/"));
  REQUIRE(gateway.settles_at({.processed = 1}));
  drain(gateway);
  const Message answer = client.read_answer();
  CHECK(answer.is_complete);
  CHECK(answer.body.size() == body.size());
  CHECK(client.is_closed());
  CHECK(comes_to_be_drained(gateway));
}

TEST_CASE("a request whose client has left is waited for as well") {
  FakeUpstream upstream(FakeUpstream::held());
  Gateway gateway(drain_settings(upstream));
  Client waits(gateway);
  {
    Client leaver(gateway);
    leaver.send(get("/leaver"));
    REQUIRE(comes_to_hold(upstream, 1));
  }
  REQUIRE(await([&] { return gateway.snapshot().workers_without_client == 1; }));
  waits.send(get("/waits"));
  REQUIRE(gateway.comes_to_wait(1));
  drain(gateway);
  upstream.release(2);
  CHECK(waits.read_answer().body == "GET /waits");
  CHECK(comes_to_be_drained(gateway));
  CHECK(gateway.settles_at({.processed = 1, .abandoned = 1}));
}

TEST_CASE("clients that leave during the drain do not hold it up") {
  FakeUpstream upstream(FakeUpstream::held());
  conf::Settings settings = drain_settings(upstream);
  settings.upstream.on_client_abort = conf::OnClientAbort::cancel;
  Gateway gateway(settings);
  Client in_flight(gateway), waits(gateway);
  in_flight.send(get("/in-flight"));
  REQUIRE(comes_to_hold(upstream, 1));
  waits.send(get("/waits"));
  REQUIRE(gateway.comes_to_wait(1));
  drain(gateway);
  waits.socket.close();
  CHECK(gateway.comes_to_wait(0));
  in_flight.socket.reset();
  CHECK(comes_to_be_drained(gateway));
  CHECK(gateway.settles_at({.abandoned = 2}));
}

TEST_CASE("stop ends everything at once: in flight, idle, and who waits hears so") {
  std::atomic<bool> was_cut{false};
  FakeUpstream upstream([&](Peer& peer) {
    if (peer.read_request()) was_cut = peer.wait_gone();
  });
  std::optional<Gateway> gateway(std::in_place, drain_settings(upstream));
  Client in_flight(*gateway), waits(*gateway), idle(*gateway);
  in_flight.send(get("/in-flight"));
  REQUIRE(await([&] { return upstream.request_count() == 1; }));
  waits.send(get("/waits"));
  REQUIRE(gateway->comes_to_wait(1));
  SUBCASE("without a drain") {}
  SUBCASE("in the middle of one") { drain(*gateway); }
  gateway.reset();
  CHECK(in_flight.is_closed());
  const Message told = waits.read_answer();
  CHECK(told.status() == 503);
  CHECK(told.reason() == "draining");
  CHECK(waits.is_closed());
  CHECK(idle.is_closed());
  CHECK(await([&] { return was_cut.load(); }));
}

}  // namespace
}  // namespace classgate::gateway::test
