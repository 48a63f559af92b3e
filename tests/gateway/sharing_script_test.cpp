// The ledger that Redis runs says what the one says that is tried on virtual time.

#include <doctest/doctest.h>
#include <hiredis/hiredis.h>

#include "gateway/sharing/ledger_script.h"
#include "tests/admission/sharing_world.h"
#include "tests/gateway/redis_process.h"

namespace classgate::sharing {
namespace {

using admission::replay;
using admission::run;
using testing::RedisProcess;

std::string text_of(std::uint64_t number) { return std::to_string(number); }
std::string text_of(LedgerTime time) { return std::to_string(time.count()); }

// A ledger in Redis, which is told the same as the one of a world.
class Script final : public World::Twin {
 public:
  explicit Script(RedisProcess& redis) : redis_(redis) {
    const auto loaded = redis_.ask({"SCRIPT", "LOAD", std::string(gateway::ledger_script)});
    REQUIRE(loaded->type == REDIS_REPLY_STRING);
    sha_ = loaded->str;
    begin_anew();
  }
  // For another world.
  void begin_anew() {
    copies_.clear();
    on_lost_everything();
  }

  RedisProcess::Reply ask(const std::string& verb, const std::string& member,
                          const std::vector<std::string>& rest = {},
                          const std::string& members_max = "64") {
    std::vector<std::string> words{"EVALSHA", sha_,        "1",       key_,       verb,
                                   member,    members_max, "1000000", "600000000"};
    words.insert(words.end(), rest.begin(), rest.end());
    return redis_.ask(words);
  }
  RedisProcess::Reply settle(const Report& report, const std::string& server, LedgerTime told,
                             const std::string& members_max = "64", bool shows = false) {
    std::vector<std::string> rest{text_of(report.number),  report.ledger,
                                  text_of(report.sent),    text_of(report.cap),
                                  text_of(report.floor),   text_of(report.floors),
                                  text_of(report.members), text_of(report.in_use),
                                  text_of(report.workers), text_of(report.request_timeout)};
    for (const std::uint32_t wanted : report.demand.wanted) rest.push_back(text_of(wanted));
    for (const std::uint32_t weight : report.demand.weight) rest.push_back(text_of(weight));
    rest.push_back(text_of(report.heard));
    rest.push_back(server.empty() ? "" : text_of(told));
    rest.push_back(server);
    rest.push_back(shows ? "1" : "");
    for (const RateReport& rate : report.rates)
      rest.insert(rest.end(), {rate.id, text_of(rate.limit), text_of(rate.given),
                               text_of(rate.part), text_of(rate.wanted), text_of(rate.weight)});
    return ask("settle", report.member, rest, members_max);
  }

  void on_settled(const Report& report, const std::string& server, LedgerTime told,
                  const Share& share) override {
    ++settled;
    const auto reply = settle(report, server, told);
    INFO("report ", report.number, " of ", report.member);
    REQUIRE_MESSAGE(reply->type == REDIS_REPLY_ARRAY, reply->str);
    REQUIRE(reply->element[0]->integer == (share.is_heard ? 1 : 0));
    REQUIRE(reply->element[1]->integer == share.told.count());
    if (!share.is_heard) return;
    ++heard;
    REQUIRE(reply->elements == 9 + 3 * share.rates.size());
    REQUIRE(std::string(reply->element[2]->str) == share.ledger);
    const std::uint32_t numbers[] = {share.seats, share.target, share.floor, share.floors,
                                     share.members};
    for (std::size_t i = 0; i < 5; ++i)
      REQUIRE_MESSAGE(reply->element[3 + i]->integer == numbers[i], "number ", i);
    REQUIRE(reply->element[8]->integer == static_cast<long long>(share.before));
    for (std::size_t i = 0; i < share.rates.size(); ++i) {
      REQUIRE(reply->element[9 + 3 * i]->integer == share.rates[i].part);
      REQUIRE(reply->element[10 + 3 * i]->integer ==
              static_cast<long long>(share.rates[i].granted));
      REQUIRE(reply->element[11 + 3 * i]->integer == static_cast<long long>(share.rates[i].limit));
    }
  }
  void on_buried(const std::string& member) override {
    REQUIRE(ask("bury", "whoever", {member})->type == REDIS_REPLY_STATUS);
  }
  void on_lost_everything() override { redis_.ask({"DEL", key_}); }
  void on_copy_kept() override {
    const auto value = redis_.ask({"GET", key_});
    copies_.push_back(value->type == REDIS_REPLY_STRING ? std::string(value->str, value->len) : "");
  }
  void on_copy_dropped() override { copies_.pop_front(); }
  void on_copy_taken_up() override {
    if (copies_.front().empty())
      redis_.ask({"DEL", key_});
    else
      redis_.ask({"SET", key_, copies_.front(), "PX", "600000"});
  }

  RedisProcess::Reply about_key(const std::string& what) { return redis_.ask({what, key_}); }

  std::uint64_t settled = 0;
  std::uint64_t heard = 0;

