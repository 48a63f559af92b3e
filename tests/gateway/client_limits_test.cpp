#include <doctest/doctest.h>

#include "tests/gateway/kit.h"

// What one client, one connection or one route may ask for.

namespace classgate::gateway::test {
namespace {

TEST_CASE("an address has only so many connections, and room again when one goes") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_for(upstream.port());
  settings.client.connections_per_address = 2;
  Gateway gateway(settings);
  auto first = std::make_unique<Client>(gateway);
  Client second(gateway);
  CHECK(first->ask(get("/x")).status() == 200);
  CHECK(second.ask(get("/x")).status() == 200);
  Client third(gateway);
  const Message refusal = third.read_answer();
  CHECK(refusal.status() == 429);
  CHECK(refusal.field("X-Classgate-Reason") == "client_connections");
  CHECK(third.is_closed());
  CHECK(gateway.server().shared().client_connections_refused == 1);
  first.reset();
  REQUIRE(await([&] { return gateway.server().connections() == 1; }));
  CHECK(Client(gateway).ask(get("/x")).status() == 200);
}

TEST_CASE("connections of one address behind a PROXY header are counted as that address's") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_for(upstream.port());
  settings.client.connections_per_address = 1;
  settings.client.trusted_proxies = {*conf::parse_network("127.0.0.1")};
  settings.client.proxy_protocol = true;
  Gateway gateway(settings);
  const auto header = [](std::string_view address) {
    return "PROXY TCP6 " + std::string(address) + " ::1 1 1\r\n";
  };
  Client one(gateway), other(gateway), again(gateway), neighbour(gateway);
  CHECK(one.ask(header("2001:db8:0:1::1") + get("/x")).status() == 200);
  CHECK(other.ask(header("2001:db8:0:2::1") + get("/x")).status() == 200);
  again.send(header("2001:db8:0:1::1"));
  CHECK(again.read_answer().status() == 429);
  CHECK(again.is_closed());
  neighbour.send(header("2001:db8:0:1:f::1"));  // of the same /64
  CHECK(neighbour.read_answer().status() == 429);
}

TEST_CASE("a connection has so many requests, the last answer says so, and no request is lost") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_for(upstream.port());
  settings.client.requests_per_connection = 3;
  Gateway gateway(settings);
  Client client(gateway);
  CHECK(client.ask(get("/1")).field("Connection") == "");
  client.send(get("/2") + get("/3") + get("/4"));
  CHECK(client.read_answer().field("Connection") == "");
  const Message last = client.read_answer();
  CHECK(last.body == "GET /3");
  CHECK(last.field("Connection") == "close");
  CHECK(client.is_closed());
  CHECK(upstream.request_count() == 3);  // the fourth was never begun
}

// Times that the limit was reached, on all loops.
std::uint64_t reached(Gateway& gateway, Limit limit) {
  std::uint64_t sum = 0;
  for (const auto& station : gateway.server().stations())
    sum += station->numbers().limits_reached[static_cast<std::size_t>(limit)].read();
  return sum;
}

TEST_CASE("a slow upload gives its worker up when others wait for it, and not before") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_for(upstream.port());
  settings.admission.workers = 1;
  settings.client.body_buffer = conf::Bytes{4};
  settings.client.body_timeout = 50ms;  // and so the window of a stream
  settings.client.body_rate_min = conf::Bytes{0};
  settings.client.stream_rate_min = conf::KiB(64);
  Gateway gateway(settings);
  Client slow(gateway), quick(gateway);
  const std::string whole = post("/slow", std::string(100, 'x'));
  slow.send(whole.substr(0, whole.size() - 50));
  REQUIRE(gateway.comes_to_run(1));
  // Nobody waits: it may take its time.
  CHECK_FALSE(await([&] { return !slow.is_silent(); }, 300ms));
  CHECK(gateway.snapshot().active_workers == 1);
  CHECK(quick.ask(get("/quick")).body == "GET /quick");
  const Message answer = slow.read_answer();
  CHECK(answer.status() == 408);
  CHECK(answer.reason() == "client_timeout");
  CHECK(slow.is_closed());
  CHECK(reached(gateway, Limit::stream_rate_min) == 1);
}

