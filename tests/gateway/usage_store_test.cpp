// The history's file: what is written is read again, whatever happens to the file or the process.
// Long, because each thing that may happen has its case.

#include <doctest/doctest.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <map>
#include <random>
#include <thread>
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

constexpr std::int64_t minute = 60, hour = 3600, day = 86'400;
constexpr std::int64_t noon = 20'000 * day + 12 * hour;  // of some day

std::uint64_t size_of(const std::string& path) {
  struct stat found{};
  return ::stat(path.c_str(), &found) == 0 ? static_cast<std::uint64_t>(found.st_size) : 0;
}

void run_sql(const std::string& file, const std::string& sql) {
  sqlite3* db = nullptr;
  REQUIRE(::sqlite3_open(file.c_str(), &db) == SQLITE_OK);
  REQUIRE_MESSAGE(::sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK,
                  ::sqlite3_errmsg(db));
  ::sqlite3_close(db);
}

std::int64_t number_in(const std::string& file, const std::string& sql) {
  sqlite3* db = nullptr;
  REQUIRE(::sqlite3_open(file.c_str(), &db) == SQLITE_OK);
  sqlite3_stmt* ask = nullptr;
  REQUIRE_MESSAGE(::sqlite3_prepare_v2(db, sql.c_str(), -1, &ask, nullptr) == SQLITE_OK,
                  ::sqlite3_errmsg(db));
  REQUIRE(::sqlite3_step(ask) == SQLITE_ROW);
  const std::int64_t number = ::sqlite3_column_int64(ask, 0);
  ::sqlite3_finalize(ask);
  ::sqlite3_close(db);
  return number;
}

// One request counted wherever it belongs, as a process does: its rows, from its start.
class Counts {
 public:
  void add(const std::string& client, std::int64_t at, std::uint64_t requests = 1) {
    for (const UsageLevel level : history::usage_levels)
      for (const auto& [kind, key] :
           {std::pair(UsageKind::all, std::string()), std::pair(UsageKind::client, client)}) {
        const UsageRow row = usage_of(level, kind, key, at, requests);
        const auto [place, is_new] = rows_.try_emplace({level, kind, row.start, key}, row);
        if (!is_new) place->second.add(row);
      }
  }
  std::vector<UsageRow> rows() const {
    std::vector<UsageRow> rows;
    for (const auto& [key, row] : rows_) rows.push_back(row);
    return rows;
  }

 private:
  std::map<std::tuple<UsageLevel, UsageKind, std::int64_t, std::string>, UsageRow> rows_;
};

bool write(UsageStore& store, const std::vector<UsageRow>& rows, std::int64_t now = noon) {
  return store.write({.rows = rows}, now);
}

UsageTable table_of(UsageStore& store, std::int64_t since, std::int64_t until,
                    UsageBy by = UsageBy::client, std::size_t top = 20) {
  auto table = store.table({.by = by, .since = since, .until = until, .top = top});
  REQUIRE_MESSAGE(table, table.error());
  return std::move(*table);
}

std::uint64_t requests_in(UsageStore& store) {
  return table_of(store, 0, INT64_MAX / 2).all.requests;
}

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

