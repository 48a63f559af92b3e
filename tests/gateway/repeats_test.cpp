// What was not answered in time is not asked again for a while (upstream.repeat_window).

#include <doctest/doctest.h>

#include "gateway/recent_timeouts.h"
#include "tests/gateway/kit.h"

namespace classgate::gateway::test {
namespace {

// Does not answer the first request for /slow, and everything else at once.
FakeUpstream::Script slow_once() {
  auto is_first = std::make_shared<std::atomic<bool>>(true);
  return FakeUpstream::each([is_first](Peer& peer, const Message& request) {
    if (request.target() == "/slow" && is_first->exchange(false))
      peer.wait_gone();
    else
      peer.send(answer_with("served"));
  });
}

conf::Settings remembering(std::uint16_t port, milliseconds window) {
  conf::Settings settings = settings_for(port);
  settings.admission.request_timeout = 200ms;
  settings.upstream.repeat_window = window;
  return settings;
}

std::string ask_with(std::string_view fields, std::string_view body = "body",
                     std::string_view target = "/slow") {
  return fmt::format("POST {} HTTP/1.1\r\nHost: test\r\n{}Content-Length: {}\r\n\r\n{}", target,
                     fields, body.size(), body);
}

TEST_CASE("what got a 504 is refused when it is asked again, and costs the service nothing") {
  FakeUpstream upstream(slow_once());
  Gateway gateway(remembering(upstream.port(), 1h));
  CHECK(Client(gateway).ask(ask_with("X-Retry-Count: 0\r\n")).reason() == "upstream_timeout");
  CHECK(upstream.request_count() == 1);

  Client client(gateway);
  const Message again = client.ask(ask_with("X-Retry-Count: 1\r\ntraceparent: 00-a-b-01\r\n"));
  CHECK(again.status() == 504);
  CHECK(again.reason() == "repeated");
  CHECK(again.field("X-Should-Retry") == "false");
  CHECK_FALSE(again.has("Retry-After"));
  // However its bytes come: its head is here when the service has answered another.
  const std::string plain = ask_with("");
  client.send(plain.substr(0, plain.size() - 2));
  CHECK(Client(gateway).ask(get("/other")).body == "served");
  client.send(plain.substr(plain.size() - 2));
  CHECK(client.read_answer().reason() == "repeated");
  CHECK(upstream.request_count() == 2);

  // Everything else is another request.
  CHECK(client.ask(ask_with("", "another")).body == "served");
  CHECK(client.ask(ask_with("", "body", "/slow?twice")).body == "served");
  CHECK(client.ask(ask_with("X-Model: large\r\n")).body == "served");
  CHECK(client.ask("PUT /slow HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody").body ==
        "served");
  CHECK(upstream.request_count() == 6);
  CHECK(gateway.settles_at({.processed = 5, .failed = 1, .rejected = 2}));
}

// It was looked at for tokens when its head came, before its body told that it is a repeat: a
// library that repeated it emptied the bucket of its user.
TEST_CASE("a repeat takes no token, and what only looks like one takes one") {
  FakeUpstream upstream(slow_once());
  conf::Settings settings = remembering(upstream.port(), 1h);
  settings.admission.rate = 1.0 / 3600;
  settings.admission.burst = 3;
  Gateway gateway(settings);
  Client client(gateway);
  CHECK(client.ask(ask_with("")).reason() == "upstream_timeout");
  for (int i = 0; i < 5; ++i) CHECK(client.ask(ask_with("")).reason() == "repeated");
  CHECK(client.ask(ask_with("", "another")).body == "served");
  CHECK(client.ask(ask_with("", "body", "/other")).body == "served");
  CHECK(client.ask(ask_with("", "another")).reason() == "rate_limited");
  CHECK(client.ask(ask_with("")).reason() == "repeated");
  CHECK(gateway.settles_at({.processed = 2, .failed = 1, .rejected = 7}));
}

TEST_CASE("what may be a repeat and is none costs what its body says, once") {
  FakeUpstream upstream(slow_once());
  conf::Settings settings = remembering(upstream.port(), 1h);
  settings.routes = {{"/slow", false, 3, true}};
  settings.routes[0].cost = {conf::CostSettings::Kind::body, 1, "", conf::Bytes{4}};
  settings.admission.rate = 1.0 / 3600;
  settings.admission.burst = 10;
  Gateway gateway(settings);
  const auto chunked = [](std::string_view chunks) {
    return fmt::format("POST /slow HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{}",
                       chunks);
  };
  Client client(gateway);
  CHECK(client.ask(chunked("8\r\n12345678\r\n0\r\n\r\n")).reason() == "upstream_timeout");
  CHECK(client.ask(chunked("8\r\n12345678\r\n0\r\n\r\n")).reason() == "repeated");
  const auto tokens = [&] {
    return gateway.server().shared().gate.allowances({}, std::chrono::steady_clock::now()).all;
  };
  REQUIRE(tokens());
  CHECK(tokens()->tokens == doctest::Approx(8).epsilon(0.01));
  CHECK(client.ask(chunked("c\r\n123456789012\r\n0\r\n\r\n")).body == "served");
  CHECK(tokens()->tokens == doctest::Approx(5).epsilon(0.01));
}

TEST_CASE("one that comes in chunks is known again by what is in them") {
  FakeUpstream upstream(slow_once());
  Gateway gateway(remembering(upstream.port(), 1h));
  const auto chunked = [](std::string_view chunks) {
    return fmt::format("POST /slow HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{}",
                       chunks);
  };
  CHECK(Client(gateway).ask(chunked("4\r\nbody\r\n0\r\n\r\n")).reason() == "upstream_timeout");
  CHECK(Client(gateway).ask(chunked("2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n")).reason() == "repeated");
  CHECK(upstream.request_count() == 1);
}

TEST_CASE("another client's is not refused, and neither is anybody's without the window") {
  FakeUpstream upstream(slow_once());
  conf::Settings settings = remembering(upstream.port(), 1h);
  settings.admission.fairness.is_on = true;
  settings.admission.fairness.identity = {{conf::IdentitySource::Kind::header, "X-Key"}};
  Gateway gateway(settings);
  CHECK(Client(gateway).ask(ask_with("X-Key: one\r\n")).reason() == "upstream_timeout");
  CHECK(Client(gateway).ask(ask_with("X-Key: two\r\n")).body == "served");
  CHECK(Client(gateway).ask(ask_with("X-Key: one\r\n")).reason() == "repeated");

  FakeUpstream other(slow_once());
  Gateway forgetful(remembering(other.port(), 0ms));
  CHECK(Client(forgetful).ask(ask_with("")).reason() == "upstream_timeout");
  CHECK(Client(forgetful).ask(ask_with("")).body == "served");
}

TEST_CASE("after the window it is served, however often it was asked meanwhile") {
  FakeUpstream upstream(slow_once());
  Gateway gateway(remembering(upstream.port(), 300ms));
  Client client(gateway);
  CHECK(client.ask(ask_with("")).reason() == "upstream_timeout");
  CHECK(await([&] { return client.ask(ask_with("")).body == "served"; }));
  CHECK(upstream.request_count() == 2);
}

TEST_CASE("nobody can tell of a body that did not stay here, and who has none may be a check") {
  FakeUpstream upstream(slow_once());
  conf::Settings settings = remembering(upstream.port(), 1h);
  settings.client.body_buffer = conf::Bytes{2};
  settings.upstream.on_client_abort = conf::OnClientAbort::cancel;  // a 504 frees the worker
  Gateway gateway(settings);
  const auto ask_in_parts = [&] {  // a worker is asked for when the first one is here
    Client client(gateway);
    const std::string request = ask_with("", "0123456789");
    client.send(request.substr(0, request.size() - 5));
    CHECK(gateway.comes_to_run(1));
    return client.ask(request.substr(request.size() - 5));
  };
  CHECK(ask_in_parts().reason() == "upstream_timeout");
  CHECK(ask_in_parts().body == "served");

  FakeUpstream other(slow_once());
  Gateway checked(remembering(other.port(), 1h));
  CHECK(Client(checked).ask(get("/slow")).reason() == "upstream_timeout");
  CHECK(Client(checked).ask(get("/slow")).body == "served");
}

TEST_CASE("of more timeouts than there is room for the newest are known, and nothing else is") {
  RecentTimeouts timeouts({1, 2});
  const admission::Time now(1h);
  CHECK_FALSE(timeouts.may_have(7, now));
  constexpr std::uint64_t most = RecentTimeouts::sets * RecentTimeouts::ways;
  for (std::uint64_t i = 1; i <= 2 * most; ++i)
    timeouts.add(i, "body", now + std::chrono::milliseconds(i));
  for (std::uint64_t i = 1; i <= most; ++i) REQUIRE_FALSE(timeouts.has(i, "body", now));
  for (std::uint64_t i = most + 1; i <= 2 * most; ++i) {
    REQUIRE(timeouts.has(i, "body", now));
    REQUIRE_FALSE(timeouts.has(i, "other", now));
    REQUIRE_FALSE(timeouts.has(i, "body", now + std::chrono::milliseconds(i)));
  }
  // The same again takes no further place.
  for (int i = 0; i < 10; ++i) timeouts.add(2 * most, "body", now + 2h);
  CHECK(timeouts.has(most + RecentTimeouts::sets, "body", now));
}

}  // namespace
}  // namespace classgate::gateway::test
