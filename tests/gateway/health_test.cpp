#include <doctest/doctest.h>
#include <regex.h>

#include <nlohmann/json.hpp>

#include "tests/gateway/kit.h"

// GET /queue/health: what the operator and the load balancer see.

namespace classgate::gateway::test {
namespace {

using nlohmann::json;

std::string health_request() { return get("/queue/health"); }

json health_of(const Message& answer) {
  CHECK(answer.field("Content-Type") == "application/json");
  CHECK(answer.field("Cache-Control") == "no-store");
  REQUIRE(json::accept(answer.body));
  return json::parse(answer.body);
}

json health(const Gateway& gateway) { return json::parse(gateway.health()); }

// With regcomp(): <regex> takes seconds to compile, under each sanitizer.
bool is_rfc3339(const std::string& time) {
  constexpr const char* form =
      "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?Z$";
  regex_t pattern;
  REQUIRE(::regcomp(&pattern, form, REG_EXTENDED | REG_NOSUB) == 0);
  const bool is_one = ::regexec(&pattern, time.c_str(), 0, nullptr, 0) == 0;
  ::regfree(&pattern);
  return is_one;
}
json strangers_health(const Gateway& gateway) {
  return health_of(Client(gateway).ask(health_request()));
}

void check_books(const json& health) {
  const auto at = [&](const char* name) { return health.at(name).get<std::uint64_t>(); };
  CHECK(at("total_requests") == at("processed_requests") + at("failed_requests") +
                                    at("rejected_requests") + at("abandoned_requests") +
                                    at("queue_size") + at("in_flight_requests"));
  const auto sum = [&](const char* name) {
    std::uint64_t all = 0;
    for (const json& count : health.at(name)) all += count.get<std::uint64_t>();
    return all;
  };
  CHECK(sum("rejected_by_reason") == at("rejected_requests"));
  CHECK(sum("failed_by_reason") == at("failed_requests"));
  CHECK(sum("queue_by_priority") == at("queue_size"));
}

TEST_CASE("health has every name, each with a value of its kind") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  conf::Settings settings = settings_for(upstream.port());
  settings.admission.rate = 12.5;
  settings.admission.burst = 25;
  Gateway gateway(settings);
  const json health = test::health(gateway);
  for (const char* count :
       {"total_requests", "processed_requests", "failed_requests", "rejected_requests",
        "abandoned_requests", "queue_size", "active_workers", "workers_without_client", "streams",
        "queue_bytes", "client_memory_bytes", "connections", "connections_refused",
        "access_log_lines_dropped", "uptime_seconds"}) {
    CAPTURE(count);
    CHECK(health.at(count).is_number_integer());
    CHECK(health.at(count) >= 0);
  }
  for (const char* mean : {"average_wait_time_ms", "average_process_time_ms"}) {
    CAPTURE(mean);
    CHECK(health.at(mean).is_number());
  }
  for (const char* quantiles : {"wait_time_ms", "process_time_ms"})
    for (const char* quantile : {"p50", "p95", "p99"})
      CHECK(health.at(quantiles).at(quantile).is_number());
  CHECK(health.at("rejected_by_reason").is_object());
  CHECK(health.at("failed_by_reason").is_object());
  CHECK(health.at("queue_by_priority") == json{{"1", 0}, {"2", 0}, {"3", 0}, {"4", 0}, {"5", 0}});
  const json& limits = health.at("limits");
  CHECK(limits.at("workers") == 4);
  CHECK(limits.at("queue_size") == 10);
  CHECK(limits.at("queue_bytes") == settings.admission.queue_bytes.count);
  CHECK(limits.at("client_memory_bytes") == settings.client.memory.count);
  CHECK(limits.at("rate") == 12.5);
  CHECK(limits.at("burst") == 25);
  CHECK(limits.at("request_timeout_ms") == 30'000);
  CHECK(limits.at("queue_timeout_ms") == 30'000);
  CHECK(limits.at("connections") == 200);
  CHECK(is_rfc3339(health.at("last_updated").get<std::string>()));
}

TEST_CASE("health says ok when the upstream can be reached, before any request has been sent") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(settings_for(upstream.port()));
  const std::string name = "127.0.0.1:" + std::to_string(upstream.port());
  CHECK(await([&] { return health(gateway).at("upstream").at(name) == "reachable"; }));
  const Message answer = Client(gateway).ask(health_request());
  CHECK(answer.status() == 200);
  CHECK(health_of(answer).at("status") == "ok");
  CHECK(health_of(answer).at("total_requests") == 0);  // looking is not counted
}

// Any client may ask where clients are accepted.
TEST_CASE("a stranger sees how it goes, and nothing of how the gateway is made") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  const conf::Settings settings = settings_for(upstream.port());
  Gateway gateway(settings);
  const Message answer = Client(gateway).ask(health_request());
  const json seen = health_of(answer);
  std::vector<std::string> names;
  for (const auto& [name, value] : seen.items()) names.push_back(name);
  CHECK(names == std::vector<std::string>{"abandoned_requests",
                                          "active_workers",
                                          "average_process_time_ms",
                                          "average_wait_time_ms",
                                          "failed_by_reason",
                                          "failed_requests",
                                          "in_flight_requests",
                                          "last_updated",
                                          "limits",
                                          "process_time_ms",
                                          "processed_requests",
                                          "queue_by_priority",
                                          "queue_size",
                                          "rejected_by_reason",
                                          "rejected_requests",
                                          "sharing",
                                          "status",
                                          "total_requests",
                                          "uptime_seconds",
                                          "wait_time_ms",
                                          "workers_without_client"});
  names.clear();
  for (const auto& [name, value] : seen.at("limits").items()) names.push_back(name);
  CHECK(names == std::vector<std::string>{"burst", "queue_size", "queue_timeout_ms", "rate",
                                          "request_timeout_ms", "workers"});
  check_books(seen);
  for (const auto& [name, value] : seen.items())
    if (name != "last_updated" && name != "uptime_seconds" && name != "limits" && name != "status")
      CHECK(value == health(gateway).at(name));  // the same numbers as operators have
  CHECK_FALSE(answer.body.contains(settings.upstream.servers.front().text));
}

// A flood of questions costs no more than one of refusals: the page is made once in a while.
TEST_CASE("what strangers see stays for ops.health_cache, but not beyond a drain or a new conf") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  conf::Settings settings = settings_for(upstream.port());
  settings.threads = 1;
  settings.ops.health_cache = 10s;
  Gateway gateway(settings);
  Client client(gateway), held_open(gateway);
  const Message first = client.ask(health_request());
  CHECK(client.ask(get("/x")).status() == 200);
  REQUIRE(gateway.settles_at({.processed = 1}));
  CHECK(client.ask(health_request()).body == first.body);
  CHECK(health(gateway).at("processed_requests") == 1);  // operators are told at once

