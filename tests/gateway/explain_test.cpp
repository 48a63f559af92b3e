// What operators are told about a request that is not sent, against what becomes of it when it is.

#include "gateway/ops/explanation.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "gateway/clients/credential_checks.h"
#include "gateway/ops/explain_page.h"
#include "tests/gateway/kit.h"

namespace classgate::gateway::test {
namespace {

using nlohmann::json;
using CostKind = conf::CostSettings::Kind;

json explain(Gateway& gateway, std::string_view text, const char* sender = "127.0.0.1",
             std::string_view subject = {}) {
  const std::string_view head = text.substr(0, text.find("\r\n\r\n") + 4);
  const auto said =
      gateway::explain({head, *conf::IpAddress::parse(sender), subject}, gateway.server().shared(),
                       gateway.server().policy(), std::chrono::steady_clock::now());
  if (!said) FAIL(said.error());
  return json::parse(*said);
}

conf::Settings settings_with_everything(std::uint16_t upstream_port) {
  conf::Settings settings = settings_for(upstream_port);
  settings.routes = {
      {"/free", false, 1, false}, {"/v1/", true, 3, true}, {"/batch", false, 4, true}};
  settings.routes[1].cost = {CostKind::header, 1, "X-Cost", {}};
  settings.routes[2].cost = {CostKind::body, 1, "", conf::Bytes{10}};
  settings.routes[2].body_bytes = conf::Bytes{1000};
  settings.routes[2].cost_per_worker = 4;
  settings.client.trusted_proxies = {*conf::parse_network("127.0.0.1")};
  conf::FairnessSettings& fairness = settings.admission.fairness;
  fairness.is_on = true;
  fairness.identity = {{conf::IdentitySource::Kind::header, "X-Api-Key"},
                       {conf::IdentitySource::Kind::bearer, ""}};
  fairness.everybody.rate = 1.0 / 3600;
  fairness.everybody.burst = 10;
  conf::PlanSettings gold = fairness.everybody;
  gold.name = "gold";
  gold.burst = 50;
  gold.clients = {"header:X-Api-Key:alpha", "bearer:alpha"};
  fairness.plans = {gold};
  return settings;
}

TEST_CASE("a request that has been here is said to be refused for that") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(settings_for(upstream.port()));
  const std::string via = "Via: 1.1 " + gateway.server().shared().via_name + "\r\n";
  CHECK(explain(gateway, get("/x", via))["verdict"]["reason"] == "loop_detected");
  CHECK(Client(gateway).ask(get("/x", via)).reason() == "loop_detected");
}

TEST_CASE("what is said of a request is what becomes of it") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(settings_with_everything(upstream.port()));
  const std::vector<std::string> requests{
      get("/free"),
      get("/v1/x", "X-Api-Key: alpha\r\nX-Cost: 30\r\n"),
      get("/v1/x", "X-Api-Key: beta\r\nX-Cost: 7\r\n"),
      get("//v1/./x", "Authorization: Bearer gamma\r\nX-Cost: 99999999999999999999\r\n"),
      get("/other", "X-Forwarded-For: 192.0.2.1\r\n"),
      get("/queue/health"),
      post("/queue/health", ""),
      post("/batch", std::string(45, 'x')),
      post("/batch", std::string(1001, 'x')),
      "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
      std::string(65, 'M') + " /x HTTP/1.1\r\nHost: a\r\n\r\n",
      get("/x", "Expect: much\r\n"),
      get("/health%2F..%2Fx"),
      get("/x#y"),
      get("/x", "X : y\r\n"),
      get("/x", "Host: again\r\n"),
      "GET /x HTTP/3.0\r\nHost: a\r\n\r\n",
  };
  // Again and again: the buckets run dry on the way.
  std::set<std::string> heard;
  for (int round = 0; round < 12; ++round)
    for (const std::string& request : requests) {
      CAPTURE(request);
      const json verdict = explain(gateway, request).at("verdict");
      Client client(gateway);
      const Message answer = client.ask(request);
      if (answer.reason().empty()) {
        CHECK(verdict.at("answer") ==
              (request.contains("/queue/health") ? "operator" : "admitted"));
        CHECK(answer.status() == 200);
      } else {
        CHECK(verdict.at("answer") == "refused");
        CHECK(verdict.at("reason") == answer.reason());
        CHECK(verdict.at("status") == answer.status());
        CHECK(verdict.at("retry_after").is_null() == !answer.has("Retry-After"));
      }
      heard.insert(answer.reason());
      CHECK(await([&] { return gateway.snapshot().active_workers == 0; }));
    }
  CHECK(heard == std::set<std::string>{"", "body_too_large", "client_rate", "expectation_failed",
                                       "malformed", "method_refused", "unknown_method",
                                       "version_refused"});
}

