// What is kept of requests that were refused or failed, and found again by their ids.

#include "gateway/decision_ring.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <future>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "gateway/ops/why.h"
#include "tests/gateway/kit.h"

namespace classgate::gateway::test {
namespace {

void put(DecisionRing& ring, const std::string& id, int status = 503) {
  ExchangeFacts facts;
  facts.status = status;
  ring.keep(facts, {.id = id});
}

std::string number(std::size_t i) { return "id-" + std::to_string(i); }

TEST_CASE("a ring keeps the newest, and no more than its size") {
  DecisionRing ring;
  put(ring, "none is wanted");
  CHECK(ring.size() == 0);
  ring.resize(100);
  for (std::size_t i = 0; i < 250; ++i) put(ring, number(i));
  CHECK(ring.size() == 100);
  for (std::size_t i = 0; i < 250; ++i)
    CHECK(ring.find(number(i), 100).told.size() == (i < 150 ? 0 : 1));
}

TEST_CASE("several of one id are found, the newest first") {
  DecisionRing ring;
  ring.resize(10);
  for (int status = 500; status < 515; ++status) put(ring, status % 2 == 0 ? "a" : "b", status);
  const auto found = ring.find("a", 100).told;
  REQUIRE(found.size() == 5);
  CHECK(found[0].status == 514);
  CHECK(found[4].status == 506);
  CHECK(ring.find("c", 100).told.empty());
}

TEST_CASE("of many with one id the newest are found, and no more than a page takes") {
  DecisionRing ring;
  ring.resize(1000);
  for (int status = 1; status <= 500; ++status) put(ring, "a", status);
  const auto found = ring.find("a", 20);
  REQUIRE(found.told.size() == 20);
  CHECK(found.told.front().status == 500);
  CHECK(found.told.back().status == 481);
  CHECK(found.more == 480);
}

TEST_CASE("a ring of another size keeps what fits of the newest") {
  DecisionRing ring;
  ring.resize(100);
  for (std::size_t i = 0; i < 130; ++i) put(ring, number(i));
  ring.resize(30);
  CHECK(ring.size() == 30);
  for (std::size_t i = 0; i < 130; ++i)
    CHECK(ring.find(number(i), 100).told.size() == (i < 100 ? 0 : 1));
  ring.resize(200);
  for (std::size_t i = 130; i < 330; ++i) put(ring, number(i));
  CHECK(ring.find(number(129), 100).told.empty());
  CHECK(ring.find(number(130), 100).told.size() == 1);
  ring.resize(0);
  CHECK(ring.size() == 0);
  put(ring, "none is wanted any more");
  CHECK(ring.size() == 0);
}

TEST_CASE("whatever sizes a ring has had, it keeps the newest that fit, in their order") {
  std::mt19937 random(3);
  for (int round = 0; round < 20; ++round) {
    DecisionRing ring;
    std::size_t most = 0, kept = 0;
    for (int status = 0; status < 600; ++status) {
      if (random() % 60 == 0) {
        most = random() % 4 == 0 ? random() % 3 : random() % 300;
        ring.resize(most);
      }
      put(ring, "a", status);
      kept = std::min(kept, most) + (most > 0 ? 1 : 0);
      kept = std::min(kept, most);
      REQUIRE(ring.size() == kept);
      if (random() % 20 != 0) continue;
      const auto found = ring.find("a", 1000).told;
      REQUIRE(found.size() == kept);
      for (std::size_t age = 0; age < kept; ++age)
        REQUIRE(found[age].status == status - static_cast<int>(age));
    }
  }
}

TEST_CASE("texts are cut at their room, and each is found again behind the others") {
  const std::string id(500, 'i'), address(500, 'a'), method(500, 'm'), path(1000, 'p'),
      name(500, 'n'), upstream(500, 'u'), route(500, 'r'), plan(500, 'l');
  DecisionRing ring;
  ring.resize(1);
  ring.keep({}, {.id = id,
                 .address = address,
                 .method = method,
                 .path = path,
                 .name = name,
                 .upstream = upstream,
                 .client = 0x4f7a'91c2'0000'0000,
                 .route = &route,
                 .plan = &plan});
  const auto found = ring.find(id.substr(0, Decision::id_max), 1).told;
  REQUIRE(found.size() == 1);
  CHECK(found[0].id == std::string(Decision::id_max, 'i'));
  CHECK(found[0].address == std::string(48, 'a'));
  CHECK(found[0].method == std::string(16, 'm'));
  CHECK(found[0].path == std::string(96, 'p'));
  CHECK(found[0].name == std::string(64, 'n'));
  CHECK(found[0].upstream == std::string(64, 'u'));
  CHECK(found[0].client == "c_4f7a91c2");
  CHECK(found[0].route == std::string(64, 'r'));
  CHECK(found[0].plan == std::string(32, 'l'));
}

TEST_CASE("what there was not of a request is told as -") {
  DecisionRing ring;
  ring.resize(1);
  ring.keep({}, {.id = "a", .path = "/b"});
  const auto found = ring.find("a", 1).told;
  REQUIRE(found.size() == 1);
  CHECK(found[0].path == "/b");
  for (const std::string& text : {found[0].client, found[0].address, found[0].method,
                                  found[0].route, found[0].plan, found[0].name, found[0].upstream})
    CHECK(text == "-");
}

TEST_CASE("a decision is told with the limits that were in force when it was kept") {
  DecisionRing ring;
  ring.set_in_force({.generation = 1, .rate = 5});
  ring.resize(70);
  put(ring, "before");
  ring.set_in_force({.generation = 2, .rate = 7});
  put(ring, "after");
  ring.resize(100);
  put(ring, "later");
  CHECK(ring.find("before", 1).told.at(0).limits.rate == 5);
  CHECK(ring.find("after", 1).told.at(0).limits.rate == 7);
  CHECK(ring.find("later", 1).told.at(0).limits.generation == 2);
}

// ---- In a gateway ------------------------------------------------------------------------------

std::vector<Decision> asked(Gateway& gateway, const std::string& id) {
  std::promise<Decisions> told;
  gateway.server().ask_decisions(
      id, [&](Decisions decisions) { told.set_value(std::move(decisions)); });
  return told.get_future().get().told;
}

conf::Settings why_settings(std::uint16_t port) {
  conf::Settings settings = settings_for(port);
  settings.threads = 1;
  return settings;
}

TEST_CASE("why: a refusal is kept with its bucket, and with the limits of its time") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  conf::Settings settings = why_settings(upstream.port());
  settings.admission.rate = 0.5;
  settings.admission.burst = 1;
  Gateway gateway(settings);
  Client client(gateway);
  const Message served = client.ask(get("/a"));
  const Message refused = client.ask(get("/a?secret"));
  CHECK(refused.status() == 429);
  CHECK(asked(gateway, served.field("X-Request-Id")).empty());  // only what went wrong is kept
  const std::string id = refused.field("X-Request-Id");
  settings.admission.rate = 7;
  REQUIRE(gateway.server().reconfigure(settings, {}));
  const auto kept = asked(gateway, id);
  REQUIRE(kept.size() == 1);
  const auto json = nlohmann::json::parse(why(id, Decisions{kept}, gateway.server().policy()));
  CHECK(json["conf_generation"] == 2);
  const auto& decision = json["decisions"][0];
  CHECK(decision["reason"] == "rate_limited");
  CHECK(decision["verdict"] == "rejected");
  CHECK(decision["path"] == "/a");
  CHECK(decision["status"] == 429);
  CHECK(decision["answered_by"] == "gateway");
  CHECK(decision["bucket"]["of"] == "all");
  REQUIRE(decision["buckets"].size() == 1);
  CHECK(decision["buckets"][0]["of"] == "all");
  CHECK(decision["buckets"][0]["rate"] == 0.5);
  CHECK(decision["bucket"]["rate"] == 0.5);
  CHECK(decision["bucket"]["burst"] == 1);
  CHECK(decision["bucket"]["tokens"] < 1);
  CHECK(decision["conf"]["generation"] == 1);
  CHECK(decision["conf"]["rate"] == 0.5);
  CHECK(decision["retry_after_ms"] > 0);
  const std::string page = why_page(json.dump());
  CHECK(page.contains("verdict    rejected: rate_limited ("));
  CHECK(page.contains("by conf 1; conf 2 is in force now"));
  CHECK(page.contains("limits     rate 0.5/s, burst 1, workers "));
  auto unlimited = json;  // "rate 0/s" would let nobody in
  unlimited["decisions"][0]["conf"]["rate"] = 0;
  CHECK(why_page(unlimited.dump()).contains("limits     no rate limit, workers "));
}

TEST_CASE("why: who found the line full is told its place and the estimate") {
  FakeUpstream upstream(FakeUpstream::held());
  conf::Settings settings = why_settings(upstream.port());
  settings.admission.workers = 1;
  settings.admission.queue_size = 1;
  Gateway gateway(settings);
  Client running(gateway), waiting(gateway), refused(gateway);
  running.send(get("/a"));
  REQUIRE(gateway.comes_to_run(1));
  waiting.send(get("/a"));
  REQUIRE(gateway.comes_to_wait(1));
  const std::string id = refused.ask(get("/a")).field("X-Request-Id");
  const auto kept = asked(gateway, id);
  REQUIRE(kept.size() == 1);
  const auto json = nlohmann::json::parse(why(id, Decisions{kept}, gateway.server().policy()));
  CHECK(json["decisions"][0]["reason"] == "queue_full");
  CHECK(json["decisions"][0]["line"]["place"] == 2);
  CHECK(json["decisions"][0]["line"]["places"] == 1);
  CHECK(json["decisions"][0]["bucket"].is_null());
  CHECK(json["decisions"][0]["waited_at_place"].is_null());
  CHECK(json["access_log"].is_null());
}

TEST_CASE("however many loops there are, together they keep no more decisions than ops.why_max") {
  for (const std::size_t all : {0U, 1U, 4U, 8U, 70U, 10'000U})
    for (const std::size_t loops : {1U, 3U, 8U, 64U}) {
      std::size_t kept = 0;
      for (std::size_t loop = 0; loop < loops; ++loop) kept += part_of(all, loops, loop);
      CHECK(kept == all);
      CHECK(part_of(all, loops, 0) <= part_of(all, loops, loops - 1) + 1);
    }
}

TEST_CASE("why: failures are kept, and with ops.why_max = 0 nothing is") {
  const DeadPort nobody;
  for (const std::uint32_t most : {10U, 0U}) {
    conf::Settings settings = why_settings(nobody.port());
    settings.ops.why_max = most;
    Gateway gateway(settings);
    Client client(gateway);
    const Message failed = client.ask(get("/a"));
    CHECK(failed.status() >= 502);
    const auto kept = asked(gateway, failed.field("X-Request-Id"));
    CHECK(kept.size() == (most > 0 ? 1 : 0));
    if (!kept.empty()) CHECK(kept[0].reason == conf::reason_from_word(failed.reason()));
  }
}

}  // namespace
}  // namespace classgate::gateway::test
