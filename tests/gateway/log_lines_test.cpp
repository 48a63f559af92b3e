// What a line of the access log tells of a request.

#include <doctest/doctest.h>

#include <atomic>
#include <string>

#include "tests/gateway/kit.h"
#include "tests/gateway/log_folder.h"

namespace classgate::gateway::test {
namespace {

conf::Settings logged_settings(const LogFolder& folder, std::uint16_t port) {
  conf::Settings settings = settings_for(port);
  settings.log.access = folder.at("access");
  return settings;
}

// The line of the only request with this id, once it is written.
std::string line_with(const LogFolder& folder, const std::string& what) {
  REQUIRE(comes_to_hold(folder.at("access"), what));
  for (const std::string& line : lines_of(folder.at("access")))
    if (line.contains(what)) return line;
  return {};
}

std::string in_line(const std::string& line, const std::string& key) {
  const std::size_t at = line.find(" " + key + "=") + key.size() + 2;
  return line.substr(at, line.find(' ', at) - at);
}

// Told as 0.000 after 502 ms of waiting.
TEST_CASE("who is refused after waiting has its wait in the log") {
  FakeUpstream upstream(FakeUpstream::held());
  const LogFolder folder;
  conf::Settings settings = logged_settings(folder, upstream.port());
  settings.admission.workers = 1;
  settings.admission.queue_timeout = 100ms;
  Gateway gateway(settings);
  Client running(gateway), waiting(gateway);
  running.send(get("/runs"));
  REQUIRE(gateway.comes_to_run(1));
  CHECK(waiting.ask(get("/waits")).field("X-Classgate-Reason") == "queue_timeout");
  const std::string line = line_with(folder, "path=\"/waits\"");
  CHECK(in_line(line, "reason") == "queue_timeout");
  CHECK(std::stod(in_line(line, "wait_ms")) >= 100);
  CHECK(std::stod(in_line(line, "wait_ms")) <= std::stod(in_line(line, "total_ms")));
  CHECK(in_line(line, "answered_by") == "gateway");
  CHECK(in_line(line, "attempts_ms") == "-");
}

TEST_CASE("who gives its place to a more urgent one has its wait in the log") {
  FakeUpstream upstream(FakeUpstream::held());
  const LogFolder folder;
  conf::Settings settings = logged_settings(folder, upstream.port());
  settings.admission.workers = 1;
  settings.admission.queue_size = 1;
  settings.routes = {{"/urgent", false, 1, true}, {"/later", false, 5, true}};
  Gateway gateway(settings);
  Client running(gateway), waiting(gateway), urgent(gateway);
  running.send(get("/urgent"));
  REQUIRE(gateway.comes_to_run(1));
  waiting.send(get("/later"));
  REQUIRE(gateway.comes_to_wait(1));
  urgent.send(get("/urgent"));
  CHECK(waiting.read_answer().field("X-Classgate-Reason") == "displaced");
  const std::string line = line_with(folder, "path=\"/later\"");
  CHECK(std::stod(in_line(line, "wait_ms")) > 0);
}

TEST_CASE("a line tells the fields that the conf names, cut and once, and a query when asked for") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  const LogFolder folder;
  conf::Settings settings = logged_settings(folder, upstream.port());
  settings.log.headers = {"X-Tenant", "X-Absent"};
  settings.log.header_bytes = conf::Bytes{16};
  Gateway gateway(settings);
  Client client(gateway);
  const std::string fields =
      "User-Agent: a-very-long-name-of-a-client\r\nX-TENANT: one\r\nx-tenant: two\r\n"
      "Traceparent: 00-1\r\n";
  CHECK(client.ask(get("/first?secret=1", fields)).status() == 200);
  const std::string first = line_with(folder, "path=\"/first\"");
  CHECK(first.ends_with(
      R"( traceparent=00-1 user_agent="a-very-long-name" name=- credentials=- protocol=http/1.1 upstream_protocol=http/1.1 grpc_status=- header.x-tenant="one")"));
  CHECK_FALSE(first.contains("secret"));
  CHECK(client.ask(get("/second")).status() == 200);
  CHECK(
      line_with(folder, "path=\"/second\"")
          .ends_with(
              R"( traceparent=- user_agent="-" name=- credentials=- protocol=http/1.1 upstream_protocol=http/1.1 grpc_status=-)"));
}

TEST_CASE("a query is told where the conf wants it") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  const LogFolder folder;
  conf::Settings settings = logged_settings(folder, upstream.port());
  settings.log.query = true;
  Gateway gateway(settings);
  Client client(gateway);
  CHECK(client.ask(get("/first?a=%22b&c")).status() == 200);
  CHECK(line_with(folder, "path=\"/first\"").ends_with(R"( query="a=%22b&c")"));
  CHECK(client.ask(get("/second")).status() == 200);
  CHECK(line_with(folder, "path=\"/second\"").ends_with(R"( query="")"));
}

