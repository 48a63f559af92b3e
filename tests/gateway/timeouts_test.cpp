#include <doctest/doctest.h>

#include <algorithm>

#include "tests/gateway/kit.h"

// Each timeout, with a value so short that it falls due in the test; nobody measures how short. All
// others stay so long that they do not fall due.

namespace classgate::gateway::test {
namespace {

using conf::OnClientAbort;
using conf::Reason;

std::string endless_head() { return "GET /slow HTTP/1.1\r\nHost: test\r\nX-Slow: "; }

std::string upload_head(std::string_view target, std::size_t size) {
  return "POST " + std::string(target) +
         " HTTP/1.1\r\nHost: test\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n";
}

void check_is_final(Client& client, const Message& answer, int status, std::string_view reason) {
  CHECK(answer.status() == status);
  CHECK(answer.reason() == reason);
  CHECK(answer.field("Connection") == "close");
  CHECK(answer.field("Content-Type") == "application/problem+json");
  CHECK(client.is_closed());
}

// ---- The client sends slowly -------------------------------------------------------------------

TEST_CASE("a head that does not come to its end is answered with 408") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  conf::Settings settings = settings_for(upstream.port());
  settings.client.header_timeout = 50ms;
  Gateway gateway(settings);
  Client client(gateway);
  check_is_final(client, client.ask(endless_head()), 408, "client_timeout");
  CHECK(gateway.settles_at({.rejected = 1}));
  CHECK(gateway.rejected(Reason::client_timeout) == 1);
  CHECK(upstream.request_count() == 0);
}

TEST_CASE("a head that comes drop by drop gets no more time than one that stalls") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  conf::Settings settings = settings_for(upstream.port());
  settings.client.header_timeout = 100ms;
  Gateway gateway(settings);
  Client client(gateway);
  client.send(endless_head());
  REQUIRE(await([&] { return client.socket.wait_readable(5ms) || !client.send("x"); }));
  CHECK(client.read_answer().status() == 408);
  CHECK(gateway.settles_at({.rejected = 1}));
}

TEST_CASE("a second head on a kept connection has its time limit too") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  conf::Settings settings = settings_for(upstream.port());
  settings.client.header_timeout = 50ms;
  Gateway gateway(settings);
  Client client(gateway);
  CHECK(client.ask(get("/first")).status() == 200);
  check_is_final(client, client.ask(endless_head()), 408, "client_timeout");
  CHECK(gateway.settles_at({.processed = 1, .rejected = 1}));
}

TEST_CASE("a connection that never says a word is closed without one") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  conf::Settings settings = settings_for(upstream.port());
  settings.client.header_timeout = 50ms;
  Gateway gateway(settings);
  Client client(gateway);
  CHECK(client.read_answer().status() == 0);
  CHECK(client.is_closed());
  CHECK(gateway.snapshot().total == 0);
}

