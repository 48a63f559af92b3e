// Pages of other origins in browsers: what they are told, and what their preflights cost.

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "conf/format.h"
#include "gateway/ops/explanation.h"
#include "tests/gateway/kit.h"

namespace classgate::gateway::test {
namespace {

constexpr std::string_view app_origin = "Origin: https://app.example\r\n";
constexpr std::string_view other_origin = "Origin: https://other.example\r\n";

conf::Settings cors_settings(std::uint16_t port) {
  conf::Settings settings = settings_for(port);
  settings.cors.origins = {"https://app.example", "http://127.0.0.1:8000"};
  return settings;
}

std::string preflight(std::string_view origin) {
  return fmt::format(
      "OPTIONS /v1/classify HTTP/1.1\r\nHost: test\r\n{}Access-Control-Request-Method: POST\r\n"
      "Access-Control-Request-Headers: content-type\r\n\r\n",
      origin);
}

bool says_nothing(const Message& answer) {
  return !answer.has("Access-Control-Allow-Origin") &&
         !answer.has("Access-Control-Allow-Methods") &&
         !answer.has("Access-Control-Expose-Headers");
}

TEST_CASE(
    "a preflight is answered here: no token, no worker, nothing for the service or the books") {
  FakeUpstream upstream(FakeUpstream::held());
  conf::Settings settings = cors_settings(upstream.port());
  settings.admission.workers = 1;
  settings.admission.rate = 0.001;
  settings.admission.burst = 1;
  Gateway gateway(settings);
  Client running(gateway), page(gateway);
  running.send(get("/runs"));
  REQUIRE(gateway.comes_to_run(1));
  for (int i = 0; i < 5; ++i) {
    const Message answer = page.ask(preflight(app_origin));
    CHECK(answer.status() == 200);
    CHECK(answer.field("Access-Control-Allow-Origin") == "https://app.example");
    CHECK(answer.field("Access-Control-Allow-Methods") == "GET, POST");
    CHECK(answer.field("Access-Control-Allow-Headers") == "content-type, authorization");
    CHECK(answer.field("Access-Control-Max-Age") == "600");
    CHECK_FALSE(answer.has("Access-Control-Allow-Credentials"));
    CHECK(answer.body.empty());
  }
  CHECK(gateway.snapshot().total == 1);
}

TEST_CASE("a page that may not ask is told nothing, whatever it asks") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(cors_settings(upstream.port()));
  Client client(gateway);
  for (const std::string_view origin :
       {other_origin, std::string_view("Origin: https://app.example.evil\r\n"),
        std::string_view("Origin: null\r\n"), std::string_view("Origin: HTTPS://APP.EXAMPLE\r\n"),
        std::string_view("Origin: https://app.example\r\nOrigin: https://other.example\r\n")}) {
    CHECK(says_nothing(client.ask(preflight(origin))));
    const Message answer = client.ask(get("/x", origin));
    CHECK(answer.status() == 200);
    CHECK(says_nothing(answer));
    CHECK(answer.field("Vary") == "Origin");  // a cache must not give this answer to the others
  }
  CHECK(says_nothing(client.ask(get("/x"))));
}

TEST_CASE("an answer of the service says what the gateway says of its readers, once") {
  FakeUpstream upstream([](Peer& peer) {
    while (peer.read_request_head())
      peer.send(
          "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nVary: Accept\r\n"
          "Access-Control-Allow-Credentials: true\r\nAccess-Control-Expose-Headers: X-Model\r\n"
          "Content-Length: 2\r\n\r\nok");
  });
  Gateway gateway(cors_settings(upstream.port()));
  Client client(gateway);
  const Message answer = client.ask(get("/x", app_origin));
  CHECK(answer.body == "ok");
  CHECK(answer.count("Access-Control-Allow-Origin") == 1);
  CHECK(answer.field("Access-Control-Allow-Origin") == "https://app.example");
  CHECK_FALSE(answer.has("Access-Control-Allow-Credentials"));
  CHECK(answer.count("Access-Control-Expose-Headers") == 2);  // lists add up
  CHECK(answer.count("Vary") == 2);
  CHECK_FALSE(client.ask(get("/x", other_origin)).has("Access-Control-Allow-Origin"));
}

TEST_CASE("a page can read its refusal, and when to come back") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  conf::Settings settings = cors_settings(upstream.port());
  settings.cors.credentials = true;
  settings.admission.rate = 0.001;
  settings.admission.burst = 1;
  Gateway gateway(settings);
  Client client(gateway);
  CHECK(client.ask(get("/x", app_origin)).field("Access-Control-Allow-Credentials") == "true");
  const Message refused = client.ask(get("/x", app_origin));
  CHECK(refused.status() == 429);
  CHECK(refused.field("Access-Control-Allow-Origin") == "https://app.example");
  CHECK(refused.field("Access-Control-Allow-Credentials") == "true");
  CHECK(refused.field("Access-Control-Expose-Headers").contains("Retry-After, "));
  CHECK(refused.field("Access-Control-Expose-Headers").contains("X-Classgate-Reason"));
  CHECK(refused.field("Vary") == "Origin");
  CHECK(says_nothing(client.ask(get("/x"))));
  CHECK(says_nothing(client.ask(get("/x", other_origin))));
}