  settings.ops.health_cache = 0ms;
  REQUIRE(gateway.server().reconfigure(settings, {}));
  CHECK(await([&] { return strangers_health(gateway).at("processed_requests") == 1; }));
  CHECK(client.ask(get("/x")).status() == 200);
  REQUIRE(gateway.settles_at({.processed = 2}));
  CHECK(strangers_health(gateway).at("processed_requests") == 2);

  settings.ops.health_cache = 10s;
  REQUIRE(gateway.server().reconfigure(settings, {}));
  CHECK(held_open.ask(health_request()).status() == 200);
  held_open.send("GET /queue/health HTTP/1.1\r\nHo");
  CHECK(client.ask(health_request()).status() == 200);  // by now the half request has been read
  gateway.server().drain();
  REQUIRE(await([&] { return gateway.snapshot().draining; }));
  CHECK(held_open.ask("st: test\r\n\r\n").status() == 503);
}

TEST_CASE("health answers while the queue is full and the bucket empty") {
  FakeUpstream upstream(FakeUpstream::held());
  conf::Settings settings = settings_for(upstream.port());
  settings.admission.workers = 1;
  settings.admission.queue_size = 1;
  settings.admission.rate = 0.001;
  settings.admission.burst = 2;
  Gateway gateway(settings);
  Client in_flight(gateway), waits(gateway), limited(gateway), full(gateway);
  in_flight.send(get("/in-flight"));
  REQUIRE(gateway.comes_to_run(1));
  waits.send(get("/health"));  // of the best priority, and not limited
  REQUIRE(gateway.comes_to_wait(1));
  CHECK(full.ask(get("/full")).reason() == "queue_full");
  CHECK(full.ask(get("/health")).reason() == "queue_full");
  upstream.release(2);
  CHECK(in_flight.read_answer().status() == 200);
  CHECK(waits.read_answer().status() == 200);
  REQUIRE(gateway.settles_at({.processed = 2, .rejected = 2}));

  in_flight.send(get("/in-flight"));  // the last token
  REQUIRE(gateway.comes_to_run(1));
  CHECK(limited.ask(get("/limited")).reason() == "rate_limited");
  waits.send(get("/health"));
  REQUIRE(gateway.comes_to_wait(1));

  // Again and again, on one connection and on new ones.
  Client watcher(gateway);
  for (int i = 0; i < 5; ++i) {
    for (const Message& answer :
         {watcher.ask(health_request()), Client(gateway).ask(health_request())}) {
      CHECK(answer.status() == 200);
      const json health = health_of(answer);
      check_books(health);
      CHECK(health.at("status") == "overloaded");
      CHECK(health.at("total_requests") == 7);
      CHECK(health.at("active_workers") == 1);
      CHECK(health.at("queue_size") == 1);
      CHECK(health.at("queue_by_priority").at("1") == 1);
      CHECK(health.at("rejected_by_reason") == json{{"queue_full", 2}, {"rate_limited", 1}});
    }
  }
  upstream.release(2);
  CHECK(waits.read_answer().status() == 200);
  CHECK(gateway.settles_at({.processed = 4, .rejected = 3}));
}