 private:
  RedisProcess& redis_;
  std::string key_ = "classgate:ledger";
  std::string sha_;
  std::deque<std::string> copies_;
};

Report report_of(const std::string& member, std::uint64_t number) {
  Report report;
  report.member = member;
  report.number = number;
  report.workers = 50;
  report.request_timeout = 1s;
  return report;
}

TEST_CASE("whatever happens, the script in Redis says what the ledger says") {
  RedisProcess redis;
  Script script(redis);
  for (std::uint64_t round = 0; round < 12; ++round) {
    const std::uint64_t seed = run().seed + round;
    INFO(replay(seed));
    World world({.workers = 20, .work_most = round % 3 == 0 ? 500ms : 2s, .rate = 200, .burst = 40},
                seed);
    script.begin_anew();
    world.set_twin(script);
    for (int i = 0; i < 4; ++i) {
      World::Gateway& gateway = world.add(i == 0 ? 150 : 20, i % 3 + 2);
      gateway.asks = i == 0 ? 400 : 40;
      gateway.clients = static_cast<std::uint32_t>(i) + 1;
      if (round % 2 == 0 && i == 2) gateway.rate = 50;
    }
    Random& random = world.random();
    for (int step = 0; step < 40; ++step) {
      world.let_something_happen(World::Memory::may_be_lost);
      world.run(std::chrono::milliseconds(random.below(1'500)));
    }
  }
  MESSAGE(script.settled, " reports, ", script.heard, " of them heard");
  CHECK(script.heard > 1'000);
}

TEST_CASE("the ledger expires, and is small with as many gateways as there may be") {
  RedisProcess redis;
  Script script(redis);
  for (int i = 0; i < 64; ++i)
    REQUIRE(
        script
            .settle(report_of("gateway-of-a-long-name/0123456789abcdef-" + std::to_string(i), 1),
                    "a server", 1h)
            ->type == REDIS_REPLY_ARRAY);
  CHECK(script.about_key("STRLEN")->integer < 64 * 1024);
  CHECK(script.about_key("PTTL")->integer > 600'000);
  CHECK(script.about_key("PTTL")->integer < 2'000'000);
}

TEST_CASE("one gateway more than there may be is told so, and the others have what they had") {
  RedisProcess redis;
  Script script(redis);
  for (const char* name : {"one", "two"}) script.settle(report_of(name, 1), "a server", 1h, "2");
  const auto third = script.settle(report_of("three", 1), "a server", 1h, "2");
  REQUIRE(third->type == REDIS_REPLY_ERROR);
  CHECK(std::string(third->str).contains("sharing.members_max"));
  CHECK(script.ask("show", "")->elements == 2 + 2);
}

TEST_CASE("who leaves has no seat and no floor any more") {
  RedisProcess redis;
  Script script(redis);
  for (const char* name : {"one", "two"}) script.settle(report_of(name, 1), "a server", 1h);
  script.ask("leave", "one");
  const auto shown = script.ask("show", "");
  REQUIRE(shown->elements == 2 + 1);
  CHECK(std::string(shown->element[2]->element[0]->str) == "two");
}

TEST_CASE("whoever asks with its report is shown all gateways, and what is kept for silent ones") {
  RedisProcess redis;
  Script script(redis);
  LedgerTime now = 1h;
  std::uint64_t number = 0;
  Report one = report_of("one", 1);
  const auto settle = [&](bool shows) {
    one.number = ++number;
    auto reply = script.settle(one, "a server", now += 100ms, "64", shows);
    REQUIRE_MESSAGE(reply->type == REDIS_REPLY_ARRAY, reply->str);
    one.ledger = "a server";
    one.heard = number;
    one.cap = static_cast<std::uint32_t>(reply->element[3]->integer);
    one.floor = static_cast<std::uint32_t>(reply->element[5]->integer);
    one.floors = static_cast<std::uint32_t>(reply->element[6]->integer);
    one.members = static_cast<std::uint32_t>(reply->element[7]->integer);
    return reply;
  };
  for (int i = 0; i < 40; ++i) settle(false);
  Report two = report_of("two", 1);
  two.cap = 5;
  script.settle(two, "a server", now);
  const auto seen = settle(true);
  REQUIRE(seen->elements == 10);
  REQUIRE(seen->element[9]->elements == 2 + 2);
  CHECK(seen->element[9]->element[0]->integer == 0);
  CHECK(std::string(seen->element[9]->element[3]->element[0]->str) == "two");
  for (int i = 0; i < 13; ++i) settle(false);  // longer than its lease; what it began may go on
  const auto later = settle(true);
  REQUIRE(later->element[9]->elements == 2 + 2);
  CHECK(later->element[9]->element[0]->integer == 5);
  CHECK(later->element[9]->element[3]->element[5]->integer < 0);
  CHECK(settle(false)->elements == 9);
}

TEST_CASE("by itself the script goes by the clock of Redis, and names the server") {
  RedisProcess redis;
  Script script(redis);
  const auto first = script.settle(report_of("one", 1), "", {});
  REQUIRE_MESSAGE(first->type == REDIS_REPLY_ARRAY, first->str);
  CHECK(first->element[1]->integer > 1'000'000'000'000'000);
  CHECK(std::string(first->element[2]->str).size() == 40 + 1 + 40);
  // The history of writes is another one after a promotion.
  redis.ask({"REPLICAOF", "127.0.0.1", "1"});
  redis.ask({"REPLICAOF", "NO", "ONE"});
  auto again = report_of("one", 2);
  again.ledger = first->element[2]->str;
  const auto second = script.settle(again, "", {});
  REQUIRE_MESSAGE(second->type == REDIS_REPLY_ARRAY, second->str);
  CHECK(std::string(second->element[2]->str) != again.ledger);
}

}  // namespace
}  // namespace classgate::sharing
