// Who is asking and what it costs, through the whole gateway.

#include <doctest/doctest.h>

#include <string>

#include "tests/gateway/kit.h"

namespace classgate::gateway::test {
namespace {

using CostKind = conf::CostSettings::Kind;

// One token an hour: what is spent is gone.
conf::Settings settings_with_identity(std::uint16_t upstream_port, double burst) {
  conf::Settings settings = settings_for(upstream_port);
  conf::FairnessSettings& fairness = settings.admission.fairness;
  fairness.is_on = true;
  fairness.identity = {{conf::IdentitySource::Kind::header, "X-Api-Key"}};
  fairness.everybody.rate = 1.0 / 3600;
  fairness.everybody.burst = burst;
  return settings;
}

std::string keyed(const std::string& key) { return "X-Api-Key: " + key + "\r\n"; }

// Asks until it is refused: how many were served.
int served(Client& client, const std::string& request, std::string* reason = nullptr) {
  for (int count = 0; count < 100; ++count) {
    const Message answer = client.ask(request);
    if (answer.status() == 200) continue;
    if (reason != nullptr) *reason = answer.field("X-Classgate-Reason");
    return count;
  }
  return 100;
}

TEST_CASE("each API key has tokens of its own, and who has no key shares its address's") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(settings_with_identity(upstream.port(), 3));
  Client client(gateway), other(gateway);
  std::string reason;
  CHECK(served(client, get("/x", keyed("alpha")), &reason) == 3);
  CHECK(reason == "client_rate");
  CHECK(served(client, get("/x", keyed("beta"))) == 3);
  CHECK(served(client, get("/x"), &reason) == 3);
  CHECK(served(other, get("/x")) == 0);
  CHECK(gateway.rejected(conf::Reason::client_rate) == 4);
}

TEST_CASE("the address is the one that a trusted proxy tells") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_with_identity(upstream.port(), 2);
  settings.client.trusted_proxies = {*conf::parse_network("127.0.0.1")};
  Gateway gateway(settings);
  Client client(gateway);
  CHECK(served(client, get("/x", "X-Forwarded-For: 192.0.2.1\r\n")) == 2);
  CHECK(served(client, get("/x", "X-Forwarded-For: 192.0.2.2\r\n")) == 2);
}

TEST_CASE("a plan's clients have its terms, and a reload gives them to others") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_with_identity(upstream.port(), 2);
  conf::PlanSettings gold = settings.admission.fairness.everybody;
  gold.burst = 5;
  gold.clients = {"header:X-Api-Key:alpha"};
  settings.admission.fairness.plans = {gold};
  Gateway gateway(settings);
  Client client(gateway);
  CHECK(served(client, get("/x", keyed("alpha"))) == 5);
  CHECK(served(client, get("/x", keyed("beta"))) == 2);
}

TEST_CASE("a cost may come from a header, and whatever stands there it is bounded") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_with_identity(upstream.port(), 12);
  settings.routes = {{"/x", false, 3, true}};
  settings.routes[0].cost = {CostKind::header, 1, "X-Cost", {}};
  settings.routes[0].cost_max = 6;
  Gateway gateway(settings);
  Client client(gateway);
  CHECK(served(client, get("/x", keyed("a") + "X-Cost: 4\r\n")) == 3);
  CHECK(served(client, get("/x", keyed("b") + "X-Cost: 99999999999999999999999\r\n")) == 2);
  CHECK(served(client, get("/x", keyed("c") + "X-Cost: -5\r\n")) == 12);
  CHECK(served(client, get("/x", keyed("d") + "X-Cost: 0\r\n")) == 12);
}