TEST_CASE("health counts exactly what has happened") {
  FakeUpstream upstream(FakeUpstream::each([](Peer& peer, const Message& request) {
    if (request.target() == "/breaks") return peer.socket.reset();
    if (request.target() == "/held" && !peer.hold()) return;
    peer.send(answer_with("fine"));
  }));
  conf::Settings settings = settings_for(upstream.port());
  settings.admission.workers = 2;
  settings.admission.queue_size = 4;
  Gateway gateway(settings);
  Client client(gateway);
  for (int i = 0; i < 3; ++i) CHECK(client.ask(get("/fine")).status() == 200);
  CHECK(client.ask(post("/breaks", "once")).status() == 502);
  CHECK(Client(gateway).ask("nonsense\r\n\r\n").status() == 400);
  CHECK(Client(gateway).ask("CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n").status() == 405);

  Client held_a(gateway), held_b(gateway), first(gateway), third(gateway), fifth(gateway);
  held_a.send(get("/held"));
  held_b.send(get("/held"));
  REQUIRE(await([&] { return upstream.holding() == 2; }));
  first.send(get("/health"));
  REQUIRE(gateway.comes_to_wait(1));
  third.send(post("/v1/classify", "12345"));
  REQUIRE(gateway.comes_to_wait(2));
  fifth.send(post("/elsewhere", "1234567"));
  REQUIRE(gateway.comes_to_wait(3));
  {
    Client leaver(gateway);
    leaver.send(get("/leaver"));
    REQUIRE(gateway.comes_to_wait(4));
  }
  REQUIRE(gateway.comes_to_wait(3));

  REQUIRE(await([&] { return gateway.server().connections() == 6; }));
  json now = health(gateway);
  check_books(now);
  CHECK(now.at("total_requests") == 12);
  CHECK(now.at("processed_requests") == 3);
  CHECK(now.at("failed_requests") == 1);
  CHECK(now.at("failed_by_reason") == json{{"upstream_broken", 1}});
  CHECK(now.at("rejected_requests") == 2);
  CHECK(now.at("rejected_by_reason") == json{{"malformed", 1}, {"method_refused", 1}});
  CHECK(now.at("abandoned_requests") == 1);
  CHECK(now.at("active_workers") == 2);
  CHECK(now.at("queue_size") == 3);
  CHECK(now.at("queue_by_priority") == json{{"1", 1}, {"2", 0}, {"3", 1}, {"4", 0}, {"5", 1}});
  CHECK(now.at("queue_bytes") == 12);
  CHECK(now.at("connections") == 6);
  CHECK(now.at("status") == "overloaded");  // half the queue is taken

  upstream.release(2);
  for (Client* served : {&held_a, &held_b, &first, &third, &fifth})
    CHECK(served->read_answer().status() == 200);
  REQUIRE(gateway.settles_at({.processed = 8, .failed = 1, .rejected = 2, .abandoned = 1}));
  now = health(gateway);
  check_books(now);
  CHECK(now.at("processed_requests") == 8);
  CHECK(now.at("queue_bytes") == 0);
  CHECK(now.at("status") == "ok");
  CHECK(now.at("average_wait_time_ms") > 0);
  CHECK(now.at("average_process_time_ms") > 0);
  for (const char* name : {"wait_time_ms", "process_time_ms"}) {
    const json& quantiles = now.at(name);
    CHECK(quantiles.at("p50") <= quantiles.at("p95"));
    CHECK(quantiles.at("p95") <= quantiles.at("p99"));
    CHECK(quantiles.at("p99") > 0);
  }
}