TEST_CASE("a file that is damaged is kept aside, and a new one begun, which is said once") {
  const HistoryFolder folder;
  Counts counts;
  for (int i = 0; i < 200; ++i) counts.add(fmt::format("c_{}", i), noon + i * hour, 4);
  {
    const auto store = opened(folder.path());
    REQUIRE(write(*store, counts.rows()));
  }
  SUBCASE("everywhere") {
    std::fstream file(folder.file(), std::ios::in | std::ios::out | std::ios::binary);
    file << std::string(size_of(folder.file()), 'x');
  }
  SUBCASE("but for its first page") {
    std::fstream file(folder.file(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(4096);
    file << std::string(size_of(folder.file()) - 4096, 'x');
  }
  SUBCASE("cut short") { std::filesystem::resize_file(folder.file(), size_of(folder.file()) / 2); }
  SUBCASE("without a table") { run_sql(folder.file(), "DROP TABLE sketches"); }
  SUBCASE("with a table that is another") {
    run_sql(folder.file(), "DROP VIEW usage_sums; ALTER TABLE usage RENAME COLUMN cost TO price");
  }
  const auto store = opened(folder.path(), "b", {}, 77);
  Counts anew;
  anew.add("c_1", noon, 5);
  CHECK(write(*store, anew.rows(), 77));
  CHECK(write(*store, anew.rows(), 78));
  CHECK(requests_in(*store) == 5);
  CHECK(store->is_on_disk());
  const auto remarks = store->take_remarks();
  REQUIRE(remarks.size() == 1);
  CHECK(remarks.front().contains("is damaged"));
  CHECK(remarks.front().contains(folder.file() + ".corrupt-77"));
  CHECK(std::filesystem::exists(folder.file() + ".corrupt-77"));
}

TEST_CASE("damage that only a reader meets is mended by the next write") {
  const HistoryFolder folder;
  Counts counts;
  for (int i = 0; i < 400; ++i) counts.add(fmt::format("c_{}", i), noon + i * hour, 4);
  {
    const auto store = opened(folder.path());
    REQUIRE(write(*store, counts.rows()));
  }
  const auto store = opened(folder.path(), "b");
  {
    std::fstream file(folder.file(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(16 * 4096);
    file << std::string(size_of(folder.file()) - 32 * 4096, 'x');
  }
  CHECK_FALSE(store->table({.since = 0, .until = INT64_MAX / 2}));
  Counts anew;
  anew.add("c_1", noon, 5);
  CHECK(write(*store, anew.rows(), 77));
  CHECK(requests_in(*store) == 5);
  CHECK(std::filesystem::exists(folder.file() + ".corrupt-77"));
}

TEST_CASE("of files that were damaged two are kept") {
  const HistoryFolder folder;
  for (std::int64_t now = 10; now < 16; ++now) {
    std::ofstream(folder.file()) << "no database at all, and longer than its first hundred bytes "
                                    "would have to be for anybody to take it for one of them";
    const auto store = opened(folder.path(), "a", {}, now);
  }
  std::vector<std::string> names = folder.names();
  std::erase_if(names, [](const std::string& name) { return !name.contains("corrupt"); });
  std::ranges::sort(names);
  CHECK(names == std::vector<std::string>{"history.db.corrupt-14", "history.db.corrupt-15"});
}

TEST_CASE("the file of a newer classgate, or of another program, is left as it is") {
  const HistoryFolder folder;
  std::string why;
  {
    const auto store = opened(folder.path());
  }
  SUBCASE("newer") {
    run_sql(folder.file(), "PRAGMA user_version = 2");
    why = "was written by a newer classgate (schema 2; this one knows 1)";
  }
  SUBCASE("another program") {
    run_sql(folder.file(), "PRAGMA application_id = 4711");
    why = "is a database of another program";
  }
  const std::string before = folder.bytes();
  const auto store = opened(folder.path());
  Counts counts;
  counts.add("c_1", noon, 5);
  CHECK(write(*store, counts.rows()));
  CHECK(requests_in(*store) == 5);
  CHECK_FALSE(store->is_on_disk());
  const auto remarks = store->take_remarks();
  REQUIRE(remarks.size() == 1);
  CHECK(remarks.front().contains(why));
  CHECK(remarks.front().contains("kept in memory"));
  CHECK(folder.bytes() == before);
}

TEST_CASE("where no file can be made the history is kept in memory, within its bound") {
  const HistoryFolder folder;
  std::ofstream(folder.path() + "/file") << "x";
  const auto store = opened(folder.path() + "/file", "a", {.memory_max = 1 << 20});
  CHECK_FALSE(store->is_on_disk());
  const auto remarks = store->take_remarks();
  REQUIRE(remarks.size() == 1);
  CHECK(remarks.front().contains("kept in memory"));
  for (std::int64_t at = noon; at < noon + 20 * day; at += hour) {
    Counts counts;
    for (int i = 0; i < 20; ++i) counts.add(fmt::format("c_{}", i), at, 4);
    REQUIRE(write(*store, counts.rows(), at));
  }
  CHECK(store->bytes() <= 1 << 20);
  CHECK(store->take_remarks().empty());
  const std::int64_t last = noon + 20 * day - hour;
  CHECK(table_of(*store, last, last + hour).all.requests == 80);
}

// A disk that is full: no file of this process may grow beyond so many bytes.
class FullDisk {
 public:
  explicit FullDisk(std::uint64_t bytes) {
    ::signal(SIGXFSZ, SIG_IGN);
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before_) == 0);
    const rlimit limit{.rlim_cur = bytes, .rlim_max = before_.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  }
  ~FullDisk() { ::setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

TEST_CASE("while the disk is full rows wait in memory, and nothing is lost or counted twice") {
  const HistoryFolder folder;
  const auto store = opened(folder.path());
  Counts counts;
  counts.add("c_1", noon);
  CHECK(write(*store, counts.rows()));
  {
    const FullDisk full(size_of(folder.file() + "-wal"));
    for (int i = 0; i < 50; ++i) {
      counts.add(fmt::format("c_{}", i), noon + i * minute);
      CHECK_FALSE(write(*store, counts.rows()));
    }
  }
  CHECK(store->rows_waiting() > 0);
  auto remarks = store->take_remarks();
  REQUIRE(remarks.size() == 1);
  CHECK(remarks.front().contains("cannot be written"));
  CHECK(store->write({}, noon));
  CHECK(store->rows_waiting() == 0);
  CHECK(requests_in(*store) == 51);
  remarks = store->take_remarks();
  REQUIRE(remarks.size() == 1);
  CHECK(remarks.front().contains("is written again, nothing is lost"));
}

TEST_CASE("a file that is begun on a full disk is made when there is room") {
  const HistoryFolder folder;
  std::unique_ptr<UsageStore> store;
  Counts counts;
  counts.add("c_1", noon, 3);
  {
    const FullDisk full(0);
    store = opened(folder.path());
    CHECK_FALSE(write(*store, counts.rows()));
  }
  CHECK(write(*store, counts.rows()));
  CHECK(store->is_on_disk());
  CHECK(requests_in(*store) == 3);
}

TEST_CASE("of rows that wait the finest and oldest are lost first, and counted") {
  const HistoryFolder folder;
  const auto store = opened(folder.path(), "a", {.pending_max = 100});
  Counts counts;
  {
    const FullDisk full(size_of(folder.file() + "-wal"));
    for (int i = 0; i < 60; ++i) counts.add("c_1", noon + i);
    CHECK_FALSE(write(*store, counts.rows()));
  }
  CHECK(store->rows_waiting() == 100);
  CHECK(store->rows_lost() == 26);  // 2 x 60 seconds, and 2 each of minute, hour, day
  CHECK(store->write({}, noon));
  CHECK(requests_in(*store) == 60);
}

TEST_CASE("a file that is taken away while in use is begun anew, which is said") {
  const HistoryFolder folder;
  const auto store = opened(folder.path());
  Counts counts;
  counts.add("c_1", noon);
  CHECK(write(*store, counts.rows()));
  for (const std::string& name : folder.names())
    std::filesystem::remove(folder.path() + "/" + name);
  counts.add("c_1", noon);
  CHECK(write(*store, counts.rows()));
  CHECK(number_in(folder.file(), "SELECT requests FROM usage WHERE kind = 'all' AND level = 60") ==
        2);
  const auto remarks = store->take_remarks();
  REQUIRE(remarks.size() == 1);
  CHECK(remarks.front().contains("was taken away"));
}

TEST_CASE("a client that is forgotten is nowhere on the disk, and the sums stay") {
  const HistoryFolder folder;
  const auto store = opened(folder.path());
  Counts counts;
  for (std::int64_t at = noon; at < noon + 2 * day; at += 10 * minute) {
    counts.add("c_forgetme", at, 8);
    counts.add("c_2", at, 4);
    // Written again and again, so that old copies lie about.
    if (at % hour == 0) REQUIRE(write(*store, counts.rows()));
  }
  REQUIRE(write(*store, counts.rows()));
  const std::vector<SessionRow> sessions{{.client = "c_forgetme", .begun = noon, .last = noon}};
  REQUIRE(store->write({.sessions = sessions}, noon));
  const UsageTable before = table_of(*store, noon, noon + 3 * day);
  REQUIRE(folder.bytes().contains("c_forgetme"));
  const auto gone = store->forget("c_forgetme");
  REQUIRE_MESSAGE(gone, gone.error());
  CHECK(*gone > 288);
  CHECK_FALSE(folder.bytes().contains("c_forgetme"));
  const UsageTable after = table_of(*store, noon, noon + 3 * day);
  CHECK(after.all.requests == before.all.requests);
  REQUIRE(after.lines.size() == 1);
  CHECK(after.others.requests == before.lines[0].requests);
  const auto others =
      store->series(UsageLevel::day, UsageKind::client, "(others)", noon - day, noon + 3 * day);
  REQUIRE(others);
  std::uint64_t sum = 0, waits = 0;
  for (const UsageRow& row : *others) {
    sum += row.requests;
    waits += row.wait.count();
  }
  CHECK(sum == before.lines[0].requests);
  CHECK(waits == before.lines[0].wait.count());
  CHECK_FALSE(store->forget("(others)"));
  CHECK(store->forget("c_nobody") == 0);
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

TEST_CASE("while another program reads on and on, the journal beside the file is bounded") {
  const HistoryFolder folder;
  const auto store = opened(folder.path(), "a", {.bytes_max = 4 << 20});
  Counts counts;
  for (int i = 0; i < 300; ++i) counts.add(fmt::format("c_{}", i), noon, 4);
  REQUIRE(write(*store, counts.rows()));
  sqlite3* reader = nullptr;
  REQUIRE(::sqlite3_open(folder.file().c_str(), &reader) == SQLITE_OK);
  REQUIRE(::sqlite3_exec(reader, "BEGIN; SELECT * FROM usage", nullptr, nullptr, nullptr) ==
          SQLITE_OK);
  bool is_refused = false;
  for (int i = 0; i < 2000 && !is_refused; ++i) is_refused = !write(*store, counts.rows());
  CHECK(is_refused);
  CHECK(size_of(folder.file() + "-wal") < 12 << 20);
  CHECK(store->take_remarks().back().contains("another program has been reading"));
  ::sqlite3_close(reader);
  CHECK(write(*store, counts.rows()));
  CHECK(requests_in(*store) == 1200);
}

// A process that counts and writes until it is killed. It says through a pipe what was written for
// certain, after each transaction.
[[noreturn]] void write_until_killed(const std::string& folder, const std::string& run, int told) {
  auto store = UsageStore::open(folder, {.bytes_max = 64 << 20}, run, noon);
  if (!store) ::_exit(1);
  Counts counts;
  for (std::uint64_t written = 0;; ++written) {
    counts.add(fmt::format("c_{}", written % 50), noon + static_cast<std::int64_t>(written % 600));
    const std::vector<UsageRow> rows = counts.rows();
    if (!(*store)->write({.rows = rows}, noon)) ::_exit(2);
    if (written % 20 == 19) (*store)->prune(noon);
    const std::uint64_t total = written + 1;
    if (::write(told, &total, sizeof total) != sizeof total) ::_exit(3);
  }
}

TEST_CASE(
    "a process that is killed at any moment leaves a file that opens, with all it has written") {
  const HistoryFolder folder;
  const char* const wanted = std::getenv("CLASSGATE_KILL_ROUNDS");
  const int rounds = wanted != nullptr ? std::atoi(wanted) : 5;
  std::mt19937 random(std::random_device{}());
  std::uint64_t certain = 0, seen_before = 0;
  for (int round = 0; round < rounds; ++round) {
    std::array<int, 2> ends{};
    REQUIRE(::pipe(ends.data()) == 0);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      ::close(ends[0]);
      write_until_killed(folder.path(), fmt::format("run {}", round), ends[1]);
    }
    ::close(ends[1]);
    // Somewhere within a transaction after some: each takes about a millisecond.
    std::uint64_t total = 0, told = 0;
    for (auto more = random() % 20; more > 0; --more)
      if (::read(ends[0], &told, sizeof told) == sizeof told) total = told;
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
    REQUIRE(::kill(child, SIGKILL) == 0);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status));
    while (::read(ends[0], &told, sizeof told) == sizeof told) total = told;
    ::close(ends[0]);
    certain += total;
    const auto store = opened(folder.path(), "reader");
    const std::uint64_t seen = requests_in(*store);
    INFO("round ", round, ": ", total, " were written for certain");
    // The last transaction may have come through without being told.
    CHECK(seen >= certain);
    CHECK(seen <= certain + 1);
    CHECK(seen >= seen_before);
    CHECK(store->take_remarks().empty());
    certain = seen_before = seen;
  }
  CHECK(number_in(folder.file(),
                  "SELECT (SELECT sum(requests) FROM usage WHERE level = 86400 AND kind = 'all') "
                  "= (SELECT sum(requests) FROM usage WHERE level = 60 AND kind = 'client')") == 1);
}

}  // namespace
}  // namespace classgate::gateway::test