TEST_CASE("a body costs by its length, whether it is told before or not") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_with_identity(upstream.port(), 12);
  settings.routes = {{"/x", false, 3, true}};
  settings.routes[0].cost = {CostKind::body, 1, "", conf::Bytes{10}};
  Gateway gateway(settings);
  Client client(gateway);
  CHECK(served(client, post("/x", std::string(31, 'x'), keyed("a"))) == 3);
  std::string chunked = post_chunked("/x", {std::string(20, 'x'), std::string(11, 'x')});
  chunked.insert(chunked.find("\r\n") + 2, keyed("b"));
  // Charged one on the head and the rest when it is here: the last one leaves a debt.
  CHECK(served(client, chunked) == 3);
}

TEST_CASE("a batch costs as many as it has items") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_with_identity(upstream.port(), 10);
  settings.routes = {{"/x", false, 3, true}};
  settings.routes[0].cost.kind = CostKind::items;
  Gateway gateway(settings);
  Client client(gateway);
  CHECK(served(client, post("/x", R"({"items":["a","b","c","d","e"]})", keyed("a"))) == 2);
  CHECK(served(client, post("/x", R"(["a"])", keyed("b"))) == 10);
  CHECK(served(client, get("/x", keyed("c"))) == 10);
}

TEST_CASE("a batch that cannot be counted costs the most") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_with_identity(upstream.port(), 10);
  settings.routes = {{"/x", false, 3, true}};
  settings.routes[0].cost.kind = CostKind::items;
  settings.routes[0].cost.array = "texts";
  settings.routes[0].cost_max = 5;
  Gateway gateway(settings);
  Client client(gateway);
  const std::string body = R"({"texts":["a"],"tags":[1,2,3,4,5]})";
  int who = 0;
  const auto served_as = [&](std::string_view fields) {
    return served(client, post("/x", body, keyed(std::to_string(++who)) + std::string(fields)));
  };
  for (const char* type : {"", "Content-Type: application/json\r\n",
                           "Content-Type: Application/JSON;charset=UTF-8\r\n",
                           "Content-Type: application/x-ndjson; charset=\"utf-8\"\r\n",
                           "Content-Type: text/plain; charset=us-ascii\r\n",
                           "Content-Type: application/vnd.a+json\r\n"})
    CHECK_MESSAGE(served_as(type) == 10, type);
  for (const char* type :
       {"Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: multipart/form-data; boundary=x\r\n", "Content-Type: application/cbor\r\n",
        "Content-Type: application/json; charset=utf-16\r\n",
        "Content-Type: application/json; charset=utf-8; Charset = \"UTF-7\"\r\n",
        "Content-Type: application/json\r\nContent-Type: application/xml\r\n",
        "Content-Encoding: gzip\r\n", "Content-Encoding: identity\r\nContent-Encoding: br\r\n"})
    CHECK_MESSAGE(served_as(type) == 2, type);
}

TEST_CASE("what a batch costs beyond what is held of it is charged as it streams on") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_with_identity(upstream.port(), 100);
  settings.client.body_buffer = conf::Bytes{16};
  settings.routes = {{"/x", false, 3, true}};
  settings.routes[0].cost.kind = CostKind::items;
  settings.routes[0].cost_max = 1'000;
  Gateway gateway(settings);
  Client client(gateway);
  std::string list = "[1";
  for (int i = 0; i < 89; ++i) list += ",1";
  const Message answer = client.ask(post("/x", list + "]", keyed("a")));
  CHECK(answer.status() == 200);
  CHECK(served(client, get("/x", keyed("a"))) == 10);
  // So it is when the client says no length.
  std::string chunked = post_chunked("/x", {list, "]"});
  chunked.insert(chunked.find("\r\n") + 2, keyed("b"));
  CHECK(client.ask(chunked).status() == 200);
  CHECK(served(client, get("/x", keyed("b"))) == 10);
}