TEST_CASE("health shows workers whose clients have left") {
  FakeUpstream upstream(FakeUpstream::held());
  Gateway gateway(settings_for(upstream.port()));
  {
    Client leaver(gateway);
    leaver.send(get("/leaver"));
    REQUIRE(await([&] { return upstream.holding() == 1; }));
  }
  CHECK(await([&] { return health(gateway).at("workers_without_client") == 1; }));
  const json now = health(gateway);
  CHECK(now.at("active_workers") == 1);
  CHECK(now.at("abandoned_requests") == 0);
  check_books(now);
  upstream.release();
  CHECK(gateway.settles_at({.abandoned = 1}));
  CHECK(health(gateway).at("abandoned_requests") == 1);
}

TEST_CASE("HEAD of health is its head, and the connection goes on") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(settings_for(upstream.port()));
  Client client(gateway);
  const Message head = client.ask("HEAD /queue/health HTTP/1.1\r\nHost: test\r\n\r\n");
  CHECK(head.status() == 200);
  CHECK(head.field("Content-Type") == "application/json");
  CHECK(std::stoul(head.field("Content-Length")) > 100);
  CHECK(head.body.empty());
  const Message next = client.ask(health_request());  // a body of the HEAD would lie before it
  CHECK(next.status() == 200);
  CHECK(health_of(next).at("total_requests") == 0);
}

TEST_CASE("health is 503 while the gateway drains") {
  FakeUpstream upstream(FakeUpstream::held());
  Gateway gateway(settings_for(upstream.port()));
  Client in_flight(gateway), watcher(gateway);
  in_flight.send(get("/in-flight"));
  REQUIRE(await([&] { return upstream.holding() == 1; }));
  // The beginning of a second request comes with the first, so that the gateway has surely read it.
  watcher.send(health_request() + "GET /queue/health HTTP/1.1\r\nHo");
  CHECK(watcher.read_answer().status() == 200);
  gateway.server().drain();
  REQUIRE(await([&] { return gateway.snapshot().draining; }));
  const Message answer = watcher.ask("st: test\r\n\r\n");
  CHECK(answer.status() == 503);
  const json now = health_of(answer);
  CHECK(now.at("status") == "draining");
  CHECK(now.at("active_workers") == 1);
  CHECK(now.at("total_requests") == 1);
  upstream.release();
  CHECK(in_flight.read_answer().status() == 200);
}

TEST_CASE("health is 503 while no upstream answers") {
  const DeadPort nobody;
  Gateway gateway(settings_for(nobody.port()));
  REQUIRE(await([&] { return health(gateway).at("status") == "down"; }));
  const Message answer = Client(gateway).ask(health_request());
  CHECK(answer.status() == 503);
  CHECK(health_of(answer).at("status") == "down");
  CHECK(health(gateway).at("upstream").at("127.0.0.1:" + std::to_string(nobody.port())) ==
        "unreachable");
}

TEST_CASE("health is 200 and degraded while one upstream of two answers") {
  const DeadPort nobody;
  FakeUpstream upstream(FakeUpstream::echo_target());
  conf::Settings settings = settings_for(upstream.port());
  const std::string dead = "127.0.0.1:" + std::to_string(nobody.port());
  const std::string alive = settings.upstream.servers.front().text;
  settings.upstream.servers.push_back({"127.0.0.1", nobody.port(), dead});
  Gateway gateway(settings);
  CHECK(await([&] {
    return health(gateway).at("upstream") == json{{alive, "reachable"}, {dead, "unreachable"}};
  }));
  const Message answer = Client(gateway).ask(health_request());
  CHECK(answer.status() == 200);
  CHECK(health_of(answer).at("status") == "degraded");
}

}  // namespace
}  // namespace classgate::gateway::test