TEST_CASE("a query is told without the keys by which clients name themselves") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  const LogFolder folder;
  conf::Settings settings = logged_settings(folder, upstream.port());
  settings.log.query = true;
  settings.admission.fairness.is_on = true;
  settings.admission.fairness.identity = {{conf::IdentitySource::Kind::query, "api-key"}};
  settings.routes.push_back(
      {.path = "/own", .identity = {{{conf::IdentitySource::Kind::query, "t"}}}});
  Gateway gateway(settings);
  Client client(gateway);
  const auto query_of = [&](const std::string& path, const std::string& query) {
    CHECK(client.ask(get(path + "?" + query)).status() == 200);
    return in_line(line_with(folder, "path=\"" + path + "\""), "query");
  };
  CHECK(query_of("/1", "a=1&api-key=sesame&b=2") == R"("a=1&api-key=***&b=2")");
  CHECK(query_of("/2", "%61pi%2dkey=sesame") == R"("%61pi%2dkey=***")");
  CHECK(query_of("/3", "API-KEY=sesame;t=open&x") == R"("API-KEY=***;t=***&x")");
  CHECK(query_of("/4", "api-key=&&api-keys=1&key") == R"("api-key=***&&api-keys=1&key")");
  CHECK(query_of("/own", "t=sesame") == R"("t=***")");
  // As forms write lists, and as some read what stands behind a second question mark.
  CHECK(query_of("/5", "api-key[]=sesame&t[0][a]=open") == R"("api-key[]=***&t[0][a]=***")");
  CHECK(query_of("/6", "api-key%5B%5D=sesame&%5bt%5d=open") ==
        R"("api-key%5B%5D=***&%5bt%5d=***")");
  CHECK(query_of("/7", "?api-key=sesame") == R"("?api-key=***")");
  CHECK(query_of("/8", "%3F?+t=sesame") == R"("%3F?+t=***")");
  CHECK(query_of("/9", "x[api-key]=1&api-keys[]=2&%5=3&?=4") ==
        R"("x[api-key]=1&api-keys[]=2&%5=3&?=4")");
}

TEST_CASE("nor does a field tell them that has an address with a query") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  const LogFolder folder;
  conf::Settings settings = logged_settings(folder, upstream.port());
  settings.log.headers = {"Referer", "X-Note"};
  settings.admission.fairness.is_on = true;
  settings.admission.fairness.identity = {{conf::IdentitySource::Kind::query, "key"}};
  Gateway gateway(settings);
  Client client(gateway);
  CHECK(client
            .ask(get("/page",
                     "Referer: https://app.example/page?a=1&key=sesame\r\nX-Note: what?\r\n"))
            .status() == 200);
  const std::string line = line_with(folder, "path=\"/page\"");
  CHECK(in_line(line, "header.referer") == R"("https://app.example/page?a=1&key=***")");
  CHECK(in_line(line, "header.x-note") == R"("what?")");
}

// log.headers = ["X-Context"], of which nobody knew that it brings tokens: whole ones stood in the
// log.
TEST_CASE("what looks like a credential is told of no field, whatever its name") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  const LogFolder folder;
  conf::Settings settings = logged_settings(folder, upstream.port());
  settings.log.headers = {"X-Context", "Referer"};
  settings.log.header_bytes = conf::Bytes{32};
  settings.log.query = true;
  Gateway gateway(settings);
  Client client(gateway);
  const std::string token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl";
  const std::string fields = "X-Context: user=alice; t=" + token + "; v=1\r\nUser-Agent: tool (" +
                             token + ")\r\nReferer: https://app/" + token + "?a=" + token +
                             "&b\r\nTraceparent: " + token + "\r\n";
  CHECK(client.ask(get("/first?a=" + token + "&b=1", fields)).status() == 200);
  const std::string line = line_with(folder, "path=\"/first\"");
  CHECK(line.contains(R"(header.x-context="user=alice; t=***; v=1")"));
  CHECK(line.contains(R"x(user_agent="tool (***)")x"));
  CHECK(in_line(line, "header.referer") == R"("https://app/***?a=***&b")");
  CHECK(in_line(line, "traceparent") == "***");
  CHECK(in_line(line, "query") == R"("a=***&b=1")");
  CHECK_FALSE(line.contains("eyJ"));
}