TEST_CASE("a body under the minimum rate is answered with 408, before any worker") {
  for (const bool is_chunked : {false, true}) {
    CAPTURE(is_chunked);
    FakeUpstream upstream(FakeUpstream::echo_target());
    conf::Settings settings = settings_for(upstream.port());
    settings.client.body_timeout = 100ms;
    settings.client.body_rate_min = {10'000};
    Gateway gateway(settings);
    Client client(gateway);
    client.send(is_chunked ? "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
                           : upload_head("/", 5000));
    // Steady, but 200 bytes a second at most.
    const std::string drop = is_chunked ? chunk("x") : "x";
    REQUIRE(await([&] { return client.socket.wait_readable(5ms) || !client.send(drop); }));
    CHECK(client.read_answer().reason() == "client_timeout");
    CHECK(gateway.settles_at({.rejected = 1}));
    CHECK(gateway.rejected(Reason::client_timeout) == 1);
    CHECK(upstream.request_count() == 0);
  }
}

TEST_CASE("a body that stalls while it streams gives its worker back and fails with 408") {
  std::atomic<bool> was_cut{false};
  FakeUpstream upstream([&](Peer& peer) {
    if (peer.read_request_head()) was_cut = peer.wait_gone();
  });
  conf::Settings settings = settings_for(upstream.port());
  settings.client.body_timeout = 100ms;
  settings.client.body_buffer = conf::KiB(1);
  Gateway gateway(settings);
  Client client(gateway);
  client.send(upload_head("/", 50'000) + pattern(2000));
  check_is_final(client, client.read_answer(), 408, "client_timeout");
  CHECK(await([&] { return was_cut.load(); }));
  CHECK(gateway.settles_at({.failed = 1}));
  CHECK(gateway.failed(Reason::client_timeout) == 1);
}

TEST_CASE("a body that the gateway itself does not read is not too slow") {
  FakeUpstream upstream(FakeUpstream::held());
  conf::Settings settings = settings_for(upstream.port());
  settings.admission.workers = 1;
  settings.client.body_timeout = 50ms;
  settings.client.body_rate_min = {1'000'000};
  settings.client.body_buffer = conf::KiB(1);
  Gateway gateway(settings);
  Client first(gateway), waits(gateway);
  first.send(get("/first"));
  REQUIRE(await([&] { return upstream.holding() == 1; }));
  const std::string body = pattern(3'000'000);
  waits.send(upload_head("/waits", body.size()) + body.substr(0, 5000));
  REQUIRE(gateway.comes_to_wait(1));
  // Whoever starts later and is really too slow tells that the window is over.
  for (int windows = 0; windows < 3; ++windows) {
    Client slow(gateway);
    CHECK(slow.ask(upload_head("/slow", 100)).reason() == "client_timeout");
  }
  CHECK(waits.is_silent());
  CHECK(gateway.snapshot().waiting == 1);
  upstream.release(2);
  CHECK(first.read_answer().status() == 200);
  waits.send(std::string_view(body).substr(5000));
  CHECK(waits.read_answer().body == "POST /waits");
  CHECK(upstream.requests().back().body == body);
  CHECK(gateway.settles_at({.processed = 2, .rejected = 3}));
}

// ---- Nothing happens ---------------------------------------------------------------------------

TEST_CASE("a kept connection that stays idle is closed without a word") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  conf::Settings settings = settings_for(upstream.port());
  settings.client.idle_timeout = 50ms;
  Gateway gateway(settings);
  Client client(gateway);
  CHECK(client.ask(get("/")).field("Connection") != "close");
  CHECK(client.read_answer().status() == 0);
  CHECK(client.is_closed());
  CHECK(gateway.settles_at({.processed = 1}));
  CHECK(await([&] { return gateway.server().connections() == 0; }));
}

TEST_CASE("a client that waits for its answer is not idle") {
  FakeUpstream upstream(FakeUpstream::held());
  conf::Settings settings = settings_for(upstream.port());
  settings.client.idle_timeout = settings.client.header_timeout = settings.client.send_timeout =
      50ms;
  Gateway gateway(settings);
  Client client(gateway);
  client.send(get("/"));
  REQUIRE(await([&] { return upstream.holding() == 1; }));
  for (int timeouts = 0; timeouts < 3; ++timeouts) {
    Client silent(gateway);
    CHECK(silent.is_closed());
  }
  upstream.release();
  CHECK(client.read_answer().status() == 200);
  CHECK(gateway.settles_at({.processed = 1}));
}

// ---- The upstream takes too long ---------------------------------------------------------------

TEST_CASE("finish: the client gets its 504, the worker stays taken until the upstream is done") {
  FakeUpstream upstream(FakeUpstream::held());
  conf::Settings settings = settings_for(upstream.port());
  settings.admission.workers = 1;
  settings.admission.request_timeout = 1s;
  Gateway gateway(settings);
  Client client(gateway);
  const Message answer = client.ask(get("/slow"));
  CHECK(answer.status() == 504);
  CHECK(answer.reason() == "upstream_timeout");
  CHECK(answer.field("Connection") != "close");
  CHECK(await([&] { return gateway.snapshot().workers_without_client == 1; }));
  CHECK(gateway.snapshot().active_workers == 1);
  CHECK(gateway.snapshot().failed[conf::index_of(Reason::upstream_timeout)] == 0);  // not yet over

  client.send(get("/next"));  // the client's connection is fit for another, the worker is not
  REQUIRE(gateway.comes_to_wait(1));
  CHECK(upstream.request_count() == 1);
  upstream.release(2);
  CHECK(client.read_answer().body == "GET /next");
  CHECK(gateway.settles_at({.processed = 1, .failed = 1}));
  CHECK(gateway.failed(Reason::upstream_timeout) == 1);
}

TEST_CASE("finish: an upstream that never ends is cut off after one more request timeout") {
  using Clock = std::chrono::steady_clock;
  std::atomic<Clock::time_point> cut_at{Clock::time_point::max()};
  FakeUpstream upstream(FakeUpstream::each([&](Peer& peer, const Message& request) {
    if (request.target() != "/endless") return void(peer.send(answer_with("served")));
    peer.wait_gone();
    cut_at = Clock::now();
  }));
  conf::Settings settings = settings_for(upstream.port());
  settings.admission.workers = 1;
  settings.admission.request_timeout = 200ms;
  settings.admission.queue_timeout = 200ms;
  Gateway gateway(settings);
  Client client(gateway);
  const auto begin = Clock::now();
  CHECK(client.ask(get("/endless")).status() == 504);
  CHECK(gateway.settles_at({.failed = 1}));
  CHECK(await([&] { return cut_at.load() != Clock::time_point::max(); }));
  CHECK(cut_at.load() - begin >= 2 * settings.admission.request_timeout);  // later is no mistake
  CHECK(client.ask(get("/next")).body == "served");
}

TEST_CASE("cancel: with the 504 the upstream connection is closed and the worker free") {
  std::atomic<bool> was_cut{false};
  FakeUpstream upstream(FakeUpstream::each([&](Peer& peer, const Message& request) {
    if (request.target() == "/slow")
      was_cut = peer.wait_gone();
    else
      peer.send(answer_with("served"));
  }));
  conf::Settings settings = settings_for(upstream.port());
  settings.admission.workers = 1;
  settings.admission.request_timeout = 300ms;
  settings.upstream.on_client_abort = OnClientAbort::cancel;
  Gateway gateway(settings);
  Client client(gateway);
  CHECK(client.ask(post("/slow", "body")).reason() == "upstream_timeout");
  CHECK(gateway.snapshot().active_workers == 0);
  CHECK(await([&] { return was_cut.load(); }));
  CHECK(client.ask(get("/next")).body == "served");
  CHECK(gateway.settles_at({.processed = 1, .failed = 1}));
}

TEST_CASE(
    "a service that waits for the rest of an upload is not to blame that there is no answer") {
  FakeUpstream upstream([](Peer& peer) {
    if (peer.read_request_head()) peer.wait_gone();
  });
  conf::Settings settings = settings_for(upstream.port());
  settings.admission.request_timeout = 100ms;
  settings.upstream.eject_after = 1;
  settings.client.body_buffer = conf::Bytes{1};
  Gateway gateway(settings);
  Client client(gateway);
  client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\nsome");
  CHECK(client.read_answer().reason() == "upstream_timeout");
  CHECK(gateway.settles_at({.failed = 1}));
  CHECK_FALSE(gateway.health().contains("\"ejected\""));
  // One that has all of it is.
  Client other(gateway);
  CHECK(other.ask(post("/", "body")).reason() == "upstream_timeout");
  CHECK(gateway.health().contains("\"ejected\""));
}

TEST_CASE("an answer that stalls half way is cut, so that its client can see it is not whole") {
  for (const OnClientAbort on_abort : {OnClientAbort::finish, OnClientAbort::cancel}) {
    for (const bool is_old : {false, true}) {
      CAPTURE(static_cast<int>(on_abort));
      CAPTURE(is_old);
      FakeUpstream upstream(FakeUpstream::each([](Peer& peer, const Message&) {
        peer.send("HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk("half"));
        peer.wait_gone();
      }));
      conf::Settings settings = settings_for(upstream.port());
      settings.admission.request_timeout = 150ms;
      settings.upstream.on_client_abort = on_abort;
      Gateway gateway(settings);
      Client client(gateway);
      client.send(is_old ? "GET / HTTP/1.0\r\n\r\n" : get("/"));
      const Message answer = client.read_answer();
      CHECK(answer.status() == 200);
      CHECK_FALSE(answer.is_complete);
      CHECK(answer.was_reset == is_old);  // its end is the end of the connection
      CHECK(gateway.settles_at({.failed = 1}));
      CHECK(gateway.failed(Reason::upstream_timeout) == 1);
    }
  }
}

TEST_CASE("a request whose body does not come within the request timeout fails with 408") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  conf::Settings settings = settings_for(upstream.port());
  settings.admission.request_timeout = 100ms;
  Gateway gateway(settings);
  Client client(gateway);
  check_is_final(client, client.ask(upload_head("/", 100)), 408, "client_timeout");
  CHECK(gateway.settles_at({.rejected = 1}));
}

TEST_CASE("whoever waits too long for a worker is told so and may come back") {
  FakeUpstream upstream(FakeUpstream::held());
  conf::Settings settings = settings_for(upstream.port());
  settings.admission.workers = 1;
  settings.admission.queue_timeout = 100ms;
  Gateway gateway(settings);
  Client first(gateway), waiter(gateway);
  first.send(get("/first"));
  REQUIRE(await([&] { return upstream.holding() == 1; }));
  const Message answer = waiter.ask(get("/waiter"));
  CHECK(answer.status() == 503);
  CHECK(answer.reason() == "queue_timeout");
  CHECK(answer.has("Retry-After"));
  CHECK(answer.field("Connection") != "close");
  CHECK(gateway.rejected(Reason::queue_timeout) == 1);
  CHECK(gateway.snapshot().waiting == 0);

  upstream.release(2);
  CHECK(first.read_answer().status() == 200);
  CHECK(waiter.ask(get("/again")).body == "GET /again");
  CHECK(upstream.targets() == std::vector<std::string>{"/first", "/again"});
  CHECK(gateway.settles_at({.processed = 2, .rejected = 1}));
}

TEST_CASE("the request timeout holds in the queue as well") {
  FakeUpstream upstream(FakeUpstream::held());
  conf::Settings settings = settings_for(upstream.port());
  settings.admission.workers = 1;
  settings.admission.request_timeout = settings.admission.queue_timeout = 400ms;
  Gateway gateway(settings);
  Client one(gateway), other(gateway);
  one.send(get("/"));
  other.send(get("/"));
  std::vector<std::string> reasons{one.read_answer().reason(), other.read_answer().reason()};
  std::ranges::sort(reasons);
  CHECK(reasons == std::vector<std::string>{"queue_timeout", "upstream_timeout"});
  CHECK(upstream.request_count() == 1);
  upstream.release();
  CHECK(gateway.settles_at({.failed = 1, .rejected = 1}));
}

// ---- The client reads slowly -------------------------------------------------------------------

constexpr std::size_t much = 64 << 20;  // more than all the buffers on the way can hold

TEST_CASE("a client that reads nothing is cut off, and its worker comes back") {
  const std::string answer = answer_with(std::string(much, 'x'));
  for (const OnClientAbort on_abort : {OnClientAbort::finish, OnClientAbort::cancel}) {
    CAPTURE(static_cast<int>(on_abort));
    std::atomic<int> sent_all{0}, was_cut{0};
    FakeUpstream upstream(FakeUpstream::each(
        [&](Peer& peer, const Message&) { ++(peer.send(answer) ? sent_all : was_cut); }));
    conf::Settings settings = settings_for(upstream.port());
    settings.client.send_timeout = 100ms;
    settings.upstream.on_client_abort = on_abort;
    Gateway gateway(settings);
    Client client(gateway, 4096);
    client.send(get("/big"));
    CHECK(gateway.settles_at({.abandoned = 1}));
    CHECK(await([&] { return sent_all + was_cut == 1; }));
    CHECK(sent_all == (on_abort == OnClientAbort::finish ? 1 : 0));
    CHECK(await([&] { return gateway.server().connections() == 0; }));
    CHECK_FALSE(client.read_answer().is_complete);
  }
}

TEST_CASE("the upstream is held back while the client does not read, and nothing is lost") {
  const std::string mebibyte = pattern(1 << 20);
  std::atomic<std::size_t> pushed{0};
  FakeUpstream upstream(FakeUpstream::each([&](Peer& peer, const Message&) {
    peer.send("HTTP/1.1 200 Fine\r\nContent-Length: " + std::to_string(much) + "\r\n\r\n");
    const std::string_view all = mebibyte;
    for (std::size_t i = 0; i < much / (1 << 16); ++i) {
      if (!peer.send(all.substr((i << 16) % all.size(), 1 << 16))) return;
      pushed += 1 << 16;
    }
  }));
  Gateway gateway(settings_for(upstream.port()));
  Client client(gateway, 4096);
  client.send(get("/big"));
  // Until nothing has moved for many looks.
  std::size_t seen = 0;
  int same = 0;
  REQUIRE(await([&] {
    same = pushed == seen && seen > 0 ? same + 1 : 0;
    seen = pushed;
    return same == 300;
  }));
  CHECK(pushed < much);
  CHECK(gateway.snapshot().active_workers == 1);

  const Message answer = client.read_answer();
  REQUIRE(answer.is_complete);
  REQUIRE(answer.body.size() == much);
  bool is_right = true;
  for (std::size_t at = 0; at < much; at += mebibyte.size())
    is_right = is_right && answer.body.compare(at, mebibyte.size(), mebibyte) == 0;
  CHECK(is_right);
  CHECK(gateway.settles_at({.processed = 1}));
}

TEST_CASE("an answer that fits into the buffer frees its worker before the client reads it") {
  const std::string body = pattern(200'000);
  FakeUpstream upstream(
      FakeUpstream::each([&](Peer& peer, const Message&) { peer.send(answer_with(body)); }));
  conf::Settings settings = settings_for(upstream.port());
  settings.admission.workers = 1;
  Gateway gateway(settings);
  Client lazy(gateway, 4096), quick(gateway);
  lazy.send(get("/lazy"));
  CHECK(gateway.settles_at({.processed = 1}));
  CHECK(quick.ask(get("/quick")).body == body);
  CHECK(lazy.read_answer().body == body);
  CHECK(lazy.ask(get("/lazy")).body == body);
  CHECK(gateway.settles_at({.processed = 3}));
}

// ---- The upstream does not let itself be connected to ------------------------------------------

TEST_CASE("an upstream that does not answer the connection attempt is unreachable") {
  std::uint16_t port = 0;
  const proxy::net::Fd listener = listen_somewhere(port, 0);
  const Socket takes_the_only_place = Socket::connect(port);
  conf::Settings settings = settings_for(port);
  settings.upstream.connect_timeout = 500ms;
  Gateway gateway(settings);
  const Message answer = Client(gateway).ask(get("/"));
  CHECK(answer.status() == 502);
  CHECK(answer.reason() == "upstream_unreachable");
  CHECK(gateway.settles_at({.failed = 1}));
  CHECK(gateway.failed(Reason::upstream_unreachable) == 1);
}

}  // namespace
}  // namespace classgate::gateway::test
