#include <doctest/doctest.h>

#include "conf/format.h"
#include "tests/gateway/kit.h"

// What an upstream can do wrong, and what the client hears of it (DESIGN section 7).

namespace classgate::gateway::test {
namespace {

using conf::Reason;

// Misbehaves for as long as it is told to, then answers as it should.
class Rude {
 public:
  explicit Rude(FakeUpstream::Handler misdeed)
      : upstream(FakeUpstream::each(
            [this, misdeed = std::move(misdeed)](Peer& peer, const Message& request) {
              if (is_rude)
                misdeed(peer, request);
              else
                peer.send(answer_with("well"));
            })) {}
  std::atomic<bool> is_rude{true};
  FakeUpstream upstream;
};

void serves_again(Rude& rude, Gateway& gateway) {
  rude.is_rude = false;
  Client next(gateway);
  CHECK(next.ask(post("/v1/classify", "x")).body == "well");
}

TEST_CASE("an upstream that answers nonsense, or nothing, is a 502 for the client") {
  struct Row {
    std::string what;
    std::string answer;  // then the connection ends
  };
  const std::vector<Row> rows{
      {"nothing at all", ""},
      {"garbage", "SSH-2.0-OpenSSH_9.2\r\n\r\n"},
      {"binary garbage", std::string("\x16\x03\x01\x00\x00", 5)},
      {"a head that never ends", "HTTP/1.1 200 OK\r\nX: y\r\n"},
      {"a version from the future", "HTTP/3.0 200 OK\r\nContent-Length: 0\r\n\r\n"},
      {"a length and chunks",
       "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"},
      {"a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"},
      {"a length that overflows",
       "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n"},
      {"a coding we do not know", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc"},
      {"bare line feeds", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"},
      {"a NUL in the head", std::string("HTTP/1.1 200 OK\r\nX: \0\r\n\r\n", 26)},
      {"a folded field", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"},
      {"a head beyond upstream.header_bytes",
       "HTTP/1.1 200 OK\r\nX: " + std::string(70'000, 'x') + "\r\n\r\n"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    Rude rude([&row](Peer& peer, const Message&) {
      peer.send(row.answer);
      peer.socket.close();
    });
    Gateway gateway(settings_for(rude.upstream.port()));
    Client client(gateway);
    const Message answer = client.ask(post("/v1/classify", "x"));
    CHECK(answer.status() == 502);
    CHECK(answer.reason() == "upstream_broken");
    CHECK(answer.field("Content-Type") == "application/problem+json");
    CHECK(answer.body.find(R"("reason":"upstream_broken")") != std::string::npos);
    CHECK(gateway.settles_at({.failed = 1}));
    CHECK(rude.upstream.request_count() == 1);  // a POST that may have run is not sent twice
    serves_again(rude, gateway);
    CHECK(client.ask(post("/v1/classify", "x")).body == "well");  // this client's connection stands
  }
}

TEST_CASE("an upstream that resets before its answer: a POST fails, a GET is tried once more") {
  Rude rude([](Peer& peer, const Message&) { peer.socket.reset(); });
  Gateway gateway(settings_for(rude.upstream.port()));
  Client client(gateway);
  CHECK(client.ask(post("/v1/classify", "x")).reason() == "upstream_broken");
  CHECK(rude.upstream.request_count() == 1);
  CHECK(client.ask(get("/anything")).reason() == "upstream_broken");
  CHECK(rude.upstream.request_count() == 3);
  CHECK(gateway.settles_at({.failed = 2}));
  serves_again(rude, gateway);
}

TEST_CASE("an answer that breaks off after its head is cut off for the client as well") {
  struct Row {
    std::string what;
    std::string answer;
    bool resets;
    bool ends_in_reset;  // the only way to tell when the end of the stream would mean completeness
  };
  const std::vector<Row> rows{
      {"short of its length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", false, false},
      {"chunks without an end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
       false, false},
      {"a chunk that breaks off", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nabc",
       false, false},
      {"a chunk size that is none",
       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nwrong\r\n", false, false},
      {"a reset in the body", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", true, false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    Rude rude([&row](Peer& peer, const Message&) {
      peer.send(row.answer);
      // A reset may overtake what was sent: only when the client has it.
      if (row.resets) {
        if (peer.hold()) peer.socket.reset();
      } else {
        peer.socket.close();
      }
    });
    Gateway gateway(settings_for(rude.upstream.port()));
    Client client(gateway);
    client.send(post("/v1/classify", "x"));
    REQUIRE(client.socket.wait_readable());
    if (row.resets) rude.upstream.release();
    const Message answer = client.read_answer();
    CHECK(answer.status() == 200);
    CHECK_FALSE(answer.is_complete);
    CHECK(answer.body == "abc");
    CHECK(gateway.settles_at({.failed = 1}));
    CHECK(gateway.failed(Reason::upstream_broken) == 1);
    serves_again(rude, gateway);
  }
}

TEST_CASE("a reset in an answer without framing reaches an HTTP/1.0 client as a reset") {
  Rude rude([](Peer& peer, const Message&) {
    peer.send("HTTP/1.0 200 OK\r\n\r\nabc");
    if (peer.hold()) peer.socket.reset();
  });
  Gateway gateway(settings_for(rude.upstream.port()));
  Client client(gateway);
  client.send("GET /x HTTP/1.0\r\n\r\n");
  REQUIRE(client.socket.wait_readable());
  rude.upstream.release();
  const Message answer = client.read_answer();
  CHECK(answer.was_reset);
  CHECK_FALSE(answer.is_complete);
  CHECK(gateway.settles_at({.failed = 1}));
}

TEST_CASE("an answer without framing ends with its connection and is complete") {
  Rude rude([](Peer& peer, const Message&) {
    peer.send("HTTP/1.0 200 OK\r\nX-Kind: old\r\n\r\n" + pattern(100'000));
    peer.socket.close();
  });
  Gateway gateway(settings_for(rude.upstream.port()));
  Client modern(gateway);
  const Message chunked = modern.ask(get("/x"));
  CHECK(chunked.is_complete);
  CHECK(chunked.field("Transfer-Encoding") == "chunked");
  CHECK(chunked.body == pattern(100'000));
  Client old(gateway);
  const Message closed = old.ask("GET /x HTTP/1.0\r\n\r\n");
  CHECK(closed.is_complete);
  CHECK_FALSE(closed.has("Transfer-Encoding"));
  CHECK(closed.body == pattern(100'000));
  CHECK(gateway.settles_at({.processed = 2}));
  serves_again(rude, gateway);
}

// A kept connection that the upstream closes while it is idle, then another request.
void check_stale_connection(const std::string& request) {
  std::atomic<int> connection{0};
  FakeUpstream upstream([&](Peer& peer) {
    const bool is_first = connection++ == 0;
    while (const auto got = peer.read_request()) {
      peer.send(answer_with("well"));
      if (!is_first) continue;
      peer.hold();
      return;  // closes
    }
  });
  Gateway gateway(settings_for(upstream.port()));
  Client client(gateway);
  REQUIRE(client.ask(request).status() == 200);
  upstream.release();
  REQUIRE(await([&] { return upstream.open_connections() == 0; }));
  CHECK(client.ask(request).status() == 200);
  CHECK(gateway.settles_at({.processed = 2}));
  CHECK(upstream.connections() == 2);
}

TEST_CASE("a kept connection that was closed meanwhile is not noticed by any client") {
  check_stale_connection(get("/x"));
  check_stale_connection(post("/v1/classify", "x"));
}

TEST_CASE("a kept connection reset under a POST that came before: not sent twice") {
  // Whether the process had read it nobody can tell from a reset: one that had, and reset at once,
  // looks the same.
  std::atomic<bool> reads{false};
  FakeUpstream upstream([&](Peer& peer) {
    while (const auto got = peer.read_request()) {
      peer.send(answer_with("well"));
      if (!peer.socket.wait_readable()) return;
      if (reads) peer.read_request();
      peer.socket.reset();
    }
  });
  Gateway gateway(settings_for(upstream.port()));
  Client client(gateway);
  for (const bool does : {false, true}) {
    reads = does;
    const std::size_t before = upstream.request_count();
    REQUIRE(client.ask(post("/v1/classify", "x")).status() == 200);
    CHECK(client.ask(post("/v1/classify", "x")).reason() == "upstream_broken");
    CHECK(upstream.request_count() == before + (does ? 2 : 1));
  }
  CHECK(gateway.settles_at({.processed = 2, .failed = 2}));
}

TEST_CASE("a kept connection closed in order after the POST was read: not sent twice") {
  std::atomic<int> served{0};
  FakeUpstream upstream(FakeUpstream::each([&](Peer& peer, const Message&) {
    if (served++ == 0)
      peer.send(answer_with("well"));
    else
      peer.socket.close();
  }));
  Gateway gateway(settings_for(upstream.port()));
  Client client(gateway);
  REQUIRE(client.ask(post("/v1/classify", "x")).status() == 200);
  CHECK(client.ask(post("/v1/classify", "x")).status() == 502);
  CHECK(upstream.request_count() == 2);
  CHECK(gateway.settles_at({.processed = 1, .failed = 1}));
}

TEST_CASE("a silent upstream is a 504, and the next request is served") {
  Rude rude([](Peer& peer, const Message&) { peer.wait_gone(); });
  conf::Settings settings = settings_for(rude.upstream.port());
  settings.admission.request_timeout = 150ms;
  settings.admission.queue_timeout = 150ms;
  settings.upstream.on_client_abort = conf::OnClientAbort::cancel;
  Gateway gateway(settings);
  Client client(gateway);
  const Message answer = client.ask(post("/v1/classify", "x"));
  CHECK(answer.status() == 504);
  CHECK(answer.reason() == "upstream_timeout");
  CHECK(gateway.settles_at({.failed = 1}));
  CHECK(await([&] { return rude.upstream.open_connections() == 0; }));
  serves_again(rude, gateway);
}

TEST_CASE("an answer that stalls in its body is cut off at the request timeout") {
  Rude rude([](Peer& peer, const Message&) {
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    peer.wait_gone();
  });
  conf::Settings settings = settings_for(rude.upstream.port());
  settings.admission.request_timeout = 150ms;
  settings.admission.queue_timeout = 150ms;
  settings.upstream.on_client_abort = conf::OnClientAbort::cancel;
  Gateway gateway(settings);
  Client client(gateway);
  const Message answer = client.ask(post("/v1/classify", "x"));
  CHECK(answer.status() == 200);
  CHECK_FALSE(answer.is_complete);
  CHECK(gateway.settles_at({.failed = 1}));
  CHECK(gateway.failed(Reason::upstream_timeout) == 1);
  serves_again(rude, gateway);
}

TEST_CASE("an answer that comes before the request was sent whole is passed on") {
  FakeUpstream upstream([](Peer& peer) {
    if (!peer.read_request_head()) return;
    peer.send(answer_with("too much", "Connection: close\r\n", 413));
    peer.wait_gone();
  });
  conf::Settings settings = settings_for(upstream.port());
  settings.client.body_buffer = conf::Bytes{1000};
  Gateway gateway(settings);
  Client client(gateway);
  client.send("POST /v1/classify HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n" +
              pattern(50'000));
  const Message answer = client.read_answer();
  CHECK(answer.status() == 413);
  CHECK(answer.body == "too much");
  CHECK(answer.field("Connection") == "close");
  CHECK(gateway.settles_at({.processed = 1}));
}

TEST_CASE(
    "what an upstream sends beyond its answer costs it the connection, nobody else anything") {
  FakeUpstream upstream(FakeUpstream::each([](Peer& peer, const Message& request) {
    peer.send(answer_with(request.target()) + answer_with("not asked for"));
  }));
  Gateway gateway(settings_for(upstream.port()));
  Client client(gateway);
  for (int i = 0; i < 5; ++i) {
    const std::string target = fmt::format("/{}", i);
    CHECK(client.ask(get(target)).body == target);
  }
  CHECK(upstream.connections() == 5);
  CHECK(gateway.settles_at({.processed = 5}));
}

}  // namespace
}  // namespace classgate::gateway::test