// Requests that can't be read were refused without a word for the page, which saw a failed network.
TEST_CASE("a page can read the refusal of what could not be read, if its origin was") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  conf::Settings settings = cors_settings(upstream.port());
  settings.client.target_bytes = conf::Bytes{100};
  settings.client.header_bytes = conf::Bytes{1000};
  settings.client.header_count = 8;
  Gateway gateway(settings);
  const std::string long_target = "/" + std::string(200, 'x');
  const std::string filler = "X-Filler: " + std::string(2000, 'x') + "\r\n";
  std::string many;
  for (int i = 0; i < 20; ++i) many += "X: y\r\n";
  struct Row {
    std::string request;
    int status;
  };
  for (const Row& row : std::vector<Row>{
           {fmt::format("GET {} HTTP/1.1\r\nHost: a\r\n{}\r\n", long_target, app_origin), 414},
           {fmt::format("GET / HTTP/1.1\r\nHost: a\r\n{}{}\r\n", app_origin, filler), 431},
           {fmt::format("GET / HTTP/1.1\r\nHost: a\r\n{}{}\r\n", app_origin, many), 431},
           {fmt::format("GET / HTTP/1.1\r\nHost: a\r\nX Y: z\r\n{}\r\n", app_origin), 400},
           {fmt::format("GET / HTTP/1.1\r\n{}\r\n", app_origin), 400},
           {fmt::format("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n{}\r\n",
                        app_origin),
            501},
           {fmt::format("{} / HTTP/1.1\r\nHost: a\r\n{}\r\n", std::string(70, 'M'), app_origin),
            501},
           {fmt::format("GET / HTTP/2.0\r\nHost: a\r\n{}\r\n", app_origin), 505},
           {fmt::format("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n{}\r\n",
                        app_origin),
            413},
           {fmt::format("GET / HTTP/1.1\r\nHost: a\r\nExpect: gold\r\n{}\r\n", app_origin), 417},
           {fmt::format("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n{}\r\n", app_origin), 405},
       }) {
    CAPTURE(row.request.substr(0, 100));
    const Message answer = Client(gateway).ask(row.request);
    CHECK(answer.status() == row.status);
    CHECK(answer.field("Access-Control-Allow-Origin") == "https://app.example");
    CHECK(answer.field("Access-Control-Expose-Headers").contains("X-Classgate-Reason"));
    CHECK(answer.field("Vary") == "Origin");
  }
}

TEST_CASE("a page that sends its request too slowly can read that, once its origin has come") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  conf::Settings settings = cors_settings(upstream.port());
  settings.client.header_timeout = 100ms;
  settings.client.body_timeout = 100ms;
  Gateway gateway(settings);
  for (const std::string& begin :
       {fmt::format("GET / HTTP/1.1\r\n{}", app_origin),
        fmt::format("POST / HTTP/1.1\r\nHost: a\r\n{}Content-Length: 9\r\n\r\n1", app_origin)}) {
    const Message answer = Client(gateway).ask(begin);
    CHECK(answer.status() == 408);
    CHECK(answer.field("Access-Control-Allow-Origin") == "https://app.example");
  }
}