TEST_CASE("answers say what is left of the tokens, as far as the operator wants it") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_with_identity(upstream.port(), 3);
  settings.admission.rate = 50;
  settings.admission.burst = 200;
  const std::string policies = "\"client\";q=3;w=10800, \"all\";q=200;w=4";
  const auto said_at_once = [&](conf::RateLimitFields wanted) {
    settings.client.rate_limit_fields = wanted;
    Gateway gateway(settings);
    Client client(gateway);
    const Message first = client.ask(get("/x", keyed("a")));
    CHECK(first.has("RateLimit-Policy") == (wanted == conf::RateLimitFields::all));
    if (wanted == conf::RateLimitFields::all) {
      CHECK(first.field("RateLimit-Policy") == policies);
      CHECK(first.field("RateLimit").starts_with("\"client\";r=2;t=3600, \"all\";r="));
    }
    CHECK(served(client, get("/x", keyed("a"))) == 2);
    return client.ask(get("/x", keyed("a")));
  };
  const Message silent = said_at_once(conf::RateLimitFields::off);
  CHECK(silent.status() == 429);
  CHECK_FALSE(silent.has("RateLimit"));
  for (const auto wanted : {conf::RateLimitFields::refusals, conf::RateLimitFields::all}) {
    const Message refused = said_at_once(wanted);
    CHECK(refused.field("RateLimit-Policy") == "\"client\";q=3;w=10800");
    CHECK(refused.field("RateLimit") == "\"client\";r=0;t=3600");
    CHECK(refused.body.find(R"("violated-policies":["client"],"rate":0.000277)") !=
          std::string::npos);
    CHECK(refused.body.find(R"("burst":3)") != std::string::npos);
  }
}

TEST_CASE("a batch takes as many workers as it is worth") {
  FakeUpstream upstream(FakeUpstream::held());
  auto settings = settings_with_identity(upstream.port(), 1'000);
  settings.routes = {{"/x", false, 3, true}};
  settings.routes[0].cost.kind = CostKind::items;
  settings.routes[0].cost_per_worker = 2;
  Gateway gateway(settings);
  Client batch(gateway), single(gateway), waiting(gateway);
  batch.send(post("/x", "[1,2,3,4,5]", keyed("a")));
  single.send(post("/x", "[1]", keyed("b")));
  REQUIRE(gateway.comes_to_run(4));
  waiting.send(post("/x", "[1]", keyed("c")));
  REQUIRE(gateway.comes_to_wait(1));
  CHECK(gateway.snapshot().in_flight == 2);
}

TEST_CASE("retries of one client beyond its budget do not wait") {
  FakeUpstream upstream(FakeUpstream::held());
  auto settings = settings_with_identity(upstream.port(), 1'000);
  settings.admission.workers = 1;
  Gateway gateway(settings);
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 6; ++i) {
    clients.push_back(std::make_unique<Client>(gateway));
    clients.back()->send(get("/x", keyed("a") + "Idempotency-Key: the-same\r\n"));
    if (i == 0) REQUIRE(gateway.comes_to_run(1));
    if (i > 0 && i < 4) REQUIRE(gateway.comes_to_wait(static_cast<std::size_t>(i)));
  }
  for (int i = 4; i < 6; ++i)
    CHECK(clients[static_cast<std::size_t>(i)]->read_answer().field("X-Classgate-Reason") ==
          "retry_budget");
  Client first(gateway);
  first.send(get("/x", keyed("a")));
  CHECK(gateway.comes_to_wait(4));
}

// Seen: 40 parallel calls of one trace, which all had its X-Request-Id; 36 were refused as retries.
TEST_CASE("parallel calls of one trace are no retries") {
  FakeUpstream upstream(FakeUpstream::held());
  auto settings = settings_with_identity(upstream.port(), 1'000);
  settings.admission.workers = 1;
  settings.admission.queue_size = 100;
  Gateway gateway(settings);
  constexpr std::size_t calls = 40;
  std::vector<std::unique_ptr<Client>> clients;
  for (std::size_t i = 0; i < calls; ++i) {
    clients.push_back(std::make_unique<Client>(gateway));
    clients.back()->send(get("/x", keyed("a") + "X-Request-Id: of-the-trace\r\n"));
  }
  CHECK(gateway.comes_to_wait(calls - 1));
}

}  // namespace
}  // namespace classgate::gateway::test