TEST_CASE("one that comes early is told what is kept from it, and when it may come") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  conf::Settings settings = settings_for(upstream.port());
  settings.admission.rate = 0.001;
  settings.admission.burst = 3;
  settings.admission.fairness.is_on = true;
  settings.admission.fairness.identity = {{conf::IdentitySource::Kind::header, "X-Api-Key"}};
  Gateway gateway(settings);
  const auto by = [](const char* key) {
    return get("/x", std::string("X-Api-Key: ") + key + "\r\n");
  };
  Client client(gateway);
  for (const char* const key : {"d", "d", "a"}) CHECK(client.ask(by(key)).status() == 200);
  for (const char* const key : {"d", "a", "e"})
    CHECK(client.ask(by(key)).reason() == "rate_limited");
  const json said = explain(gateway, by("d"));
  const json& bucket = said.at("buckets").at(0);
  CHECK(bucket.at("tokens").get<double>() >= 0);
  CHECK(bucket.at("kept").at("for") == "due");
  CHECK(bucket.at("kept").at("comes_early") == true);
  CHECK(bucket.at("told_in_ms").get<double>() / 1000 ==
        doctest::Approx(said.at("verdict").at("retry_after").get<double>()).epsilon(0.01));
  const std::string page = explain_page(said.dump());
  CHECK_MESSAGE(page.contains("of 3 tokens, 0.001/s; 2 are kept for clients that come when they "
                              "were told to, and this one comes before its time; it is told to "
                              "come in "),
                page);
  CHECK_FALSE(page.contains("short for"));
  // A newcomer is only short of what is there.
  CHECK(
      explain_page(explain(gateway, by("new")).dump()).contains("of 3 tokens, 0.001/s; short for"));
}

TEST_CASE("asking charges nobody, remembers nobody and is counted nowhere") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(settings_with_everything(upstream.port()));
  for (int i = 0; i < 100; ++i)
    CHECK(explain(gateway, get("/v1/x", "X-Api-Key: beta\r\nX-Cost: 10\r\n")).at("verdict") ==
          json{{"answer", "admitted"}});
  CHECK(gateway.snapshot().total == 0);
  CHECK(gateway.snapshot().clients.known == 0);
  CHECK(upstream.request_count() == 0);
}

TEST_CASE("who is asking is told with its source and plan, and what it costs") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_with_everything(upstream.port());
  settings.admission.fairness.identity.push_back({conf::IdentitySource::Kind::tls, ""});
  Gateway gateway(settings);
  const json keyed = explain(gateway, get("/v1/x", "X-Api-Key: alpha\r\nX-Cost: 3\r\n"));
  CHECK(keyed.at("client").at("source") == "header:X-Api-Key");
  CHECK(keyed.at("client").at("plan") == "gold");
  CHECK(keyed.at("client").at("state") == "new");
  CHECK(keyed.at("cost").at("tokens") == 3);
  CHECK(keyed.at("route").at("rule") == "/v1/*");
  CHECK(keyed.at("route").at("match") == "prefix");
  CHECK(keyed.at("priority") == 3);
  CHECK(keyed.at("deadline").at("source") == "request_timeout");
  CHECK(keyed.at("buckets").at(0).at("of") == "client");
  CHECK(keyed.at("buckets").at(0).at("tokens") == 50);
  const json bearer = explain(gateway, get("/x", "Authorization: Bearer alpha\r\n"));
  CHECK(bearer.at("client").at("source") == "bearer");
  CHECK(bearer.at("client").at("plan") == "gold");
  CHECK(bearer.at("route").at("match") == "none");
  const json certified = explain(gateway, get("/x"), "192.0.2.9", "CN=alpha");
  CHECK(certified.at("client").at("source") == "tls");
  CHECK(certified.at("client").at("plan").is_null());
  const json batch = explain(gateway, post("/batch", std::string(45, 'x')));
  CHECK(batch.at("client").at("source") == "address");
  CHECK(batch.at("cost").at("tokens") == 5);
  CHECK(batch.at("workers").at("wanted") == 2);
  CHECK(batch.at("route").at("match") == "exact");
}

