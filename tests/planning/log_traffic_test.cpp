#include "gateway/planning/log_traffic.h"

#include <doctest/doctest.h>

#include "conf/format.h"
#include "conf/known_clients.h"
#include "tests/planning/log_kit.h"

namespace classgate::planning {
namespace {

using namespace std::chrono_literals;

TEST_CASE("requests come in the order in which they arrived, whenever they ended") {
  Log log;
  log.add(1000ms, 10ms, {.client = "b"});
  log.add(1500ms, 1400ms, {.client = "a"});
  log.add(1600ms, 300ms, {.client = "c", .upstream_ms = 250});
  const auto traffic = open({.file = log.log()});
  const std::vector<Wish> wishes = all_of(*traffic);
  REQUIRE(wishes.size() == 3);
  CHECK(traffic->client_name(wishes[0].client) == "a");
  CHECK(traffic->client_name(wishes[1].client) == "b");
  CHECK(traffic->client_name(wishes[2].client) == "c");
  CHECK(wishes[0].at == Time{});
  CHECK(wishes[1].at == Time{} + 890ms);
  CHECK(wishes[2].at == Time{} + 1200ms);
  CHECK(wishes[2].service == 250ms);
  CHECK(wishes[2].bytes == 52);
  CHECK(wishes[2].priority == 3);
}

TEST_CASE("what the log cannot know is filled in: services of the refused, patience of who left") {
  Log log;
  log.add(100ms, 50ms, {.upstream_ms = 40});
  log.add(200ms, 0ms, {.verdict = "rejected", .reason = "queue_full", .upstream_ms = 0});
  log.add(900ms, 600ms, {.verdict = "abandoned", .upstream_ms = 0});
  log.add(31'000ms, 30'000ms, {.reason = "upstream_timeout", .upstream_ms = 29'000});
  log.add(31'001ms, 5ms, {.reason = "upstream_broken", .upstream_ms = 4});
  const auto traffic = open({.file = log.log()});
  const std::vector<Wish> wishes = all_of(*traffic);
  REQUIRE(wishes.size() == 5);
  CHECK(wishes[1].service == 40ms);
  CHECK(wishes[1].patience == Duration::max());
  CHECK(wishes[2].patience == 600ms);
  CHECK(wishes[2].service == 40ms);
  CHECK(wishes[3].service >= 60s);
  CHECK(wishes[4].fails);
}

TEST_CASE("operators' requests and those refused for what they were are no traffic") {
  Log log;
  log.add(100ms, 50ms, {});
  log.add(110ms, 0ms, {.path = "/queue/health", .verdict = "operator"});
  log.add(120ms, 0ms, {.verdict = "rejected", .reason = "body_too_large"});
  const auto traffic = open({.file = log.log()});
  CHECK(all_of(*traffic).size() == 1);
  REQUIRE(traffic->remarks().size() == 1);
  CHECK(traffic->remarks()[0].starts_with("2 lines were left out"));
}

// A flood of refusals stands in the log as lines for many: without them the simulation saw a
// service that had been left in peace.
TEST_CASE("a line that stands for many refusals is as many requests, evenly over its time") {
  Log log;
  log.add(100ms, 100ms, {.upstream_ms = 40});
  log.add(
      "time=2026-11-24T09:30:01.200Z rolled_up=5 since=2026-11-24T09:30:00.200Z client=192.0.2.9 "
      "path=\"/v1/classify\" route=\"/v1/classify\" priority=3 verdict=rejected "
      "reason=client_rate status=429\n");
  log.add(1300ms, 100ms, {.client = "last"});
  const auto traffic = open({.file = log.log()});
  const std::vector<Wish> wishes = all_of(*traffic);
  REQUIRE(wishes.size() == 7);
  for (std::size_t i = 1; i <= 5; ++i) {
    CHECK(wishes[i].at == Time{} + 200ms * static_cast<int>(i));
    CHECK(traffic->client_name(wishes[i].client) == "192.0.2.9");
    CHECK((wishes[i].service == 40ms || wishes[i].service == 20ms));
  }
  CHECK(traffic->client_name(wishes[6].client) == "last");
  REQUIRE(traffic->remarks().size() == 1);
  CHECK(traffic->remarks()[0].starts_with("5 refusals stood in 1 lines for many"));
}

TEST_CASE("refusals of which the log does not tell the path are named, not simulated") {
  Log log;
  log.add(100ms, 100ms, {});
  log.add(
      "time=2026-11-24T09:30:01.200Z rolled_up=70000 since=2026-11-24T09:30:00.200Z client=* "
      "path=\"-\" route=\"-\" priority=0 verdict=rejected reason=client_rate status=429\n");
  const auto traffic = open({.file = log.log()});
  CHECK(all_of(*traffic).size() == 1);
  REQUIRE(traffic->remarks().size() == 1);
  CHECK(traffic->remarks()[0].starts_with("70000 more refusals stood in lines that do not tell"));
  CHECK(traffic->complaint().contains(": 70000 of 70001 requests stand in lines that do not tell"));
  CHECK(open({.file = log.log(), .keeps_bad_lines = true})->complaint().empty());
}

TEST_CASE("one request in a hundred may be without a path, not more") {
  for (const int without : {1, 2}) {
    Log log;
    for (int i = 0; i < 99; ++i) log.add(i * 10ms, 5ms, {});
    log.add(
        fmt::format("time=2026-11-24T09:30:01.200Z rolled_up={} since=2026-11-24T09:30:00.200Z "
                    "client=* path=\"-\" route=\"-\" priority=0 verdict=rejected "
                    "reason=client_rate status=429\n",
                    without));
    const auto traffic = open({.file = log.log()});
    CHECK(all_of(*traffic).size() == 99);
    CHECK(traffic->complaint().empty() == (without == 1));
  }
}

TEST_CASE("malformed lines are counted and shown; more than one in a hundred ends it") {
  Log log;
  log.add("what is this\n");
  for (int i = 0; i < 99; ++i) log.add(i * 10ms, 5ms, {});
  auto traffic = open({.file = log.log()});
  CHECK(all_of(*traffic).size() == 99);
  CHECK(traffic->complaint().empty());
  REQUIRE(traffic->remarks().size() == 2);
  CHECK(traffic->remarks()[0] == log.path() + ":1: is no line of an access log: what is this");

  log.add("and this\n");
  traffic = open({.file = log.log()});
  CHECK(all_of(*traffic).size() == 99);
  CHECK(traffic->complaint().starts_with(log.path() + ": 2 of 101 lines are malformed"));
  CHECK(all_of(*open({.file = log.log(), .keeps_bad_lines = true})).size() == 99);
}

TEST_CASE("a log in which nobody was served needs a model of the service") {
  Log log;
  log.add(200ms, 0ms, {.verdict = "rejected", .reason = "queue_full"});
  const conf::Settings settings;
  CHECK_FALSE(LogTraffic::open({.file = log.log(), .format = ours()}, settings));
  LogOptions options{.file = log.log(), .service = LogOptions::Service::model};
  options.model.service = {conf::Law::Kind::fixed, 70ms, {}, 0};
  CHECK(all_of(*open(options))[0].service == 70ms);
}

// Errors that took a millisecond were drawn for those of whom nothing was known: a service of 40 ms
// seemed to take 20. A tunnel of an hour was one, too.
TEST_CASE("errors and tunnels are no samples of what work takes; they take what they took") {
  Log log;
  log.add(100ms, 50ms, {.upstream_ms = 40});
  for (int i = 0; i < 20; ++i) {
    log.add(200ms, 1ms, {.upstream_ms = 1, .status = 404});
    log.add(200ms, 1ms, {.upstream_ms = 2, .status = 500});
    log.add(300ms, 200ms, {.upstream_ms = 900'000, .status = 101});
    log.add(400ms, 0ms, {.verdict = "rejected", .reason = "queue_full", .upstream_ms = 0});
  }
  for (const auto service : {LogOptions::Service::recorded, LogOptions::Service::fitted}) {
    const auto traffic = open({.file = log.log(), .service = service});
    std::vector<std::size_t> times(4);
    for (const Wish& wish : all_of(*traffic))
      ++times[wish.service == 40ms ? 0 : wish.service == 1ms ? 1 : wish.service == 2ms ? 2 : 3];
    CHECK(times == std::vector<std::size_t>{21, 20, 20, 20});
  }
}

TEST_CASE("what the service refused itself would have been work, and takes what others took") {
  Log log;
  log.add(100ms, 50ms, {.upstream_ms = 40});
  log.add(200ms, 1ms, {.upstream_ms = 1, .status = 429});
  log.add(300ms, 1ms, {.upstream_ms = 1, .status = 503});
  const auto traffic = open({.file = log.log()});
  for (const Wish& wish : all_of(*traffic)) CHECK(wish.service == 40ms);
  CHECK(traffic->remarks()[0].starts_with("2 requests were refused by the service itself"));
}

// ---- Clients and their plans -------------------------------------------------------------------

conf::Settings with_plans() {
  conf::Settings settings;
  settings.admission.fairness.is_on = true;
  settings.admission.fairness.identity = {{conf::IdentitySource::Kind::header, "x-api-key"}};
  settings.admission.fairness.plans = {{.name = "gold", .rate = 50, .clients = {}},
                                       {.name = "free", .rate = 1, .clients = {}}};
  return settings;
}

// Everybody had the terms of everybody: 89 % were refused in the simulation, 5 % in reality.
TEST_CASE("a request is on the plan that the log tells, by its name in the conf") {
  Log log;
  log.add(100ms, 1ms, {.client = "c_1", .rest = " plan=gold name=-"});
  log.add(200ms, 1ms, {.client = "c_2", .rest = " plan=free name=-"});
  log.add(300ms, 1ms, {.client = "c_3", .rest = " plan=- name=-"});
  log.add(400ms, 1ms, {.client = "c_4", .rest = " plan=silver name=-"});
  const conf::Settings settings = with_plans();
  const admission::Ids ids(settings);
  const auto traffic = open({.file = log.log()}, settings);
  const std::vector<Wish> wishes = all_of(*traffic);
  REQUIRE(wishes.size() == 4);
  CHECK(wishes[0].plan == ids.plan("gold"));
  CHECK(wishes[1].plan == ids.plan("free"));
  CHECK(wishes[0].plan != wishes[1].plan);
  CHECK(wishes[2].plan == admission::PlanId{});
  CHECK(wishes[3].plan == admission::PlanId{});
  CHECK(traffic->complaint() == "");
  CHECK(
      traffic->remarks()[0].starts_with("1 requests are of plans that the conf does not have, "
                                        "such as silver"));
}

TEST_CASE("a client of the conf's file is on the plan that it has there, whatever it was on") {
  Log log;
  log.add(100ms, 1ms, {.client = "c_1", .rest = " plan=free name=acme"});
  conf::Settings settings = with_plans();
  auto known = std::make_shared<conf::KnownClients>();
  known->clients.push_back({.name = "acme", .plan = "gold", .plan_place = {}});
  settings.clients.known = known;
  CHECK(all_of(*open({.file = log.log()}, settings))[0].plan ==
        admission::Ids(settings).plan("gold"));
}

TEST_CASE("lines for many have the plan that the lines of their client had before") {
  Log log;
  log.add(100ms, 1ms, {.client = "c_1", .rest = " plan=free name=-"});
  log.add(
      "time=2026-11-24T09:30:01.200Z rolled_up=5 since=2026-11-24T09:30:00.200Z client=c_1 "
      "path=\"/v1/classify\" route=\"/v1/classify\" priority=3 verdict=rejected "
      "reason=client_rate status=429 name=-\n");
  const conf::Settings settings = with_plans();
  const auto traffic = open({.file = log.log()}, settings);
  for (const Wish& wish : all_of(*traffic))
    CHECK(wish.plan == admission::Ids(settings).plan("free"));
  CHECK(traffic->complaint() == "");
}

TEST_CASE("a log that does not tell clients or plans where the conf needs them is not believed") {
  const conf::Settings settings = with_plans();
  Log without_plan;
  without_plan.add(100ms, 1ms, {.client = "c_1"});
  auto traffic = open({.file = without_plan.log()}, settings);
  all_of(*traffic);
  CHECK(traffic->complaint().contains("1 of 1 requests do not tell the plan of their client"));
  traffic = open({.file = without_plan.log(), .keeps_bad_lines = true}, settings);
  all_of(*traffic);
  CHECK(traffic->complaint() == "");

  Log without_id;
  without_id.add(100ms, 1ms, {.client = "-", .rest = " address=192.0.2.7 plan=- name=-"});
  traffic = open({.file = without_id.log()}, settings);
  all_of(*traffic);
  CHECK(
      traffic->complaint().contains("1 of 1 requests do not tell their client, only its address"));
  // By address they are told apart as the conf does.
  conf::Settings by_address;
  by_address.admission.fairness.everybody.rate = 5;
  traffic = open({.file = without_id.log()}, by_address);
  all_of(*traffic);
  CHECK(traffic->complaint() == "");
}

TEST_CASE("what a request tells of its cost counts, where its route asks it") {
  Log log;
  log.add(100ms, 1ms, {.cost = 7});
  conf::Settings settings;
  settings.routes = {{.path = "/v1/classify"}};
  CHECK(all_of(*open({.file = log.log()}, settings))[0].cost == 1);
  settings.routes[0].cost.kind = conf::CostSettings::Kind::body;
  CHECK(all_of(*open({.file = log.log()}, settings))[0].cost == 7);
}

// ---- Lines that are not there ------------------------------------------------------------------

TEST_CASE("a log of which the conf says that it is a sample is not taken for all of the traffic") {
  Log log;
  log.add(100ms, 1ms, {});
  conf::Settings settings;
  settings.log.sample = 0.1;
  auto traffic = open({.file = log.log()}, settings);
  all_of(*traffic);
  CHECK(traffic->complaint().contains(
      "there was more traffic than it tells: the conf has log.sample = 0.1"));
  traffic = open({.file = log.log(), .keeps_bad_lines = true}, settings);
  CHECK(all_of(*traffic).size() == 1);
  CHECK(traffic->complaint() == "");
  CHECK(traffic->remarks()[0].contains("log.sample = 0.1"));
}

TEST_CASE("a second with as many lines as there may be is one of which lines were dropped") {
  conf::Settings settings;
  settings.log.access_lines_max = 100;
  for (const int lines : {94, 95}) {
    Log log;
    log.add(500ms, 1ms, {});
    for (int i = 0; i < lines; ++i) log.add(1000ms + i * 10ms, 1ms, {});
    log.add(2000ms, 1ms, {});
    const auto traffic = open({.file = log.log()}, settings);
    all_of(*traffic);
    CHECK(traffic->complaint().contains(
              "in 1 of its seconds it has as many lines as log.access_lines_max = 100") ==
          (lines == 95));
  }
}

// ---- Units -------------------------------------------------------------------------------------

TEST_CASE("a service that takes very long or no time at all is asked about its unit") {
  const auto remarks_of = [](std::string_view name, std::string_view took) {
    testing::WrittenFile log;
    for (int i = 0; i < 9; ++i)
      log.add(fmt::format("{{\"ts\":{}.5,\"path\":\"/a\",\"status\":200,\"{}\":{}}}\n",
                          1795512607 + 100 * i, name, took));
    const auto traffic = open({.file = log.log(), .format = *format_of("json", nullptr)});
    all_of(*traffic);
    std::string all;
    for (const std::string& remark : traffic->remarks()) all += remark + "\n";
    return all;
  };
  CHECK(remarks_of("upstream_response_time", "45")
            .contains("the service took 45 s in the median of the first lines: is the unit right? "
                      "The log may tell milliseconds where seconds are read"));
  CHECK(remarks_of("upstream_ms", "0.045").contains("The log may tell seconds where milliseconds"));
  CHECK_FALSE(remarks_of("upstream_ms", "45").contains("unit"));
}

// One forged line would stretch the simulation over centuries.
TEST_CASE("lines of another year than the first are counted as malformed, and shown printable") {
  Log log;
  for (int i = 0; i < 300; ++i) log.add(std::chrono::milliseconds(i), 1ms, {});
  log.add(
      "time=1971-01-01T00:00:00.000Z client=\x1b[31m\xe9 path=\"/\" verdict=admitted reason=- "
      "upstream_ms=1 total_ms=1\n");
  log.add("time=\x1b]0;title\x07\n");
  const auto traffic = open({.file = log.log()});
  CHECK(all_of(*traffic).size() == 300);
  CHECK(traffic->complaint().empty());
  const auto remarks = traffic->remarks();
  REQUIRE(remarks.size() == 3);
  CHECK(remarks[0].contains(":301: is of another year than the first line: time=1971"));
  CHECK(remarks[1].contains(":302: time is \"\\x1b]0;title\\x07\": time=\\x1b]0;title\\x07"));
  CHECK(remarks[2] == "2 malformed lines were left out");
}

}  // namespace
}  // namespace classgate::planning
