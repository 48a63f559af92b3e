// What clients have had of their quotas: the counters of a process. (Their file:
// quota_file_test.cpp.)

#include <doctest/doctest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "tests/gateway/quota_kit.h"

namespace classgate::gateway::test {
namespace {

using conf::QuotaUnit;
using std::chrono::sys_days;
using std::chrono::sys_seconds;

TEST_CASE("a client gets its quota of requests and not one more, and again the next day") {
  QuotaTable table(utc(), 100);
  const PlanQuota plan = plan_of({.day = 3});
  for (int i = 0; i < 3; ++i) CHECK(!table.take(1, plan, 1, noon).refused);
  const auto refused = table.take(1, plan, 1, noon).refused;
  REQUIRE(refused);
  CHECK(refused->kind == QuotaPeriod::day);
  CHECK(refused->limit == 3);
  CHECK(refused->used == 3);
  CHECK(refused->end == sys_days(2026y / 11 / 28));
  CHECK(!table.take(2, plan, 1, noon).refused);  // another client
  CHECK(!table.take(1, plan, 1, sys_days(2026y / 11 / 28)).refused);
}

TEST_CASE("of a day and a month that are used up the one that is renewed last is told") {
  QuotaTable table(utc(), 100);
  const PlanQuota plan = plan_of({.day = 2, .month = 2});
  for (int i = 0; i < 2; ++i) CHECK(!table.take(1, plan, 1, noon).refused);
  const auto refused = table.take(1, plan, 1, noon).refused;
  REQUIRE(refused);
  CHECK(refused->kind == QuotaPeriod::month);
  CHECK(refused->end == sys_days(2026y / 12 / 1));
}

TEST_CASE("what costs more than is left is refused, and what costs less still gets in") {
  QuotaTable table(utc(), 100);
  const PlanQuota plan = plan_of({.month = 10, .unit = QuotaUnit::cost});
  CHECK(!table.take(1, plan, 6, noon).refused);
  CHECK(table.take(1, plan, 5, noon).refused);
  CHECK(!table.take(1, plan, 4, noon).refused);
  CHECK(table.take(1, plan, 1, noon).refused);
}

TEST_CASE("what costs more than the whole of a quota is told that, and not when it is renewed") {
  QuotaTable table(utc(), 100);
  const auto refused = [&](const conf::QuotaSettings& quota, std::int64_t cost) {
    const auto answer = table.take(1, plan_of(quota), cost, noon);
    REQUIRE(answer.refused);
    return *answer.refused;
  };
  const auto day = refused({.day = 5, .unit = QuotaUnit::cost}, 6);
  CHECK(day.is_too_small);
  CHECK(day.left() == 5);
  // The month would be renewed last, and the day never fits.
  CHECK(!table.take(1, plan_of({.month = 9, .unit = QuotaUnit::cost}), 4, noon).refused);
  const auto both = refused({.day = 5, .month = 9, .unit = QuotaUnit::cost}, 6);
  CHECK(both.kind == QuotaPeriod::day);
  CHECK(both.is_too_small);
  const auto later = refused({.month = 9, .unit = QuotaUnit::cost}, 9);
  CHECK(later.kind == QuotaPeriod::month);
  CHECK_FALSE(later.is_too_small);
  CHECK(!table.take(2, plan_of({.day = 1}), 1000, noon).refused);  // it counts requests
}

TEST_CASE("what is given back may be had again, and what is found to cost more is counted") {
  QuotaTable table(utc(), 100);
  const PlanQuota plan = plan_of({.day = 10, .unit = QuotaUnit::cost});
  auto charge = table.take(1, plan, 9, noon).charge;
  table.settle(charge, 3);
  CHECK(table.look(1, plan, noon).at(0).used == 12);
  table.give_back(charge);
  CHECK(table.look(1, plan, noon).at(0).used == 0);
  CHECK(!table.take(1, plan, 10, noon).refused);
}

TEST_CASE("a soft quota warns from its number on and refuses nobody") {
  QuotaTable table(utc(), 100);
  const PlanQuota plan = plan_of({.day_soft = 2});
  CHECK(!table.take(1, plan, 1, noon).warning);
  const auto second = table.take(1, plan, 1, noon);
  REQUIRE(second.warning);
  CHECK(second.warning->left() == 0);
  for (int i = 0; i < 100; ++i) CHECK(!table.take(1, plan, 1, noon).refused);
}

TEST_CASE("of two quotas that warn, the one that ends first is told") {
  const auto warned = [](const conf::QuotaSettings& quota) {
    QuotaTable table(utc(), 100);
    return table.take(1, plan_of(quota), 1, noon).warning.value().kind;
  };
  CHECK(warned({.day = 3, .month = 1000, .day_soft = 1, .month_soft = 1}) == QuotaPeriod::day);
  CHECK(warned({.day = 1000, .month = 3, .day_soft = 1, .month_soft = 1}) == QuotaPeriod::month);
  CHECK(warned({.month = 1000, .day_soft = 1, .month_soft = 1}) == QuotaPeriod::month);
  CHECK(warned({.day = 1000, .day_soft = 1, .month_soft = 1}) == QuotaPeriod::day);
}

TEST_CASE("clients beyond the bound share one client's quota, by plan") {
  QuotaTable table(utc(), 2);
  const PlanQuota free = plan_of({.day = 3}), gold = plan_of({.day = 5}, "gold");
  CHECK(!table.take(1, free, 1, noon).refused);
  CHECK(!table.take(2, free, 1, noon).refused);
  int in = 0;
  for (std::uint64_t client = 100; client < 200; ++client)
    if (!table.take(client, free, 1, noon).refused) ++in;
  CHECK(in == 3);
  CHECK(table.not_remembered() == 100);
  in = 0;
  for (std::uint64_t client = 200; client < 300; ++client)
    if (!table.take(client, gold, 1, noon).refused) ++in;
  CHECK(in == 5);
  CHECK(!table.take(1, free, 1, noon).refused);  // who was there has his own
  // The next month begins with an empty table.
  const sys_seconds later = sys_days(2026y / 12 / 1);
  table.forget_former(later);
  CHECK(table.clients() == 0);
  CHECK(!table.take(100, free, 1, later).refused);
}

std::shared_ptr<const QuotaNames> quota_names(std::vector<std::uint64_t> ids,
                                              std::size_t keys = 0) {
  return std::make_shared<const QuotaNames>(QuotaNames{std::move(ids), keys});
}

// How many requests of so many this client is let in with.
int ask_for_quota(QuotaTable& table, std::uint64_t client, const PlanQuota& plan, int count,
                  bool is_named) {
  int in = 0;
  for (int i = 0; i < count; ++i)
    if (!table.take(client, plan, 1, noon, is_named).refused) ++in;
  return in;
}

TEST_CASE("strangers in a plan's network leave every client that is named a quota of its own") {
  // Ten times as many addresses as there are places come before the first client with a key.
  QuotaTable table(utc(), 100, quota_names({1, 2, 3}, 2));
  const PlanQuota free = plan_of({.day = 20}), gold = plan_of({.day = 1000}, "gold");
  for (std::uint64_t client = 1'000; client < 2'000; ++client) table.take(client, free, 1, noon);
  CHECK(table.not_remembered() == 1'000 - 95);
  CHECK(table.clients() == 95 + 1);  // and the one that the others share
  for (const std::uint64_t named : {1UL, 2UL, 3UL, 8UL, 9UL}) {  // 8 and 9 by keys of a plan
    CHECK(table.look(named, gold, noon, true).at(0).used == 0);
    CHECK(ask_for_quota(table, named, gold, 1'100, true) == 1'000);
  }
  CHECK(table.not_remembered() == 1'000 - 95);
  CHECK(table.clients() == 100 + 1);
  CHECK(ask_for_quota(table, 1'000, free, 30, false) == 19);  // who of them was there has his own
  CHECK(ask_for_quota(table, 77'777, free, 30, false) == 0);  // the others have had theirs together
}

TEST_CASE("where all places are for those who are named, the others share one quota") {
  QuotaTable table(utc(), 2, quota_names({1, 2}));
  const PlanQuota plan = plan_of({.day = 5});
  for (std::uint64_t client = 100; client < 105; ++client)
    CHECK(ask_for_quota(table, client, plan, 1, false));
  CHECK_FALSE(ask_for_quota(table, 105, plan, 1, false));
  CHECK(ask_for_quota(table, 1, plan, 10, true) == 5);
  CHECK(ask_for_quota(table, 2, plan, 10, true) == 5);
}

TEST_CASE(
    "a reload may name others: they have quotas of their own, and who was one stays counted") {
  QuotaTable table(utc(), 10, quota_names({1, 2}));
  const PlanQuota plan = plan_of({.day = 5});
  for (std::uint64_t client = 100; client < 200; ++client)
    ask_for_quota(table, client, plan, 1, false);
  CHECK(ask_for_quota(table, 1, plan, 3, true) == 3);
  table.use(utc(), 10, quota_names({2, 3, 100}));
  CHECK(ask_for_quota(table, 3, plan, 9, true) == 5);
  CHECK(ask_for_quota(table, 100, plan, 9, true) == 4);  // had one as a stranger
  CHECK(ask_for_quota(table, 1, plan, 9, false) == 2);
  // None is counted twice, nor for ever: the next month has room for all there may be.
  const sys_seconds later = sys_days(2026y / 12 / 1);
  table.forget_former(later);
  CHECK(table.clients() == 0);
  const std::uint64_t before = table.not_remembered();
  for (std::uint64_t client = 200; client < 207; ++client) table.take(client, plan, 1, later);
  CHECK(table.not_remembered() == before);
  table.take(207, plan, 1, later);
  CHECK(table.not_remembered() == before + 1);
}

TEST_CASE("a reload that names a client frees its place among the others, and takes it up again") {
  // Of six places five are for others, and four of those are taken.
  QuotaTable table(utc(), 6, quota_names({1}));
  const PlanQuota plan = plan_of({.day = 5});
  table.take(1, plan, 1, noon, true);
  for (std::uint64_t client = 100; client < 104; ++client) table.take(client, plan, 1, noon);
  table.use(utc(), 6, quota_names({1, 100}));
  table.take(104, plan, 1, noon);  // in place of 100
  CHECK(table.not_remembered() == 0);
  table.use(utc(), 6, quota_names({100}));
  table.take(105, plan, 1, noon);  // 1 has the fifth
  CHECK(table.not_remembered() == 1);
}

TEST_CASE("many threads that ask, give back and settle get the quota, not one more") {
  QuotaTable table(utc(), 1000);
  const PlanQuota plan = plan_of({.day = 20'000});
  std::atomic<int> in{0};
  std::atomic<bool> is_over{false};
  std::int64_t written = 0;
  std::thread writer([&] {
    for (bool last = false; !last;) {
      last = is_over;
      for (const QuotaRow& row : table.collect())
        if (row.kind == QuotaPeriod::day) written += row.usage.requests;
    }
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20'000; ++i) {
        const auto answer = table.take(1, plan, 1, noon);
        if (answer.refused) continue;
        if ((i + t) % 3 == 0)
          table.give_back(answer.charge);
        else
          ++in;
      }
    });
  for (std::thread& thread : threads) thread.join();
  is_over = true;
  writer.join();
  CHECK(in == 20'000);
  CHECK(written == 20'000);
}

}  // namespace
}  // namespace classgate::gateway::test
