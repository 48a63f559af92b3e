#include <doctest/doctest.h>

#include <list>

#include "conf/format.h"
#include "tests/gateway/kit.h"

// What goes through, in both directions, and what is changed on the way.

namespace classgate::gateway::test {
namespace {

// Answers with the body it was given.
FakeUpstream::Script echo_body() {
  return FakeUpstream::each(
      [](Peer& peer, const Message& request) { peer.send(answer_with(request.body)); });
}

FakeUpstream::Script always(std::string answer) {
  return FakeUpstream::each(
      [answer = std::move(answer)](Peer& peer, const Message&) { peer.send(answer); });
}

TEST_CASE("an answer to HEAD that says a length keeps its connection") {
  // 20 of them took 19 connections.
  FakeUpstream upstream(FakeUpstream::each([](Peer& peer, const Message&) {
    peer.send("HTTP/1.1 200 Fine\r\nContent-Length: 1000\r\n\r\n");
  }));
  Gateway gateway(settings_for(upstream.port()));
  Client client(gateway);
  for (int i = 0; i < 20; ++i) {
    const Message answer = client.ask("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK(answer.status() == 200);
    CHECK(answer.field("Content-Length") == "1000");
  }
  CHECK(upstream.connections() == 1);
}

TEST_CASE("a body behind an answer to HEAD that says no length is nobody's, and no harm") {
  // evhttp writes such answers: whoever sent HEAD made the answer of somebody else a 502.
  FakeUpstream upstream(FakeUpstream::each([](Peer& peer, const Message& request) {
    if (request.method() == "HEAD")
      peer.send("HTTP/1.1 404 No\r\nContent-Type: text/plain\r\n\r\nno such path");
    else
      peer.send(answer_with("fine"));
  }));
  Gateway gateway(settings_for(upstream.port()));
  Client rude(gateway), client(gateway);
  for (int i = 0; i < 10; ++i) {
    CHECK(rude.ask("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n").status() == 404);
    CHECK(client.ask(post("/x", "1")).body == "fine");
  }
  const auto& servers = *gateway.server().policy().servers;
  CHECK(servers.unasked(0) == 0);
}

TEST_CASE("errors of the service say nothing of how long its work takes") {
  FakeUpstream upstream(FakeUpstream::each([](Peer& peer, const Message& request) {
    const bool is_missing = request.target() == "/missing";
    if (!is_missing) peer.work(20ms);
    peer.send(answer_with("", {}, is_missing ? 404 : 200));
  }));
  Gateway gateway(settings_for(upstream.port()));
  Client client(gateway);
  for (int i = 0; i < 10; ++i) CHECK(client.ask(get("/missing")).status() == 404);
  CHECK(gateway.snapshot().average_process == admission::Duration::zero());
  CHECK(client.ask(get("/x")).status() == 200);
  for (int i = 0; i < 10; ++i) CHECK(client.ask(get("/missing")).status() == 404);
  CHECK(gateway.settles_at({.processed = 21}));
  CHECK(gateway.snapshot().average_process >= 20ms);
}

TEST_CASE("the time for which an answer streams is no time that the work took") {
  FakeUpstream upstream(FakeUpstream::each([](Peer& peer, const Message&) {
    peer.send(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        "Transfer-Encoding: chunked\r\n\r\n" +
        chunk("data: 1\n\n"));
    if (peer.hold()) peer.send("0\r\n\r\n");
  }));
  Gateway gateway(settings_for(upstream.port()));
  Client client(gateway);
  const auto before = std::chrono::steady_clock::now();
  client.send(get("/events"));
  REQUIRE(await([&] { return upstream.holding() == 1; }));
  const auto began = std::chrono::steady_clock::now();
  REQUIRE(await([&] { return std::chrono::steady_clock::now() - began > 300ms; }));
  upstream.release();
  CHECK(client.read_answer().body == "data: 1\n\n");
  const auto took = std::chrono::steady_clock::now() - before;
  CHECK(gateway.settles_at({.processed = 1}));
  CHECK(gateway.snapshot().average_process < took - 250ms);
}

TEST_CASE("a request without a Host goes on with the server's own") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  const auto settings = settings_for(upstream.port());
  Gateway gateway(settings);
  for (const std::string body : {"", "x"}) {
    Client client(gateway);
    const std::string length = body.empty() ? "" : "Content-Length: 1\r\n";
    CHECK(client.ask("POST /x HTTP/1.0\r\n" + length + "\r\n" + body).status() == 200);
  }
  for (const Message& seen : upstream.requests()) {
    CHECK(seen.count("Host") == 1);
    CHECK(seen.field("Host") == settings.upstream.servers[0].text);
    CHECK_FALSE(seen.has("X-Forwarded-Host"));
  }
}

TEST_CASE("bodies of every size arrive whole in both directions") {
  FakeUpstream upstream(echo_body());
  Gateway gateway(settings_for(upstream.port()));
  Client client(gateway);
  std::uint64_t count = 0;
  const std::vector<std::size_t> sizes{0,      1,      1000,   16'383,   16'384,
                                       65'535, 65'536, 65'537, 3'000'000};
  for (const std::size_t size : sizes) {
    CAPTURE(size);
    const std::string body = pattern(size);
    client.send(post("/echo", body));
    const Message answer = client.read_answer();
    CHECK(answer.status() == 200);
    CHECK(answer.is_complete);
    CHECK((answer.body == body));
    ++count;
  }
  CHECK(upstream.connections() == 1);
  CHECK(gateway.settles_at({.processed = count}));
}

TEST_CASE("a chunked body arrives whole; when it is all here its length is said") {
  FakeUpstream upstream(echo_body());
  Gateway gateway(settings_for(upstream.port()));
  Client client(gateway);
  CHECK(client.ask(post_chunked("/echo", {"hello", ", ", "world"})).body == "hello, world");
  CHECK(upstream.requests()[0].field("Content-Length") == "12");
  CHECK_FALSE(upstream.requests()[0].has("Transfer-Encoding"));
  // More than client.body_buffer: it streams, and its length is not known yet.
  const std::vector<std::string> pieces(40, pattern(10'000));
  const Message answer = client.ask(post_chunked("/echo", pieces));
  CHECK(answer.body.size() == 400'000);
  CHECK(upstream.requests()[1].field("Transfer-Encoding") == "chunked");
  CHECK_FALSE(upstream.requests()[1].has("Content-Length"));
  CHECK(gateway.settles_at({.processed = 2}));
}

TEST_CASE("trailers go through in both directions") {
  FakeUpstream upstream(always("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
                               chunk("abc") + "0\r\nX-Sum: 123\r\n\r\n"));
  Gateway gateway(settings_for(upstream.port()));
  Client client(gateway);
  const Message answer = client.ask(post_chunked("/x", {"abc"}, "X-Digest: d\r\n"));
  CHECK(answer.body == "abc");
  REQUIRE(answer.trailers.size() == 1);
  CHECK(answer.trailers[0] == std::pair<std::string, std::string>{"X-Sum", "123"});
  REQUIRE(upstream.requests()[0].trailers.size() == 1);
  CHECK(upstream.requests()[0].trailers[0].second == "d");
}

TEST_CASE("HEAD, 204 and 304 have no body, and what follows is not taken for one") {
  FakeUpstream upstream(FakeUpstream::each([](Peer& peer, const Message& request) {
    if (request.method() == "HEAD")
      peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n");
    else if (request.target() == "/204")
      peer.send("HTTP/1.1 204 No Content\r\n\r\n");
    else if (request.target() == "/304")
      peer.send("HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\nETag: \"a\"\r\n\r\n");
    else
      peer.send(answer_with("next"));
  }));
  Gateway gateway(settings_for(upstream.port()));
  Client client(gateway);
  const Message head = client.ask("HEAD /x HTTP/1.1\r\nHost: test\r\n\r\n");
  CHECK(head.status() == 200);
  CHECK(head.field("Content-Length") == "1234");
  CHECK(client.ask(get("/204")).status() == 204);
  const Message unchanged = client.ask(get("/304"));
  CHECK(unchanged.status() == 304);
  CHECK(unchanged.field("ETag") == "\"a\"");
  CHECK(client.ask(get("/x")).body == "next");
  // What these say of a length tells what there would be: their connection is kept.
  CHECK(upstream.connections() == 1);
  CHECK(gateway.settles_at({.processed = 4}));
}

TEST_CASE("interim answers are passed on to clients that know them") {
  FakeUpstream upstream(
      always("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
             "HTTP/1.1 102 Processing\r\n\r\n" +
             answer_with("done")));
  Gateway gateway(settings_for(upstream.port()));
  Client client(gateway);
  const Message answer = client.ask(get("/x"));
  CHECK(answer.interim == std::vector<int>{103, 102});
  CHECK(answer.body == "done");
  Client old(gateway);
  const Message plain = old.ask("GET /x HTTP/1.0\r\n\r\n");
  CHECK(plain.interim.empty());
  CHECK(plain.body == "done");
}

TEST_CASE("Expect: 100-continue is answered when the request is admitted, and not passed on") {
  FakeUpstream upstream(echo_body());
  conf::Settings settings = settings_for(upstream.port());
  settings.admission.rate = 0.001;
  settings.admission.burst = 1;
  Gateway gateway(settings);
  Client client(gateway);
  client.send(
      "POST /x HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
  std::string interim;
  REQUIRE(client.socket.read(interim) == Socket::Got::some);
  CHECK(interim == "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("hello");
  CHECK(client.read_answer().body == "hello");
  CHECK_FALSE(upstream.requests()[0].has("Expect"));
  // The bucket is empty: the second one is told before it sends anything.
  client.send(
      "POST /x HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
  const Message refused = client.read_answer();
  CHECK(refused.interim.empty());
  CHECK(refused.status() == 429);
  CHECK(refused.field("Connection") == "close");
  CHECK(upstream.request_count() == 1);
}

TEST_CASE("hop-by-hop fields stay on their hop, in both directions") {
  FakeUpstream upstream(always(
      answer_with("x",
                  "Connection: X-Secret, keep-alive\r\nX-Secret: s\r\nKeep-Alive: timeout=5\r\n"
                  "Proxy-Authenticate: Basic\r\nUpgrade: h2c\r\nX-Kept: yes\r\n")));
  Gateway gateway(settings_for(upstream.port()));
  Client client(gateway);
  const Message answer =
      client.ask(get("/x",
                     "Connection: X-Mine, keep-alive\r\nX-Mine: m\r\nKeep-Alive: 5\r\n"
                     "Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\n"
                     "TE: trailers\r\nUpgrade: websocket\r\nX-Kept: yes\r\n"));
  const Message seen = upstream.requests()[0];
  for (const char* name : {"X-Mine", "Keep-Alive", "Proxy-Connection", "TE", "Upgrade"}) {
    CAPTURE(name);
    CHECK_FALSE(seen.has(name));
  }
  for (const char* name : {"X-Secret", "Keep-Alive", "Upgrade"}) {
    CAPTURE(name);
    CHECK_FALSE(answer.has(name));
  }
  CHECK(seen.field("X-Kept") == "yes");
  CHECK(answer.field("X-Kept") == "yes");
}

TEST_CASE("a request that comes round to the gateway takes one worker and ends with 508") {
  // The gateway as its own server: one request took all workers and the queue until it timed out.
  auto settings = settings_for(1);
  Gateway gateway(settings), other(settings);
  const auto lead = [&](Gateway& from, const Gateway& to) {
    settings.upstream.servers = {
        {"127.0.0.1", to.port(), "127.0.0.1:" + std::to_string(to.port())}};
    const auto done = from.server().reconfigure(settings, {});
    REQUIRE_MESSAGE(done.has_value(), done.error());
  };
  lead(gateway, gateway);
  const Message own = Client(gateway).ask(post("/v1/classify", "x"));
  CHECK(own.status() == 508);
  CHECK(own.reason() == "loop_detected");
  CHECK(gateway.settles_at({.processed = 1, .rejected = 1}));

  lead(gateway, other);
  lead(other, gateway);
  CHECK(Client(gateway).ask(get("/x")).status() == 508);
  CHECK(gateway.settles_at({.processed = 2, .rejected = 2}));
  CHECK(other.settles_at({.processed = 1}));
  // A name like ours is not ours.
  CHECK(Client(other).ask(get("/x", "Via: 1.1 classgate\r\n")).status() == 508);
  CHECK(other.settles_at({.processed = 2, .rejected = 1}));
}

TEST_CASE("the forwarded fields say who asked whom for what") {
  FakeUpstream upstream(always(answer_with("x", "Via: 1.1 inner\r\nDate: today\r\n")));
  Gateway gateway(settings_for(upstream.port()));
  Client client(gateway);
  const Message answer = client.ask(
      "GET /x?q=1 HTTP/1.1\r\nHost: models.example:81\r\nX-Forwarded-For: 203.0.113.9\r\n"
      "Via: 1.0 outer\r\n\r\n");
  const Message seen = upstream.requests()[0];
  CHECK(seen.first_line == "GET /x?q=1 HTTP/1.1");
  CHECK(seen.field("Host") == "models.example:81");
  CHECK(seen.field("X-Forwarded-For") == "127.0.0.1");
  CHECK(seen.field("X-Forwarded-Proto") == "http");
  CHECK(seen.field("X-Forwarded-Host") == "models.example:81");
  CHECK(seen.field("Via") == "1.0 outer, 1.1 " + gateway.server().shared().via_name);
  CHECK(seen.field("X-Request-Id").size() == 32);
  CHECK(answer.field("X-Request-Id") == seen.field("X-Request-Id"));
  CHECK(answer.field("Via") == "1.1 inner, 1.1 classgate");
  CHECK(answer.field("Date") == "today");
}

TEST_CASE("the path that is judged is the path that is forwarded") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(settings_for(upstream.port()));
  Client client(gateway);
  CHECK(client.ask(get("/v1/classify/../../health?a=/../b")).body == "GET /health?a=/../b");
  CHECK(client.ask(get("/%68ealth")).body == "GET /health");
  CHECK(client.ask(get("//health")).body == "GET /health");
  CHECK(client.ask(get("http://other.example/x?y")).body == "GET /x?y");
  CHECK(upstream.requests()[3].field("Host") == "other.example");
  CHECK(client.ask("OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n").body == "OPTIONS *");
}

TEST_CASE("pipelined requests are answered in order, refused ones among them") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(settings_for(upstream.port()));
  Client client(gateway);
  std::string all;
  for (int i = 0; i < 20; ++i)
    all += i % 5 == 4   ? get("/queue/health")
           : i % 2 == 0 ? get(fmt::format("/{}", i))
                        : post(fmt::format("/{}", i), pattern(500));
  client.send(all);
  for (int i = 0; i < 20; ++i) {
    CAPTURE(i);
    const Message answer = client.read_answer();
    CHECK(answer.status() == 200);
    if (i % 5 == 4)
      CHECK(answer.body.find("total_requests") != std::string::npos);
    else
      CHECK(answer.body == fmt::format("{} /{}", i % 2 == 0 ? "GET" : "POST", i));
  }
  CHECK(gateway.settles_at({.processed = 16}));
}

TEST_CASE("connections are kept or closed as the client asks") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(settings_for(upstream.port()));
  struct Row {
    std::string request;
    bool is_kept;
  };
  const std::vector<Row> rows{
      {get("/x"), true},
      {get("/x", "Connection: close\r\n"), false},
      {get("/x", "Connection: Keep-Alive, CLOSE\r\n"), false},
      {"GET /x HTTP/1.0\r\n\r\n", false},
      {"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true},
  };
  for (const Row& row : rows) {
    CAPTURE(row.request);
    Client client(gateway);
    const Message answer = client.ask(row.request);
    CHECK(answer.status() == 200);
    if (row.is_kept)
      CHECK(client.ask(get("/again")).body == "GET /again");
    else
      CHECK(client.is_closed());
  }
  // Whatever the clients do, the connection to the upstream is kept.
  CHECK(upstream.connections() <= static_cast<int>(run().threads));
}

TEST_CASE("the connection used last is used first") {
  FakeUpstream upstream(FakeUpstream::held());
  conf::Settings settings = settings_for(upstream.port());
  settings.threads = 1;
  Gateway gateway(settings);
  std::list<Client> clients;  // a Client stays where it is
  for (int i = 0; i < 4; ++i) clients.emplace_back(gateway);
  for (Client& client : clients) client.send(get("/together"));
  REQUIRE(await([&] { return upstream.holding() == 4; }));
  upstream.release(4);
  for (Client& client : clients) REQUIRE(client.read_answer().status() == 200);
  CHECK(upstream.connections() == 4);
  upstream.release(20);
  for (int i = 0; i < 20; ++i) CHECK(clients.front().ask(get("/alone")).status() == 200);
  CHECK(upstream.connections() == 4);
}

TEST_CASE("the upstream is read no faster than the client reads") {
  const std::size_t size = 64 << 20;
  std::atomic<std::size_t> sent{0};
  std::atomic<bool> stalled{false};
  FakeUpstream upstream(FakeUpstream::each([&](Peer& peer, const Message&) {
    peer.send(fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", size));
    const std::string piece = pattern(64 << 10);
    while (sent < size) {
      const std::size_t fits =
          peer.socket.send_what_fits(std::string_view(piece).substr(sent % piece.size()));
      if (fits > 0) {
        sent += fits;
        continue;
      }
      stalled = true;
      if (!peer.send(piece.substr(sent % piece.size(), 1))) return;
      ++sent;
    }
  }));
  Gateway gateway(settings_for(upstream.port()));
  Client client(gateway, 4096);
  client.send(get("/large"));
  REQUIRE(await([&] { return stalled.load(); }));
  // response_buffer and the kernels' buffers hold something, but nothing near all of it.
  CHECK(sent < size / 2);
  const Message answer = client.read_answer();
  CHECK(answer.is_complete);
  CHECK(answer.body.size() == size);
  const std::string piece = pattern(64 << 10);
  bool is_same = true;
  for (std::size_t at = 0; at < size; at += piece.size())
    is_same = is_same && answer.body.compare(at, piece.size(), piece) == 0;
  CHECK(is_same);
  CHECK(gateway.settles_at({.processed = 1}));
}

}  // namespace
}  // namespace classgate::gateway::test
