#include <doctest/doctest.h>

#include "conf/format.h"
#include "tests/gateway/kit.h"

// What the gateway itself refuses: each answer, its reason, the books, and that the upstream never
// hears of it.

namespace classgate::gateway::test {
namespace {

using conf::Reason;

void check_refusal(const Message& answer, int status, Reason reason) {
  CHECK(answer.status() == status);
  CHECK(answer.reason() == conf::word_of(reason));
  CHECK(answer.is_complete);
  CHECK(answer.field("Content-Type") == "application/problem+json");
  CHECK(answer.field("Cache-Control") == "no-store");
  CHECK(answer.field("Date").ends_with(" GMT"));
  CHECK(answer.body.find(fmt::format(R"("reason":"{}")", conf::word_of(reason))) !=
        std::string::npos);
  CHECK(answer.body.find(fmt::format(R"("status":{})", status)) != std::string::npos);
}

struct BadRequest {
  std::string what;
  std::string text;
  int status;
  Reason reason;
};

std::vector<BadRequest> bad_requests() {
  const auto with = [](std::string_view fields) {
    return fmt::format("POST /x HTTP/1.1\r\nHost: a\r\n{}\r\n", fields);
  };
  return {
      {"not HTTP", "\x16\x03\x01 hello\r\n\r\n", 400, Reason::malformed},
      {"no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", 400, Reason::malformed},
      {"a method longer than any", std::string(65, 'M') + " /x HTTP/1.1\r\nHost: a\r\n\r\n", 501,
       Reason::unknown_method},
      {"a method that is no token", "FR@B /x HTTP/1.1\r\nHost: a\r\n\r\n", 400, Reason::malformed},
      {"an unknown method without a version", "FROB /x\r\nHost: a\r\n\r\n", 400, Reason::malformed},
      {"a fragment", "GET /x#y HTTP/1.1\r\nHost: a\r\n\r\n", 400, Reason::malformed},
      {"a hidden dot segment", "GET /health%2F..%2Fx HTTP/1.1\r\nHost: a\r\n\r\n", 400,
       Reason::malformed},
      {"a Host that is none", "GET /x HTTP/1.1\r\nHost: a:b\r\n\r\n", 400, Reason::malformed},
      {"endless chunk extensions",
       with("Transfer-Encoding: chunked\r\n") + "1;" + std::string(20'000, 'x'), 400,
       Reason::malformed},
      {"no Host", "GET /x HTTP/1.1\r\n\r\n", 400, Reason::malformed},
      {"two Hosts", "GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, Reason::malformed},
      {"a relative target", "GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400, Reason::malformed},
      {"an encoded NUL", "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400, Reason::malformed},
      {"half an escape", "GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n", 400, Reason::malformed},
      {"bare line feeds", "GET /x HTTP/1.1\nHost: a\n\n", 400, Reason::malformed},
      {"a space before the colon", with("X : y\r\n"), 400, Reason::malformed},
      {"a folded field", with("X: a\r\n b\r\n"), 400, Reason::malformed},
      {"a control character", with("X: a\x01\r\n"), 400, Reason::malformed},
      {"a length and chunks", with("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), 400,
       Reason::malformed},
      {"two lengths", with("Content-Length: 3\r\nContent-Length: 4\r\n") + "abcd", 400,
       Reason::malformed},
      {"a signed length", with("Content-Length: +3\r\n") + "abc", 400, Reason::malformed},
      {"a list of lengths", with("Content-Length: 3, 3\r\n") + "abc", 400, Reason::malformed},
      {"a length that overflows", with("Content-Length: 18446744073709551617\r\n"), 400,
       Reason::malformed},
      {"chunked before another coding", with("Transfer-Encoding: chunked, gzip\r\n"), 400,
       Reason::malformed},
      {"a chunk size that is none", with("Transfer-Encoding: chunked\r\n") + "zz\r\n", 400,
       Reason::malformed},
      {"a chunk longer than it says", with("Transfer-Encoding: chunked\r\n") + "3\r\nabcd\r\n", 400,
       Reason::malformed},
      {"a malformed trailer", with("Transfer-Encoding: chunked\r\n") + "0\r\n bad\r\n\r\n", 400,
       Reason::malformed},
      {"another coding", with("Transfer-Encoding: gzip, chunked\r\n"), 501, Reason::unknown_coding},
      {"HTTP/2", "GET /x HTTP/2.0\r\nHost: a\r\n\r\n", 505, Reason::version_refused},
      {"CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405, Reason::method_refused},
      {"an expectation of another kind", with("Expect: cake\r\nContent-Length: 0\r\n"), 417,
       Reason::expectation_failed},
      {"a long target", "GET /" + std::string(9000, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n", 414,
       Reason::target_too_long},
      {"a large field", with("X: " + std::string(40'000, 'x') + "\r\n"), 431,
       Reason::header_too_large},
      {"a header without an end", "GET /x HTTP/1.1\r\nX: " + std::string(40'000, 'x'), 431,
       Reason::header_too_large},
      {"a body that says it is too large", with("Content-Length: 10485761\r\n"), 413,
       Reason::body_too_large},
  };
}

TEST_CASE("each bad request is refused with its reason, and the upstream never hears of it") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(settings_for(upstream.port()));
  std::uint64_t refused = 0;
  for (const BadRequest& bad : bad_requests()) {
    CAPTURE(bad.what);
    const std::uint64_t before = gateway.rejected(bad.reason);
    Client client(gateway);
    check_refusal(client.ask(bad.text), bad.status, bad.reason);
    CHECK(gateway.settles_at({.rejected = ++refused}));
    CHECK(gateway.rejected(bad.reason) == before + 1);
  }
  CHECK(upstream.request_count() == 0);
  Client client(gateway);
  CHECK(client.ask(get("/fine")).status() == 200);
}

TEST_CASE("after a request whose end is not known the connection is closed") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(settings_for(upstream.port()));
  for (const BadRequest& bad : bad_requests()) {
    if (bad.status == 405 || bad.status == 417) continue;  // those were whole
    CAPTURE(bad.what);
    Client client(gateway);
    const Message answer = client.ask(bad.text + get("/smuggled"));
    CHECK(answer.field("Connection") == "close");
    CHECK(client.is_closed());
  }
  CHECK(upstream.request_count() == 0);
}

TEST_CASE("every request of the table may be cut anywhere and is refused all the same") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(settings_for(upstream.port()));
  for (const BadRequest& bad : bad_requests()) {
    if (bad.text.size() > 200) continue;
    CAPTURE(bad.what);
    Client client(gateway);
    for (const char byte : bad.text)
      if (!client.send(std::string_view(&byte, 1))) break;
    CHECK(client.read_answer().status() == bad.status);
  }
  CHECK(upstream.request_count() == 0);
}

TEST_CASE("a good request may come byte by byte") {
  FakeUpstream upstream(
      FakeUpstream::each([](Peer& peer, const Message& m) { peer.send(answer_with(m.body)); }));
  Gateway gateway(settings_for(upstream.port()));
  Client client(gateway);
  for (const std::string& request : {post("/x", "hello"), post_chunked("/x", {"hel", "lo"})}) {
    for (const char byte : request) REQUIRE(client.send(std::string_view(&byte, 1)));
    CHECK(client.read_answer().body == "hello");
  }
  CHECK(gateway.settles_at({.processed = 2}));
}

TEST_CASE("empty lines between requests mean nothing") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_for(upstream.port());
  settings.client.header_timeout = 50ms;
  Gateway gateway(settings);
  Client client(gateway);
  CHECK(client.ask(post("/a", "x") + "\r\n").body == "POST /a");
  // Had the line begun a request, that would be over by now.
  const auto start = std::chrono::steady_clock::now();
  REQUIRE(await([&] { return std::chrono::steady_clock::now() > start + 150ms; }));
  CHECK(client.ask("\r\n\r\n" + post("/b", "x")).body == "POST /b");
  CHECK(gateway.settles_at({.processed = 2}));
}

TEST_CASE("too many fields are too large a header") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(settings_for(upstream.port()));
  const auto request_with = [](int fields) {
    std::string text = "GET /x HTTP/1.1\r\nHost: a\r\n";
    for (int i = 1; i < fields; ++i) text += "X: y\r\n";
    return text + "\r\n";
  };
  Client client(gateway);
  CHECK(client.ask(request_with(100)).status() == 200);
  check_refusal(client.ask(request_with(101)), 431, Reason::header_too_large);
}

TEST_CASE("a chunked body that grows beyond client.body_bytes ends with 413") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  conf::Settings settings = settings_for(upstream.port());
  settings.client.body_bytes = conf::Bytes{1000};
  settings.client.body_buffer = conf::Bytes{2000};
  Gateway gateway(settings);
  Client client(gateway);
  CHECK(client.ask(post_chunked("/x", {std::string(1000, 'x')})).status() == 200);
  check_refusal(client.ask(post_chunked("/x", {std::string(900, 'x'), std::string(101, 'x')})), 413,
                Reason::body_too_large);
  CHECK(upstream.request_count() == 1);
  CHECK(gateway.settles_at({.processed = 1, .rejected = 1}));
}

TEST_CASE("a 413 in the middle of an upload frees the worker") {
  FakeUpstream upstream([](Peer& peer) {
    if (peer.read_request_head()) peer.wait_gone();
  });
  conf::Settings settings = settings_for(upstream.port());
  settings.client.body_bytes = conf::Bytes{100'000};
  settings.client.body_buffer = conf::Bytes{1000};
  Gateway gateway(settings);
  Client client(gateway);
  client.send("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
              chunk(pattern(50'000)));
  REQUIRE(gateway.comes_to_run(1));
  client.send(chunk(pattern(60'000)));
  check_refusal(client.read_answer(), 413, Reason::body_too_large);
  CHECK(gateway.settles_at({.failed = 1}));
  CHECK(await([&] { return upstream.open_connections() == 0; }));
}

TEST_CASE("an empty bucket is a 429 that says when to come back") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  conf::Settings settings = settings_for(upstream.port());
  settings.admission.rate = 0.01;
  settings.admission.burst = 3;
  Gateway gateway(settings);
  Client client(gateway);
  for (int i = 0; i < 3; ++i) CHECK(client.ask(post("/v1/classify", "x")).status() == 200);
  const Message refused = client.ask(post("/v1/classify", "x"));
  check_refusal(refused, 429, Reason::rate_limited);
  const int seconds = std::atoi(refused.field("Retry-After").c_str());
  CHECK(seconds > 0);
  CHECK(seconds <= 100);
  CHECK(client.ask(get("/health")).status() == 200);  // not rate limited, same connection
  CHECK(gateway.settles_at({.processed = 4, .rejected = 1}));
}

TEST_CASE("a full queue is a 503; a better priority still gets in, and the newest gives way") {
  FakeUpstream upstream(FakeUpstream::held());
  conf::Settings settings = settings_for(upstream.port());
  settings.admission.workers = 1;
  settings.admission.queue_size = 2;
  Gateway gateway(settings);
  Client running(gateway), first(gateway), newest(gateway), late(gateway), urgent(gateway);
  running.send(post("/v1/classify", "x"));
  REQUIRE(gateway.comes_to_run(1));
  first.send(post("/v1/classify", "x"));
  REQUIRE(gateway.comes_to_wait(1));
  newest.send(post("/v1/classify", "x"));
  REQUIRE(gateway.comes_to_wait(2));
  const Message full = late.ask(post("/v1/classify", "x"));
  check_refusal(full, 503, Reason::queue_full);
  CHECK(std::atoi(full.field("Retry-After").c_str()) > 0);
  CHECK(full.body.find(R"("queue_size":2,"position":3,"estimated_wait_ms":)") != std::string::npos);
  CHECK(full.body.ends_with("}\n"));
  urgent.send(get("/health"));
  check_refusal(newest.read_answer(), 503, Reason::displaced);
  upstream.release(3);
  CHECK(urgent.read_answer().body == "GET /health");
  CHECK(first.read_answer().status() == 200);
  CHECK(running.read_answer().status() == 200);
  CHECK(upstream.targets() == std::vector<std::string>{"/v1/classify", "/health", "/v1/classify"});
  CHECK(gateway.settles_at({.processed = 3, .rejected = 2}));
}

TEST_CASE("the status of every reason can be changed") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  conf::Settings settings = settings_for(upstream.port());
  settings.admission.rate = 0.01;
  settings.admission.burst = 1;
  settings.statuses[conf::index_of(Reason::rate_limited)] = 529;
  Gateway gateway(settings);
  Client client(gateway);
  CHECK(client.ask(get("/x")).status() == 200);
  check_refusal(client.ask(get("/x")), 529, Reason::rate_limited);
}

TEST_CASE("a route is refused in words and with statuses of its own") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  conf::Settings settings = settings_for(upstream.port());
  settings.admission.rate = 0.01;
  settings.admission.burst = 1;
  settings.client.refusal_body = conf::RefusalBody::text;
  settings.routes.push_back({.path = "/own",
                             .priority = 3,
                             .refusal_body = conf::RefusalBody::openai,
                             .statuses = {{Reason::rate_limited, 503}}});
  Gateway gateway(settings);
  Client client(gateway);
  CHECK(client.ask(get("/x")).status() == 200);
  const Message own = client.ask(get("/own"));
  CHECK(own.status() == 503);
  CHECK(own.field("Content-Type") == "application/json");
  CHECK(own.body.find(R"("error":{"message":"The request rate is exceeded; try again in )") !=
        std::string::npos);
  const Message general = client.ask(get("/x"));
  CHECK(general.status() == 429);
  CHECK(general.field("Content-Type").starts_with("text/plain"));
  CHECK(general.body.starts_with("The request rate is exceeded; try again in "));
  // What has no route yet is refused in general words.
  CHECK(client.ask("GET  /own HTTP/1.1\r\nHost: a\r\n\r\n").body == "The request is malformed\n");
}

TEST_CASE("HEAD is refused without a body") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  conf::Settings settings = settings_for(upstream.port());
  settings.admission.rate = 0.01;
  settings.admission.burst = 1;
  Gateway gateway(settings);
  Client client(gateway);
  CHECK(client.ask(get("/x")).status() == 200);
  const Message refused = client.ask("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n");
  CHECK(refused.status() == 429);
  CHECK(refused.has("Content-Length"));
  CHECK(client.ask(get("/health")).body == "GET /health");  // in step: no body came
}

TEST_CASE("a refused request's body is skipped, and the connection goes on") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  conf::Settings settings = settings_for(upstream.port());
  settings.admission.rate = 0.01;
  settings.admission.burst = 1;
  Gateway gateway(settings);
  Client client(gateway);
  CHECK(client.ask(get("/x")).status() == 200);
  client.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
  CHECK(client.read_answer().status() == 429);
  client.send("defghij" + get("/health"));
  CHECK(client.read_answer().body == "GET /health");
}

TEST_CASE("beyond max_connections a newcomer hears 503 and is closed") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  conf::Settings settings = settings_for(upstream.port());
  settings.client.max_connections = 2;
  Gateway gateway(settings);
  Client one(gateway), two(gateway);
  CHECK(one.ask(get("/x")).status() == 200);
  CHECK(two.ask(get("/x")).status() == 200);
  Client three(gateway);
  check_refusal(three.read_answer(), 503, Reason::too_many_connections);
  CHECK(three.is_closed());
  one.socket.close();
  CHECK(await([&] {
    Client next(gateway);
    return next.ask(get("/x")).status() == 200;
  }));
}

TEST_CASE("paths that could be read another way are refused where that is wanted") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  const std::vector<std::string> plain{"/x", "/%61b?q=%2f%2e%2e//;", "/a%20b", "/"};
  const std::vector<std::string> doubtful{"/a%2fb",       "/a%5cb", "/a%252fb", "/a/%2e%2e/b",
                                          "/a/./b",       "//a",    "/a;x=1",   "/%C0%AE%C0%AE/a",
                                          "/v1/../admin", "/a%0ab"};
  auto settings = settings_for(upstream.port());
  Gateway lenient(settings);
  settings.client.strict_paths = true;
  Gateway strict(settings);
  for (const std::string& path : doubtful) {
    CAPTURE(path);
    CHECK(Client(lenient).ask(get(path)).status() == 200);
    const Message answer = Client(strict).ask(get(path));
    CHECK(answer.status() == 400);
    CHECK(answer.reason() == "malformed");
    CHECK(Client(strict).ask("GET http://a" + path + " HTTP/1.1\r\nHost: a\r\n\r\n").status() ==
          400);
  }
  const std::size_t before = upstream.requests().size();
  CHECK(before == doubtful.size());
  for (const std::string& path : plain) CHECK(Client(strict).ask(get(path)).status() == 200);
  const auto seen = upstream.requests();
  REQUIRE(seen.size() == before + plain.size());
  CHECK(seen[before].first_line == "GET /x HTTP/1.1");
  CHECK(seen[before + 1].first_line == "GET /ab?q=%2f%2e%2e//; HTTP/1.1");
  CHECK(Client(strict).ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").status() == 200);
}

}  // namespace
}  // namespace classgate::gateway::test