TEST_CASE("a User-Agent by which clients name themselves is not told") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  const LogFolder folder;
  conf::Settings settings = logged_settings(folder, upstream.port());
  settings.admission.fairness.is_on = true;
  settings.admission.fairness.identity = {{conf::IdentitySource::Kind::header, "User-Agent"}};
  Gateway gateway(settings);
  Client client(gateway);
  CHECK(client.ask(get("/first", "User-Agent: sesame\r\n")).status() == 200);
  CHECK(in_line(line_with(folder, "path=\"/first\""), "user_agent") == R"("***")");
}

TEST_CASE("a line tells the time of each attempt") {
  std::atomic<int> asked{0};
  FakeUpstream upstream([&asked](Peer& peer) {
    if (!peer.read_request_head()) return;
    if (asked++ == 0) return;  // and closes: whether it was taken is not known
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  });
  const LogFolder folder;
  Gateway gateway(logged_settings(folder, upstream.port()));
  Client client(gateway);
  CHECK(client.ask(get("/again")).status() == 200);
  const std::string line = line_with(folder, "path=\"/again\"");
  CHECK(in_line(line, "retries") == "1");
  CHECK(in_line(line, "answered_by") == "service");
  const std::string attempts = in_line(line, "attempts_ms");
  const std::size_t comma = attempts.find(',');
  REQUIRE(comma != std::string::npos);
  CHECK(std::stod(attempts.substr(0, comma)) + std::stod(attempts.substr(comma + 1)) ==
        doctest::Approx(std::stod(in_line(line, "upstream_ms"))).epsilon(0.01));
}

std::uint64_t number_in(const std::string& line, const std::string& key) {
  return std::stoull(in_line(line, key));
}

// One client that asked as fast as it could had its neighbours' lines dropped: 210,491 in 5 s.
TEST_CASE("refusals beyond their rate are one line a second, and none is missing from the counts") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  const LogFolder folder;
  conf::Settings settings = logged_settings(folder, upstream.port());
  settings.admission.rate = 0.001;
  settings.admission.burst = 1;
  settings.log.refusals_max = 3;
  settings.threads = 1;  // each has its share of them
  Gateway gateway(settings);
  Client client(gateway);
  CHECK(client.ask(get("/fine")).status() == 200);
  constexpr std::uint64_t refused = 200;
  for (std::uint64_t i = 0; i < refused; ++i) CHECK(client.ask(get("/x?q")).status() == 429);
  const auto told = [&](const std::string& key) {
    std::uint64_t sum = 0;
    for (const std::string& line : lines_of(folder.at("access")))
      if (line.contains(" verdict=rejected "))
        sum += line.contains(" rolled_up=") == (key == "rolled_up")
                   ? key == "rolled_up" ? number_in(line, key) : 1
                   : 0;
    return sum;
  };
  CHECK(await([&] { return told("rolled_up") + told("alone") == refused; }));
  CHECK(told("rolled_up") > 0);
  CHECK(told("alone") >= 3);
  for (const std::string& line : lines_of(folder.at("access")))
    if (line.contains(" rolled_up="))
      CHECK(line.ends_with(
          " client=- address=127.0.0.1 path=\"/x\" route=\"*\" priority=5 "
          "verdict=rejected reason=rate_limited status=429 name=- plan=- credentials=-"));
}

TEST_CASE("what is rolled up is told when the gateway ends") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  const LogFolder folder;
  conf::Settings settings = logged_settings(folder, upstream.port());
  settings.admission.rate = 0.001;
  settings.admission.burst = 1;
  settings.log.refusals_max = 1;
  settings.threads = 1;
  {
    Gateway gateway(settings);
    Client client(gateway);
    for (int i = 0; i < 20; ++i) client.ask(get("/x"));
  }
  std::uint64_t told = 0;
  for (const std::string& line : lines_of(folder.at("access")))
    told += line.contains(" rolled_up=") ? number_in(line, "rolled_up") : 1;
  CHECK(told == 20);
}

}  // namespace
}  // namespace classgate::gateway::test
