// The history's file, whatever happens to it, to its disk or to the process that writes it. Longer
// than most: each fault is a few lines, and they stand in one place.

#include <doctest/doctest.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
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

TEST_CASE("damage done while the file is open is found by the next look, and a new file begun") {
  const HistoryFolder folder;
  Counts counts;
  for (int i = 0; i < 400; ++i) counts.add(fmt::format("c_{}", i), noon + i * hour, 4);
  {
    const auto store = opened(folder.path());
    REQUIRE(write(*store, counts.rows()));
  }
  const auto store = opened(folder.path(), "b");
  REQUIRE(write(*store, counts.rows()));
  REQUIRE(requests_in(*store) == 3200);
  std::uint64_t begin = 0, bytes = 100;
  SUBCASE("at its beginning") { store->prune(noon); }
  SUBCASE("in its middle") {
    begin = 16 * 4096;
    bytes = size_of(folder.file()) - 32 * 4096;
  }
  REQUIRE(store->take_remarks().empty());
  {
    std::fstream file(folder.file(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(begin));
    file << std::string(bytes, 'x');
  }
  Counts anew;
  anew.add("c_1", noon, 5);
  store->prune(noon);
  REQUIRE(write(*store, anew.rows(), 77));
  const auto remarks = store->take_remarks();
  REQUIRE(remarks.size() == 1);
  CHECK(remarks.front().contains("is damaged"));
  CHECK(requests_in(*store) == 5);
  CHECK(std::filesystem::exists(folder.file() + ".corrupt-77"));
}

TEST_CASE("where something else than a file has its name, the history is kept in memory") {
  const HistoryFolder folder;
  SUBCASE("a device that has no end") {
    std::filesystem::create_symlink("/dev/zero", folder.file());
  }
  SUBCASE("a pipe") { REQUIRE(::mkfifo(folder.file().c_str(), 0600) == 0); }
  SUBCASE("a folder") { std::filesystem::create_directory(folder.file()); }
  SUBCASE("a folder for its journal") { std::filesystem::create_directory(folder.file() + "-wal"); }
  SUBCASE("a folder for its index") { std::filesystem::create_directory(folder.file() + "-shm"); }
  SUBCASE("a link that leads nowhere") {
    std::filesystem::create_symlink(folder.path() + "/nowhere/at/all", folder.file());
  }
  const auto store = opened(folder.path());
  Counts counts;
  counts.add("c_1", noon, 5);
  CHECK(write(*store, counts.rows()));
  store->prune(noon);
  CHECK(requests_in(*store) == 5);
  CHECK_FALSE(store->is_on_disk());
  const auto remarks = store->take_remarks();
  REQUIRE(remarks.size() == 1);
  CHECK(remarks.front().contains("kept in memory"));
}

TEST_CASE("when the folder comes back, what memory has is in the file with all that comes") {
  const HistoryFolder folder;
  Counts counts;
  counts.add("c_1", noon, 5);
  {
    const auto store = opened(folder.path(), "before");
    REQUIRE(write(*store, counts.rows()));
  }
  const std::string away = folder.path() + ".away";
  std::filesystem::rename(folder.path(), away);
  const auto store = opened(folder.path());
  counts.add("c_2", noon, 2);
  const std::vector<SessionRow> sessions{
      {.client = "c_2", .begun = noon, .last = noon, .requests = 2}};
  UsersRow users{.level = UsageLevel::day, .start = start_of(UsageLevel::day, noon)};
  users.distinct.add(1);
  const std::vector<UsersRow> days{users};
  CHECK(store->write({.rows = counts.rows(), .users = days, .sessions = sessions}, noon));
  store->prune(noon);
  CHECK_FALSE(store->is_on_disk());
  std::filesystem::rename(away, folder.path());
  store->prune(noon);
  CHECK(store->is_on_disk());
  CHECK(requests_in(*store) == 12);
  counts.add("c_2", noon, 3);
  CHECK(write(*store, counts.rows()));
  CHECK(requests_in(*store) == 15);
  CHECK(table_of(*store, noon, noon + 60).lines.at(0).wait.count() == 10);
  CHECK(store->sessions(noon, noon + 60, "", 10)->size() == 1);
  CHECK(store->users(UsageLevel::day, noon - day, noon + day)->size() == 1);
  const auto remarks = store->take_remarks();
  REQUIRE(remarks.size() == 2);
  CHECK(remarks[0].contains("kept in memory"));
  CHECK(remarks[1].contains("what was kept in memory is in it now"));
  store->prune(noon);
  CHECK(number_in(folder.file(),
                  "SELECT sum(requests) FROM usage WHERE level = 60 AND kind = "
                  "'all'") == 15);
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
    run_sql(folder.file(), "PRAGMA user_version = 3");
    why = "was written by a newer classgate (schema 3; this one knows 2)";
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

TEST_CASE("a file of the schema before is brought up: its counts and quantiles stay") {
  const HistoryFolder folder;
  Counts counts;
  counts.add("c_1", noon, 4);
  {
    const auto store = opened(folder.path());
    REQUIRE(write(*store, counts.rows()));
  }
  run_sql(folder.file(), "PRAGMA user_version = 1; UPDATE sketches SET wait = x'6401ff'");
  const auto store = opened(folder.path());
  CHECK(store->take_remarks().empty());
  CHECK(number_in(folder.file(), "PRAGMA user_version") == 2);
  CHECK(requests_in(*store) == 4);
  CHECK(number_in(folder.file(), "SELECT count(*) FROM sketches") == 0);
  CHECK(number_in(folder.file(), "SELECT min(wait_p50_us) FROM usage") > 900);
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
  CHECK(remarks.front().contains("is written again, nothing that waited here is lost"));
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

TEST_CASE("a client that could not be forgotten whole is, when it is asked again") {
  const HistoryFolder folder;
  const auto store = opened(folder.path());
  Counts counts;
  for (std::int64_t at = noon; at < noon + day; at += 10 * minute) {
    counts.add("c_forgetme", at, 8);
    REQUIRE(write(*store, counts.rows()));
  }
  sqlite3* reader = nullptr;
  REQUIRE(::sqlite3_open(folder.file().c_str(), &reader) == SQLITE_OK);
  REQUIRE(::sqlite3_exec(reader, "BEGIN; SELECT * FROM usage", nullptr, nullptr, nullptr) ==
          SQLITE_OK);
  CHECK_FALSE(store->forget("c_forgetme"));
  CHECK(folder.bytes().contains("c_forgetme"));
  ::sqlite3_close(reader);
  CHECK(store->forget("c_forgetme") == 0);  // rows: those are gone
  CHECK_FALSE(folder.bytes().contains("c_forgetme"));
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

// A process that counts and writes, and is killed at any moment after some transactions: by its own
// timer, which is set for within the next ones. It says through a pipe what was written for
// certain, after each transaction.
[[noreturn]] void write_until_killed(const std::string& folder, const std::string& run, int told,
                                     std::uint64_t until, std::uint64_t microseconds) {
  sigevent killed{};
  killed.sigev_notify = SIGEV_SIGNAL;
  killed.sigev_signo = SIGKILL;
  timer_t timer{};
  if (::timer_create(CLOCK_MONOTONIC, &killed, &timer) != 0) ::_exit(4);
  auto store = UsageStore::open(folder, {.bytes_max = 64 << 20}, run, noon);
  if (!store) ::_exit(1);
  Counts counts;
  for (std::uint64_t written = 0;; ++written) {
    itimerspec when{};
    when.it_value.tv_nsec = static_cast<long>(1000 * (microseconds + 1));
    if (written == until && ::timer_settime(timer, 0, &when, nullptr) != 0) ::_exit(5);
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
    // Somewhere within a transaction after some: each takes about a millisecond.
    const std::uint64_t until = random() % 20, microseconds = random() % 3000;
    std::array<int, 2> ends{};
    REQUIRE(::pipe(ends.data()) == 0);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      ::close(ends[0]);
      write_until_killed(folder.path(), fmt::format("run {}", round), ends[1], until, microseconds);
    }
    ::close(ends[1]);
    std::uint64_t total = 0, told = 0;
    while (::read(ends[0], &told, sizeof told) == sizeof told) total = told;
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status));
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