TEST_CASE("where no origin was read nobody is named, and only caches are told that it matters") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  conf::Settings settings = cors_settings(upstream.port());
  settings.client.header_bytes = conf::Bytes{1000};
  Gateway gateway(settings);
  const std::string filler = "X-Filler: " + std::string(2000, 'x') + "\r\n";
  for (const std::string& cut :
       {fmt::format("GET / HTTP/1.1\r\nHost: a\r\n{}{}\r\n", other_origin, filler),
        fmt::format("GET / HTTP/1.1\r\nHost: a\r\n{}", filler)}) {
    const Message answer = Client(gateway).ask(cut);
    CHECK(answer.status() == 431);
    CHECK(says_nothing(answer));
    CHECK(answer.field("Vary") == "Origin");
  }
  settings.cors.origins = {"*"};
  Gateway open(settings);
  const Message answer = Client(open).ask("GET / HTTP/1.1\r\nHost: a\r\n" + filler);
  CHECK(answer.status() == 431);
  CHECK(answer.field("Access-Control-Allow-Origin") == "*");
}

TEST_CASE("what the gateway itself answers is readable too") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(cors_settings(upstream.port()));
  Client client(gateway);
  const Message health = client.ask(get("/queue/health", app_origin));
  CHECK(health.status() == 200);
  CHECK(health.field("Access-Control-Allow-Origin") == "https://app.example");
}

TEST_CASE("every origin is one answer for all, and never with credentials") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  conf::Settings settings = settings_for(upstream.port());
  settings.cors.origins = {"*"};
  Gateway gateway(settings);
  Client client(gateway);
  const Message answer = client.ask(get("/x", other_origin));
  CHECK(answer.field("Access-Control-Allow-Origin") == "*");
  CHECK_FALSE(answer.has("Access-Control-Allow-Credentials"));
  CHECK_FALSE(answer.has("Vary"));
}

TEST_CASE("all fields are Authorization too, which the wildcard does not mean to a browser") {
  const auto allowed = [](const std::vector<std::string>& headers) {
    std::string fields;
    const Cors cors({.origins = {"*"}, .headers = headers});
    cors.tell_preflight([&](std::string_view name, std::string_view value) {
      if (name == "Access-Control-Allow-Headers") fields = value;
    });
    return fields;
  };
  CHECK(allowed({"*"}) == "*, Authorization");
  CHECK(allowed({"authorization", "*"}) == "authorization, *");
  CHECK(allowed({"content-type"}) == "content-type");
}

TEST_CASE("without cors.origins it is all left to the service, preflights too") {
  FakeUpstream upstream([](Peer& peer) {
    while (peer.read_request_head())
      peer.send(
          "HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Origin: https://theirs.example\r\n\r\n");
  });
  Gateway gateway(settings_for(upstream.port()));
  Client client(gateway);
  const Message answer = client.ask(preflight(app_origin));
  CHECK(answer.status() == 204);
  CHECK(answer.field("Access-Control-Allow-Origin") == "https://theirs.example");
  CHECK(gateway.settles_at({.processed = 1}));
}

TEST_CASE("OPTIONS that is no preflight goes to the service") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(cors_settings(upstream.port()));
  Client client(gateway);
  client.ask("OPTIONS /x HTTP/1.1\r\nHost: test\r\nOrigin: https://app.example\r\n\r\n");
  CHECK(gateway.settles_at({.processed = 1}));
}

TEST_CASE("what a preflight comes to is explained as it is") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  for (const bool is_on : {true, false}) {
    conf::Settings settings = settings_for(upstream.port());
    if (is_on) settings.cors.origins = {"https://app.example"};
    Gateway gateway(settings);
    const std::string head = preflight(app_origin);
    const auto said =
        explain({head, *conf::IpAddress::parse("127.0.0.1"), {}}, gateway.server().shared(),
                gateway.server().policy(), std::chrono::steady_clock::now());
    REQUIRE(said);
    CHECK(nlohmann::json::parse(*said)["verdict"]["answer"] == (is_on ? "operator" : "admitted"));
  }
}

}  // namespace
}  // namespace classgate::gateway::test