TEST_CASE("a slow reader of a large answer gives its worker up when others wait, and not before") {
  const std::string large = answer_with(std::string(4 << 20, 'x'));
  FakeUpstream upstream(FakeUpstream::each([&](Peer& peer, const Message& request) {
    peer.send(request.target() == "/large" ? large : answer_with("small"));
  }));
  auto settings = settings_for(upstream.port());
  settings.admission.workers = 1;
  settings.client.body_timeout = 50ms;  // and so the window of a stream
  settings.client.stream_rate_min = conf::KiB(64);
  for (const auto on_abort : {conf::OnClientAbort::finish, conf::OnClientAbort::cancel}) {
    settings.upstream.on_client_abort = on_abort;
    Gateway gateway(settings);
    Client slow(gateway, 4096), quick(gateway);
    slow.send(get("/large"));
    REQUIRE(gateway.comes_to_run(1));
    // Nobody waits: it may take its time.
    CHECK_FALSE(await([&] { return gateway.snapshot().active_workers == 0; }, 300ms));
    CHECK(quick.ask(get("/quick")).body == "small");
    CHECK_FALSE(slow.read_answer().is_complete);
    CHECK(gateway.settles_at({.processed = 1, .abandoned = 1}));
    CHECK(reached(gateway, Limit::stream_rate_min) == 1);
  }
}

TEST_CASE("a limit that is reached is counted under its key") {
  const std::string large = answer_with(std::string(4 << 20, 'x'));
  FakeUpstream upstream(FakeUpstream::each([&](Peer& peer, const Message& request) {
    if (request.target() == "/large") peer.send(large);
    const bool is_long = request.target() == "/head";
    peer.send(answer_with("small", is_long ? "X: " + std::string(2000, 'y') + "\r\n" : ""));
  }));
  const std::string begins = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n12345";
  struct Case {
    Limit limit;
    std::function<void(conf::Settings&)> change;  // all else is far away
    std::string says;
  };
  const std::vector<Case> cases{
      {Limit::header_timeout, [](auto& s) { s.client.header_timeout = 50ms; }, ""},
      {Limit::header_timeout, [](auto& s) { s.client.header_timeout = 50ms; }, "GET"},
      {Limit::idle_timeout, [](auto& s) { s.client.idle_timeout = 50ms; }, get("/x")},
      {Limit::body_rate_min, [](auto& s) { s.client.body_timeout = 50ms; }, begins},
      {Limit::body_buffer, [](auto& s) { s.client.body_buffer = {4}; }, begins},
      {Limit::linger_timeout, [](auto& s) { s.client.linger_timeout = 50ms; }, "x\r\n\r\n"},
      {Limit::requests_per_connection, [](auto& s) { s.client.requests_per_connection = 1; },
       get("/x")},
      {Limit::response_buffer, [](auto&) {}, get("/large")},
      {Limit::send_timeout, [](auto& s) { s.client.send_timeout = 50ms; }, get("/large")},
      {Limit::answer_header_bytes, [](auto& s) { s.upstream.header_bytes = conf::KiB(1); },
       get("/head")},
  };
  for (const Case& one : cases) {
    CAPTURE(limit_keys[static_cast<std::size_t>(one.limit)]);
    auto settings = settings_for(upstream.port());
    one.change(settings);
    Gateway gateway(settings);
    Client client(gateway, 4096);
    client.send(one.says);
    CHECK(await([&] { return reached(gateway, one.limit) == 1; }));
  }
}

TEST_CASE("a route has its own limit for bodies, below or above the general one") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_for(upstream.port());
  settings.client.body_bytes = conf::Bytes{10};
  settings.client.body_buffer = conf::Bytes{4};
  settings.routes = {{"/small", false, 3, true, conf::Bytes{3}},
                     {"/large", false, 3, true, conf::Bytes{20}}};
  Gateway gateway(settings);
  const auto status = [&](const std::string& request) {
    return Client(gateway).ask(request).status();
  };
  CHECK(status(post("/small", "123")) == 200);
  CHECK(status(post("/small", "1234")) == 413);
  CHECK(status(post_chunked("/small", {"12", "34"})) == 413);
  CHECK(status(post("/other", "1234567890")) == 200);
  CHECK(status(post("/other", "12345678901")) == 413);
  CHECK(status(post("/large", "12345678901")) == 200);
  CHECK(status(post_chunked("/large", {"1234567890", "1234567890"})) == 200);
  CHECK(status(post_chunked("/large", {"1234567890", "1234567890", "1"})) == 413);
}

}  // namespace
}  // namespace classgate::gateway::test