TEST_CASE("a trusted sender's word about its client is believed, and no other's") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(settings_with_everything(upstream.port()));
  const std::string request = get("/x", "X-Forwarded-For: 192.0.2.1\r\n");
  const json trusted = explain(gateway, request);
  const json other = explain(gateway, request, "192.0.2.7");
  CHECK(trusted.at("request").at("address") == "192.0.2.1");
  CHECK(other.at("request").at("address") == "192.0.2.7");
  CHECK(trusted.at("client").at("id") != other.at("client").at("id"));
  CHECK(trusted.at("client").at("id") ==
        explain(gateway, get("/y"), "192.0.2.1").at("client").at("id"));
}

TEST_CASE("with all workers taken it says at which place it would wait") {
  FakeUpstream upstream(FakeUpstream::held());
  auto settings = settings_for(upstream.port());
  settings.admission.workers = 1;
  Gateway gateway(settings);
  Client first(gateway), second(gateway);
  first.send(get("/x"));
  REQUIRE(gateway.comes_to_run(1));
  second.send(get("/x"));
  REQUIRE(gateway.comes_to_wait(1));
  const json said = explain(gateway, get("/x"));
  CHECK(said.at("verdict").at("answer") == "waits");
  CHECK(said.at("verdict").at("place") == 2);
  CHECK(said.at("verdict").at("wait_ms").is_null());  // no request has ended yet
  CHECK(said.at("client").is_null());
  CHECK(explain(gateway, get("/health")).at("verdict").at("place") == 1);
  upstream.release(2);
  CHECK(first.read_answer().status() == 200);
  CHECK(second.read_answer().status() == 200);
  REQUIRE(gateway.comes_to_run(0));
  first.send(get("/x"));
  REQUIRE(gateway.comes_to_run(1));
  CHECK(explain(gateway, get("/x")).at("verdict").at("wait_ms").is_number());
  upstream.release();
}

TEST_CASE("when no server of the service is up, that is what it says") {
  Gateway gateway(settings_for(1));
  Client client(gateway);
  client.ask(get("/x"));  // the one that finds out, if nobody has yet
  CHECK(client.ask(get("/x")).reason() == "upstream_down");
  CHECK(explain(gateway, get("/x")).at("verdict").at("reason") == "upstream_down");
}

TEST_CASE("while no server is up, it says for how long requests wait for one") {
  const DeadPort port;
  auto settings = settings_for(port.port());
  settings.upstream.hold = 1h;
  Gateway gateway(settings);
  REQUIRE(await([&] { return gateway.server().policy().servers->none_reachable(); }));
  const auto said = explain(gateway, get("/x"));
  CHECK(said.at("upstream").at("unreachable") == 1);
  CHECK(said.at("verdict").at("answer") == "admitted");
  CHECK(said.at("verdict").at("held_ms") > 0);
  CHECK(said.at("verdict").at("held_ms") <= 3'600'000);
}

TEST_CASE("a head of any bytes gets an answer that is JSON, or is told to be none") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(settings_with_everything(upstream.port()));
  const std::string usual = get("/v1/x?y", "X-Api-Key: alpha\r\nX-Cost: 3\r\n");
  for (std::size_t at = 0; at < usual.size(); ++at)
    for (int byte = 0; byte < 256; ++byte) {
      std::string head = usual;
      head[at] = static_cast<char>(byte);
      const auto said =
          gateway::explain({head, *conf::IpAddress::parse("::1"), {}}, gateway.server().shared(),
                           gateway.server().policy(), std::chrono::steady_clock::now());
      if (said) REQUIRE(json::parse(*said).at("verdict").contains("answer"));
    }
  CHECK(gateway.snapshot().total == 0);
}

TEST_CASE("the page says in words why a token does not tell who is asking") {
  const auto row_of = [](std::string_view word) {
    const json said{{"token", word}, {"verdict", {{"answer", "admitted"}}}};
    const std::string page = explain_page(said.dump());
    return page.substr(0, page.find('\n'));
  };
  CHECK(row_of("expired") == "token     not believed: it has expired (exp)");
  for (const std::string_view word : token_result_words) {
    CAPTURE(word);
    if (word == "verified" || word == "remembered") continue;  // these are believed
    CHECK(row_of(word).contains("token     not "));
  }
  CHECK(row_of("names_nobody").contains("lacks the claim"));
}

TEST_CASE("half a head and more than one are no question") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(settings_for(upstream.port()));
  for (const std::string& text : {std::string("GET / HTTP/1.1\r\nHost: a\r\n"), std::string(),
                                  get("/x") + get("/y"), post("/x", "body")})
    CHECK_FALSE(gateway::explain({text, *conf::IpAddress::parse("::1"), {}},
                                 gateway.server().shared(), gateway.server().policy(),
                                 std::chrono::steady_clock::now())
                    .has_value());
}

}  // namespace
}  // namespace classgate::gateway::test
