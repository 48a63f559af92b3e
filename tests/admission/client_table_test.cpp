#include "admission/client_table.h"

#include "tests/admission/kit.h"
#include "tests/admission/run.h"

namespace classgate::admission {
namespace {

conf::FairnessSettings settings_for(std::uint32_t clients_max, double rate, double burst) {
  conf::FairnessSettings settings;
  settings.is_on = true;
  settings.clients_max = clients_max;
  settings.everybody.rate = rate;
  settings.everybody.burst = burst;
  return settings;
}

// A table of `clients_max` with everybody's rate and burst.
ClientTable table_of(std::uint32_t clients_max, double rate = 1, double burst = 10) {
  ClientTable table;
  table.use(settings_for(clients_max, rate, burst), {}, start);
  return table;
}

TEST_CASE("a client is the same one as long as it is remembered") {
  ClientTable table = table_of(100);
  const auto first = table.find_or_add(17, {}, start);
  CHECK(first.is_new);
  table.take(first.number, 10);
  const auto again = table.find_or_add(17, {}, start);
  CHECK_FALSE(again.is_new);
  CHECK(again.number == first.number);
  CHECK(table.wait_for(again.number, 1, start) == 1s);
  CHECK(table.wait_for(again.number, 1, start + 1s) == 0s);
}

TEST_CASE("a full table forgets who is idle and has full buckets, which loses nothing") {
  ClientTable table = table_of(100);
  for (std::uint64_t id = 1; id <= 100; ++id) table.find_or_add(id, {}, start);
  for (std::uint64_t id = 101; id <= 200; ++id) CHECK(table.find_or_add(id, {}, start).is_new);
  CHECK(table.counts().known == 100);
  CHECK(table.counts().forgotten == 100);
  CHECK(table.counts().forgotten_early == 0);
}

TEST_CASE("a flood of strangers pushes out itself and nobody who has spent his tokens") {
  ClientTable table = table_of(100);
  for (std::uint64_t id = 1; id <= 50; ++id) table.take(table.find_or_add(id, {}, start).number, 5);
  Random random(run().seed);
  INFO(replay(run().seed));
  for (int i = 0; i < 10'000; ++i) {
    const auto found = table.find_or_add(1'000 + random.below(1U << 30), {}, start);
    if (table.wait_for(found.number, 1, start) == 0s) table.take(found.number, 1);
  }
  for (std::uint64_t id = 1; id <= 50; ++id) {
    const auto known = table.find(id);
    REQUIRE(known);
    CHECK(table.tokens(*known, start) == 5);
  }
  CHECK(table.counts().known == 100);
  CHECK(table.counts().forgotten_early > 1'000);
}

TEST_CASE("who is not remembered shares one client's rights with all that are not") {
  ClientTable table = table_of(100);
  for (std::uint64_t id = 1; id <= 100; ++id)
    table.take(table.find_or_add(id, {}, start).number, 5);
  const auto one = table.find_or_add(1'001, {}, start);
  const auto other = table.find_or_add(1'002, {}, start);
  CHECK(one.number == other.number);
  table.take(one.number, 10);
  CHECK(table.wait_for(other.number, 1, start) == 1s);
  CHECK(table.counts().not_remembered == 2);
}

TEST_CASE("who has a worker or waits is not forgotten") {
  ClientTable table = table_of(100);
  for (std::uint64_t id = 1; id <= 100; ++id) {
    const ClientNumber number = table.find_or_add(id, {}, start).number;
    id % 2 == 0 ? table.take_workers(number, 1) : table.join(number);
  }
  CHECK_FALSE(table.find_or_add(1'000, {}, start).is_new);
  table.leave(*table.find(1));
  for (std::uint64_t id = 2'000; id < 2'100; ++id) table.find_or_add(id, {}, start);
  CHECK_FALSE(table.find(1));
  for (std::uint64_t id = 2; id <= 100; ++id) CHECK(table.find(id));
}

TEST_CASE("retries are a share of the requests, with a few in hand") {
  ClientTable table = table_of(100);
  const ClientNumber client = table.find_or_add(1, {}, start).number;
  int allowed = 0;
  for (int i = 0; i < 1'000; ++i) {
    table.note_first_attempt(client);
    if (!table.may_retry(client, start)) continue;
    table.note_retry(client);
    ++allowed;
  }
  CHECK(allowed >= 200);
  CHECK(allowed <= 203);
  CHECK_FALSE(table.may_retry(client, start));
  CHECK(table.may_retry(client, start + 20s));
}

TEST_CASE("whether a client is content is said as of now, whenever it was looked at last") {
  ClientTable table = table_of(100, 0, 10);
  table.share_out(TokenBucket(10, 20));
  const ClientNumber client = table.find_or_add(1, {}, start).number;
  for (std::uint64_t other = 1; other <= 2; ++other)
    (void)table.asks_greedily(table.find_or_add(other, {}, start).number, 1, start);
  table.charge_part(client, 100);
  CHECK_FALSE(table.is_content(client, 1, start));
  CHECK(table.is_content(client, 1, start + 5s));
  CHECK(table.look(client, start + 5s).is_content(1));
}

// The ids of these plans, after those of the conf before.
Ids next_ids(Ids ids, const conf::FairnessSettings& settings) {
  conf::AdmissionSettings all;
  all.fairness = settings;
  ids.follow(all);
  return ids;
}

TEST_CASE("plans have terms of their own, and a plan that has gone is everybody's") {
  ClientTable table;
  conf::FairnessSettings settings = settings_for(100, 1, 10);
  settings.plans.push_back(
      {.name = "gold", .rate = 100, .burst = 50, .workers = 2, .weight = 3, .clients = {}});
  const Ids ids = next_ids({}, settings);
  const PlanId gold_plan = ids.plan("gold");
  table.use(settings, ids, start);
  const ClientNumber gold = table.find_or_add(1, gold_plan, start).number;
  CHECK(table.tokens(gold, start) == 50);
  table.take_workers(gold, 2);
  CHECK(table.has_all_its_workers(gold));
  settings.plans.clear();
  table.use(settings, next_ids(ids, settings), start);
  CHECK_FALSE(table.has_all_its_workers(gold));
  CHECK(table.tokens(gold, start) == 10);
  CHECK(table.find_or_add(1, gold_plan, start).number == gold);
  CHECK(table.tokens(gold, start) == 10);
}

// Two [[plan]] tables change places: each client keeps its tokens and its terms.
TEST_CASE("a plan that stands elsewhere now is the same plan") {
  ClientTable table;
  conf::FairnessSettings settings = settings_for(100, 1, 10);
  settings.plans.push_back({.name = "gold", .rate = 100, .burst = 50, .clients = {}});
  settings.plans.push_back({.name = "small", .rate = 1, .burst = 2, .clients = {}});
  Ids ids = next_ids({}, settings);
  table.use(settings, ids, start);
  const ClientNumber gold = table.find_or_add(1, ids.plan("gold"), start).number;
  const ClientNumber small = table.find_or_add(2, ids.plan("small"), start).number;
  std::swap(settings.plans[0], settings.plans[1]);
  ids = next_ids(ids, settings);
  table.use(settings, ids, start);
  CHECK(table.tokens(gold, start) == 50);
  CHECK(table.tokens(small, start) == 2);
  CHECK(table.plan_of(gold).name == "gold");
  CHECK(table.look(gold, start).plan == ids.plan("gold"));
}

TEST_CASE("who had a plan that has gone has not the one that got its slot") {
  ClientTable table;
  conf::FairnessSettings settings = settings_for(100, 1, 10);
  settings.plans.push_back({.name = "gold", .rate = 100, .burst = 50, .clients = {}});
  const Ids before = next_ids({}, settings);
  table.use(settings, before, start);
  const ClientNumber client = table.find_or_add(1, before.plan("gold"), start).number;
  settings.plans[0] = {.name = "small", .rate = 1, .burst = 2, .clients = {}};
  const Ids after = next_ids(before, settings);
  REQUIRE(after.plan("small").slot == before.plan("gold").slot);
  table.use(settings, after, start);
  CHECK(table.tokens(client, start) == 10);
  // A loop that has not heard of the reload yet.
  CHECK(table.find_or_add(1, before.plan("gold"), start).number == client);
  CHECK(table.tokens(client, start) == 10);
}

TEST_CASE("a clock that jumps back takes no tokens and gives none") {
  ClientTable table = table_of(100);
  const ClientNumber client = table.find_or_add(1, {}, start).number;
  table.take(client, 10);
  CHECK(table.wait_for(client, 1, start - 1h) == 1s);
  CHECK(table.wait_for(client, 1, start + 1s) == 0s);
  CHECK(table.tokens(client, Time::max()) == 10);
}

TEST_CASE("a table may grow and shrink while it is in use") {
  ClientTable table = table_of(100);
  for (std::uint64_t id = 1; id <= 100; ++id) table.find_or_add(id, {}, start);
  table.use(settings_for(1'000, 1, 10), {}, start);
  for (std::uint64_t id = 101; id <= 1'000; ++id) table.find_or_add(id, {}, start);
  for (std::uint64_t id = 1; id <= 1'000; ++id) CHECK(table.find(id));
  table.use(settings_for(100, 1, 10), {}, start);
  for (std::uint64_t id = 1; id <= 1'000; ++id) CHECK(table.find(id));
  CHECK(table.find_or_add(5'000, {}, start).is_new);
  CHECK(table.counts().known == 1'000);
}

// ---- Who is known, and who is not ---------------------------------------------------------------

// A table for 100 who are known, and 200 who are not.
ClientTable parted_table() {
  conf::FairnessSettings settings = settings_for(100, 1, 10);
  settings.unknown_max = 200;
  ClientTable table;
  table.use(settings, {}, start);
  return table;
}

TEST_CASE("clients that nobody knows push out one another, and none that is known") {
  ClientTable table = parted_table();
  // Idle, with full buckets: the first to be forgotten, if they were of those.
  for (std::uint64_t id = 1; id <= 100; ++id) table.find_or_add(id, {}, start, ClientKind::known);
  for (std::uint64_t id = 1'000; id < 20'000; ++id)
    table.find_or_add(id, {}, start, ClientKind::unknown);
  for (std::uint64_t id = 1; id <= 100; ++id) CHECK(table.find(id));
  CHECK(table.counts().known == 300);
  CHECK(table.counts().places == 300);
  CHECK(table.counts().unknown == 200);  // their part, however many come
  CHECK(table.counts().unknown_places == 200);
  CHECK(table.counts().forgotten == 19'000 - 200);
  // Nor do the known push out the unknown: each part makes its own room.
  const std::uint64_t newest = 19'999;
  CHECK(table.find(newest));
  for (std::uint64_t id = 101; id <= 5'000; ++id)
    table.find_or_add(id, {}, start, ClientKind::known);
  CHECK(table.find(newest));
  CHECK(table.counts().known == 300);
}

TEST_CASE("a look says who would find room, in the part that is theirs") {
  ClientTable table = parted_table();
  for (std::uint64_t id = 1; id <= 200; ++id) {
    const auto found = table.find_or_add(id, {}, start, ClientKind::unknown);
    table.take_workers(found.number, 1);  // none of them can be forgotten
  }
  const EqualParts parts = table.parts();
  CHECK(table.look_for(999, {}, start, parts, false, ClientKind::unknown).is_shared());
  CHECK(table.look_for(999, {}, start, parts, false, ClientKind::known).number ==
        ClientTable::newcomer);
  CHECK_FALSE(table.find_or_add(999, {}, start, ClientKind::known).number == 0);
  CHECK(table.counts().not_remembered == 0);
  CHECK_FALSE(table.find_or_add(998, {}, start, ClientKind::unknown).is_new);
  CHECK(table.counts().not_remembered == 1);
}

TEST_CASE("a conf that knows nobody any more has one part again, and forgets nobody for it") {
  ClientTable table = parted_table();
  for (std::uint64_t id = 1; id <= 150; ++id) {
    const auto found =
        table.find_or_add(id, {}, start, id <= 50 ? ClientKind::known : ClientKind::unknown);
    table.take(found.number, 5);
  }
  table.use(settings_for(100, 1, 10), {}, start);
  for (std::uint64_t id = 1; id <= 150; ++id) {
    REQUIRE(table.find(id));
    CHECK(table.tokens(*table.find(id), start) == 5);
  }
  // 150 are more than the 100 there may be: newcomers take the places of those that are idle.
  for (std::uint64_t id = 1'000; id < 2'000; ++id)
    table.find_or_add(id, {}, start + 1h, id % 2 == 0 ? ClientKind::known : ClientKind::unknown);
  CHECK(table.counts().known == 150);
}

// The same, and for 150 that are known by an address in a plan's network alone.
ClientTable table_with_network() {
  conf::FairnessSettings settings = settings_for(100, 1, 10);
  settings.unknown_max = 200;
  settings.network_max = 150;
  ClientTable table;
  table.use(settings, {}, start);
  return table;
}

// Clients of this kind who have spent much, so that nobody takes their places.
void fill_with_spenders(ClientTable& table, ClientKind kind, std::uint64_t first,
                        std::uint64_t last) {
  for (std::uint64_t id = first; id <= last; ++id)
    if (const auto found = table.find_or_add(id, {}, start, kind); found.is_new)
      table.take(found.number, 9);
}

TEST_CASE("strangers in a plan's network take no place of clients with keys, nor of the unknown") {
  // Four hundred addresses of a network have come before anybody else.
  ClientTable table = table_with_network();
  fill_with_spenders(table, ClientKind::of_network, 1'000, 1'399);
  CHECK(table.counts().network == 150);
  CHECK(table.counts().network_places == 150);
  CHECK(table.counts().network_not_remembered == 250);
  CHECK(table.counts().not_remembered == 250);
  for (std::uint64_t id = 1; id <= 100; ++id)
    CHECK(table.find_or_add(id, {}, start, ClientKind::known).is_new);
  CHECK(table.find_or_add(5'000, {}, start, ClientKind::unknown).is_new);
  CHECK(table.counts().not_remembered == 250);
  // And more of them later, while those with keys are idle and have all their tokens.
  for (std::uint64_t id = 2'000; id < 3'000; ++id)
    table.find_or_add(id, {}, start + 1h, ClientKind::of_network);
  for (std::uint64_t id = 1; id <= 100; ++id) CHECK(table.find(id));
  CHECK(table.find(5'000));
  CHECK(table.counts().known == 150 + 100 + 1);
  CHECK(table.counts().places == 150 + 100 + 200);
}

TEST_CASE("a reload that gives networks a part of their own leaves clients with keys free places") {
  // All places are taken by strangers; then the operator names a network, and keys.
  ClientTable table = table_of(100);
  fill_with_spenders(table, ClientKind::unknown, 1'000, 1'099);
  conf::FairnessSettings settings = settings_for(100, 1, 10);
  settings.unknown_max = 200;
  settings.network_max = 100;
  table.use(settings, {}, start);
  for (std::uint64_t id = 1; id <= 100; ++id)
    CHECK(table.find_or_add(id, {}, start, ClientKind::known).is_new);
  for (std::uint64_t id = 1'000; id <= 1'099; ++id) {
    REQUIRE(table.find(id));
    CHECK(table.tokens(*table.find(id), start) == 1);
  }
  // And back again: all in one part, nobody forgotten.
  table.use(settings_for(100, 1, 10), {}, start);
  for (std::uint64_t id = 1; id <= 100; ++id) CHECK(table.find(id));
  for (std::uint64_t id = 1'000; id <= 1'099; ++id) CHECK(table.find(id));
  CHECK(table.counts().network == 0);
  CHECK(table.counts().network_places == 0);
}

TEST_CASE("a part that fills up beside one that has become too small leaves nobody unfound") {
  ClientTable table = table_of(3'000);
  for (std::uint64_t id = 1; id <= 3'000; ++id) table.find_or_add(id, {}, start, ClientKind::known);
  conf::FairnessSettings settings = settings_for(100, 1, 10);
  settings.unknown_max = 3'000;
  table.use(settings, {}, start);
  for (std::uint64_t id = 10'001; id <= 13'000; ++id)
    table.find_or_add(id, {}, start, ClientKind::unknown);
  for (std::uint64_t id = 1; id <= 3'000; ++id) CHECK(table.find(id));
  for (std::uint64_t id = 10'001; id <= 13'000; ++id) CHECK(table.find(id));
}

}  // namespace
}  // namespace classgate::admission
