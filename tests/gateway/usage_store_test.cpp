// The history's file: what is written is read again, and how much of it is kept.

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include "conf/format.h"
#include "conf/reason.h"
#include "tests/gateway/usage_kit.h"

namespace classgate::gateway::test {
namespace {

using history::SessionRow;
using history::UsageKind;
using history::UsageLevel;
using history::UsageRow;
using history::UsersRow;

TEST_CASE("what is written is read again, with its quantiles and reasons") {
  const HistoryFolder folder;
  const auto store = opened(folder.path());
  UsageRow row = usage_of(UsageLevel::minute, UsageKind::client, "c_1", noon, 400);
  row.failed = 3;
  row.failed_by = {0, 2, 1, 0};
  row.requests += 3;
  row.add_reason(static_cast<std::uint8_t>(conf::index_of(conf::Reason::upstream_timeout)), 2);
  CHECK(write(*store, {row}));
  CHECK(store->take_remarks().empty());
  const auto series = store->series(UsageLevel::minute, UsageKind::client, "c_1", noon, noon + 60);
  REQUIRE(series);
  REQUIRE(series->size() == 1);
  const UsageRow& read = series->front();
  CHECK(read.start == noon);
  CHECK(read.requests == 403);
  CHECK(read.cost == 600);
  CHECK(read.served == 300);
  CHECK(read.refused == 100);
  CHECK(read.failed == 3);
  CHECK(read.bytes_in == 4000);
  CHECK(read.bytes_out == 8000);
  CHECK(read.first_seen == noon);
  CHECK(read.reasons == row.reasons);
  CHECK(read.failed_by == row.failed_by);
  CHECK(read.wait.bins() == row.wait.bins());
  CHECK(read.service.bins() == row.service.bins());
  CHECK(number_in(folder.file(), "SELECT wait_p95_us FROM usage") ==
        doctest::Approx(1000).epsilon(0.01));
  CHECK(number_in(folder.file(), "SELECT sum(value) FROM usage, json_each(reasons)") == 102);
}

TEST_CASE("the same written again counts once, also by a process that opens the file again") {
  const HistoryFolder folder;
  Counts counts;
  counts.add("c_1", noon, 8);
  {
    const auto store = opened(folder.path());
    CHECK(write(*store, counts.rows()));
    CHECK(write(*store, counts.rows()));
    CHECK(requests_in(*store) == 8);
  }
  const auto again = opened(folder.path());
  counts.add("c_1", noon, 2);
  CHECK(write(*again, counts.rows()));
  CHECK(requests_in(*again) == 10);
}

TEST_CASE("what two processes count at once adds up") {
  const HistoryFolder folder;
  const auto former = opened(folder.path(), "former");
  const auto latter = opened(folder.path(), "latter");
  Counts by_former, by_latter;
  for (int i = 0; i < 5; ++i) {
    by_former.add("c_1", noon + i);
    by_latter.add("c_1", noon + i, 2);
    by_latter.add("c_2", noon + i);
    CHECK(write(*former, by_former.rows()));
    CHECK(write(*latter, by_latter.rows()));
  }
  const UsageTable table = table_of(*former, noon, noon + 60);
  CHECK(table.all.requests == 20);
  REQUIRE(table.lines.size() == 2);
  CHECK(table.lines[0].key == "c_1");
  CHECK(table.lines[0].requests == 15);
  CHECK(table.lines[0].wait.count() == 15);
}

TEST_CASE("a row without requests is deleted: its client has fallen out of those that are kept") {
  const HistoryFolder folder;
  const auto store = opened(folder.path());
  UsageRow row = usage_of(UsageLevel::minute, UsageKind::client, "c_1", noon, 4);
  CHECK(write(*store, {row}));
  row = {.level = row.level, .kind = row.kind, .start = row.start, .key = row.key};
  CHECK(write(*store, {row}));
  CHECK(number_in(folder.file(), "SELECT count(*) FROM usage") == 0);
  CHECK(number_in(folder.file(), "SELECT count(*) FROM sketches") == 0);
}

TEST_CASE("a sum over any minutes is exact, whatever levels tell of them") {
  const HistoryFolder folder;
  const auto store = opened(folder.path());
  const std::int64_t begin = noon - 3 * day;
  std::mt19937 random(22);
  std::vector<std::pair<std::int64_t, std::uint64_t>> requests;
  Counts counts;
  for (std::int64_t at = begin; at < noon; at += 100 + random() % 4000) {
    requests.emplace_back(at, 1 + random() % 9);
    counts.add(fmt::format("c_{}", random() % 5), at, requests.back().second);
  }
  CHECK(write(*store, counts.rows()));
  const std::int64_t first = start_of(UsageLevel::minute, requests.front().first);
  for (int i = 0; i < 200; ++i) {
    const std::int64_t since = first + static_cast<std::int64_t>(random() % (3 * 1440)) * minute;
    const std::int64_t until = since + static_cast<std::int64_t>(random() % 1440) * minute;
    std::uint64_t wanted = 0;
    for (const auto& [at, times] : requests)
      if (at >= since && at < until) wanted += times;
    const UsageTable table = table_of(*store, since, until);
    INFO("from ", since - begin, " to ", until - begin);
    CHECK(table.all.requests == wanted);
    std::uint64_t sum = table.others.requests;
    for (const UsageRow& line : table.lines) sum += line.requests;
    CHECK(sum == wanted);
  }
}

TEST_CASE("where minutes are gone a sum begins with the hour, or the day, and says so") {
  const HistoryFolder folder;
  const auto store = opened(folder.path());
  Counts counts;
  for (std::int64_t at = noon - 60 * day; at <= noon; at += hour) counts.add("c_1", at);
  CHECK(write(*store, counts.rows()));
  store->prune(noon);
  const std::int64_t since = noon - 30 * day + 30 * minute;
  CHECK(table_of(*store, since, noon + 1).since == noon - 30 * day);
  run_sql(folder.file(),
          fmt::format("DELETE FROM usage WHERE level = 3600 AND start < {}", noon - 20 * day));
  const UsageTable table = table_of(*store, since, noon + 1);
  CHECK(table.since == start_of(UsageLevel::day, since));
  CHECK(table.all.requests == 30 * 24 + 13);
  // The end is where finer rows are.
  CHECK(table_of(*store, since, noon - 3 * day + 90 * minute).all.requests == 27 * 24 + 14);
}

TEST_CASE("lines, however few, and the others make up all") {
  const HistoryFolder folder;
  const auto store = opened(folder.path());
  Counts counts;
  for (int i = 0; i < 30; ++i)
    counts.add(fmt::format("c_{}", i), noon, static_cast<std::uint64_t>(i + 1));
  CHECK(write(*store, counts.rows()));
  const UsageTable table = table_of(*store, noon, noon + 60, UsageBy::client, 3);
  REQUIRE(table.lines.size() == 3);
  CHECK(table.lines[0].key == "c_29");
  CHECK(table.lines[2].key == "c_27");
  CHECK(table.keys_left == 27);
  CHECK(table.all.requests == 465);
  CHECK(table.others.requests == 465 - 30 - 29 - 28);
  CHECK(table.others.refused + table.lines[0].refused + table.lines[1].refused +
            table.lines[2].refused ==
        table.all.refused);
}

TEST_CASE("by reason each word has its count") {
  const HistoryFolder folder;
  const auto store = opened(folder.path());
  UsageRow row = usage_of(UsageLevel::minute, UsageKind::all, "", noon, 10);
  row.reasons = {{static_cast<std::uint8_t>(conf::index_of(conf::Reason::queue_full)), 5},
                 {static_cast<std::uint8_t>(conf::index_of(conf::Reason::shed)), 7}};
  CHECK(write(*store, {row}));
  const UsageTable table = table_of(*store, noon, noon + 60, UsageBy::reason, 1);
  REQUIRE(table.lines.size() == 1);
  CHECK(table.lines[0].key == "shed");
  CHECK(table.lines[0].requests == 7);
  CHECK(table.others.requests == 5);
}

TEST_CASE("each level is kept for its time") {
  const HistoryFolder folder;
  const auto store = opened(folder.path(), "a", {.retention = std::chrono::hours(24 * 100)});
  Counts counts;
  for (std::int64_t ago = 0; ago < 120; ++ago) counts.add("c_1", noon - ago * day, 4);
  for (std::int64_t ago = 0; ago < 120; ++ago) counts.add("c_1", noon - ago * minute, 4);
  CHECK(write(*store, counts.rows()));
  const std::vector<SessionRow> sessions{
      {.client = "old", .begun = noon - 40 * day, .last = noon - 39 * day, .requests = 1},
      {.client = "long", .begun = noon - 40 * day, .last = noon, .requests = 1}};
  CHECK(store->write({.sessions = sessions}, noon));
  store->prune(noon);
  const auto oldest = [&](const char* table, UsageLevel level) {
    return noon - number_in(folder.file(), fmt::format("SELECT min(start) FROM {} WHERE level = {}",
                                                       table, seconds_of(level)));
  };
  CHECK(oldest("usage", UsageLevel::second) == hour);
  CHECK(oldest("usage", UsageLevel::minute) == 7 * day);
  CHECK(oldest("usage", UsageLevel::hour) == 100 * day);
  CHECK(oldest("usage", UsageLevel::day) == 99 * day + 12 * hour);
  const auto oldest_sketch = [&](UsageLevel level, UsageKind kind) {
    return noon - number_in(folder.file(),
                            fmt::format("SELECT min(start) FROM sketches WHERE level = {} AND kind "
                                        "= '{}'",
                                        seconds_of(level), word_of(kind)));
  };
  CHECK(oldest_sketch(UsageLevel::minute, UsageKind::all) == 2 * day);
  CHECK(oldest_sketch(UsageLevel::minute, UsageKind::client) <= 3 * hour);
  CHECK(oldest_sketch(UsageLevel::hour, UsageKind::all) == 40 * day);
  CHECK(oldest_sketch(UsageLevel::hour, UsageKind::client) == 8 * day);
  CHECK(number_in(folder.file(), "SELECT count(*) FROM sessions") == 1);
}

TEST_CASE("of hours of long ago those clients have rows that had most; the rest is the others'") {
  const HistoryFolder folder;
  const auto store = opened(folder.path());
  Counts counts;
  const std::int64_t old = noon - 91 * day;
  for (std::uint64_t i = 1; i <= 40; ++i) counts.add(fmt::format("c_{}", i), old, i);
  for (std::uint64_t i = 1; i <= 40; ++i) counts.add(fmt::format("c_{}", i), old + 2 * day, i);
  REQUIRE(write(*store, counts.rows()));
  store->prune(noon);
  const auto in_hour = [&](std::int64_t at, const char* what) {
    return number_in(folder.file(), fmt::format("SELECT {} FROM usage WHERE level = 3600 AND kind "
                                                "= 'client' AND start = {}",
                                                what, start_of(UsageLevel::hour, at)));
  };
  CHECK(in_hour(old, "count(*)") == 17);
  CHECK(in_hour(old, "sum(requests)") == 820);
  CHECK(in_hour(old, "min(requests)") == 25);
  CHECK(in_hour(old + 2 * day, "count(*)") == 40);
  store->prune(noon + 3 * day);
  CHECK(in_hour(old + 2 * day, "count(*)") == 17);
  CHECK(number_in(folder.file(),
                  "SELECT count(*) FROM usage WHERE level = 86400 AND kind = "
                  "'client'") == 80);
}

TEST_CASE("the file never grows beyond its bound: the oldest goes, of each level in proportion") {
  const HistoryFolder folder;
  constexpr std::uint64_t bytes_max = 1 << 20;
  const auto store = opened(folder.path(), "a", {.bytes_max = bytes_max});
  std::uint64_t most = 0;
  for (std::int64_t at = noon; at < noon + 60 * day; at += hour) {
    Counts counts;
    for (int i = 0; i < 20; ++i) counts.add(fmt::format("c_{}", i), at, 4);
    REQUIRE(write(*store, counts.rows(), at));
    most = std::max(most, size_of(folder.file()));
  }
  CHECK(most <= bytes_max);
  CHECK(most > bytes_max * 8 / 10);  // and the room is used
  CHECK(store->bytes() <= bytes_max);
  CHECK(store->rows_waiting() == 0);
  const std::int64_t last = noon + 60 * day - hour;
  CHECK(table_of(*store, last, last + hour).all.requests == 80);
  CHECK(number_in(folder.file(), "SELECT min(start) FROM usage WHERE level = 86400") <=
        number_in(folder.file(), "SELECT min(start) FROM usage WHERE level = 60"));
  CHECK(number_in(folder.file(), "PRAGMA integrity_check") == 0);  // "ok"
}

TEST_CASE("a bound that is set lower makes the file shorter") {
  const HistoryFolder folder;
  {
    const auto store = opened(folder.path());
    Counts counts;
    for (std::int64_t at = noon; at < noon + 10 * day; at += hour)
      for (int i = 0; i < 40; ++i) counts.add(fmt::format("c_{}", i), at, 4);
    REQUIRE(write(*store, counts.rows()));
  }
  REQUIRE(size_of(folder.file()) > 3 << 20);
  {
    const auto store = opened(folder.path(), "b", {.bytes_max = 1 << 20});
    store->prune(noon + 10 * day);
    CHECK(requests_in(*store) > 0);
  }
  CHECK(size_of(folder.file()) <= 1 << 20);
}

TEST_CASE("who came to two processes on one day is one user") {
  const HistoryFolder folder;
  const auto former = opened(folder.path(), "former");
  const auto latter = opened(folder.path(), "latter");
  for (const auto& [store, first] : {std::pair(former.get(), 0), std::pair(latter.get(), 500)}) {
    UsersRow row{.level = UsageLevel::day, .start = start_of(UsageLevel::day, noon)};
    for (int i = first; i < first + 1000; ++i) row.distinct.add(static_cast<std::uint64_t>(i));
    row.active_peak = static_cast<std::uint64_t>(first + 7);
    row.begun = 3;
    const std::vector<UsersRow> rows{row};
    CHECK(store->write({.users = rows}, noon));
  }
  const auto users = latter->users(UsageLevel::day, noon - day, noon);
  REQUIRE(users);
  REQUIRE(users->size() == 1);
  CHECK(users->front().distinct == doctest::Approx(1500).epsilon(0.03));
  CHECK(users->front().active_peak == 507);
  CHECK(users->front().begun == 6);
}

TEST_CASE("sessions are told the newest first, and never become shorter") {
  const HistoryFolder folder;
  const auto store = opened(folder.path());
  const std::vector<SessionRow> first{
      {.client = "c_1", .begun = noon, .last = noon + 9, .requests = 9},
      {.client = "c_2", .begun = noon + 5, .last = noon + 5, .requests = 1}};
  const std::vector<SessionRow> late{
      {.client = "c_1", .begun = noon, .last = noon + 3, .requests = 4, .has_ended = true}};
  CHECK(store->write({.sessions = first}, noon));
  CHECK(store->write({.sessions = late}, noon));
  const auto all = store->sessions(noon, noon + 60, "", 10);
  REQUIRE(all);
  REQUIRE(all->size() == 2);
  CHECK((*all)[0].client == "c_2");
  CHECK((*all)[1].requests == 9);
  CHECK((*all)[1].last == noon + 9);
  CHECK((*all)[1].has_ended);
  CHECK(store->sessions(noon, noon + 60, "c_1", 10)->size() == 1);
}

TEST_CASE("names of any bytes are kept as they are") {
  const HistoryFolder folder;
  const auto store = opened(folder.path());
  const std::string odd = std::string("a\0b\x1b[2J'\"\xff\n", 12);
  Counts counts;
  counts.add(odd, noon, 3);
  CHECK(write(*store, counts.rows()));
  const UsageTable table = table_of(*store, noon, noon + 60);
  REQUIRE(table.lines.size() == 1);
  CHECK(table.lines[0].key == odd);
  CHECK(store->forget(odd).value_or(0) > 0);
}

}  // namespace
}  // namespace classgate::gateway::test
