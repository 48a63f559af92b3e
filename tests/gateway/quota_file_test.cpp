// What clients have had of their quotas, in the file that several processes share. Long, because
// each thing that may happen to the file, or to the clock, has its case.

#include <doctest/doctest.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <utility>

#include "gateway/clients/quota_store.h"
#include "tests/gateway/log_folder.h"
#include "tests/gateway/quota_kit.h"

namespace classgate::gateway::test {
namespace {

using std::chrono::sys_days;
using std::chrono::sys_seconds;

// A process: counters and its hand on the file, written when the test says so.
class Process {
 public:
  explicit Process(const std::string& file, std::size_t clients_max = 1000, sys_seconds now = noon,
                   const QuotaNames& names = {})
      : table(utc(), clients_max, std::make_shared<const QuotaNames>(names)) {
    auto opened = QuotaStore::open(file);
    REQUIRE_MESSAGE(opened, opened.error());
    store = std::move(*opened);
    tell(now);
  }
  void tell(sys_seconds now = noon) {
    const auto periods = table.periods_at(now);
    table.forget_former(now);  // as Quotas does when a period begins
    const auto sums = store->add(table.collect(), periods);
    REQUIRE_MESSAGE(sums, sums.error());
    table.apply(*sums, now);
  }
  // How many of so many were let in.
  int ask(int count, const PlanQuota& plan, std::uint64_t client = 7, sys_seconds now = noon,
          bool is_named = false) {
    int in = 0;
    for (int i = 0; i < count; ++i)
      if (!table.take(client, plan, 1, now, is_named).refused) ++in;
    return in;
  }
  QuotaTable table;
  std::unique_ptr<QuotaStore> store;
};

// Of this day, by all clients.
std::int64_t requests_in(const std::string& file) {
  sqlite3* db = nullptr;
  REQUIRE(::sqlite3_open(file.c_str(), &db) == SQLITE_OK);
  sqlite3_stmt* sum = nullptr;
  REQUIRE(::sqlite3_prepare_v2(db, "SELECT sum(requests) FROM usage WHERE kind = 0", -1, &sum,
                               nullptr) == SQLITE_OK);
  REQUIRE(::sqlite3_step(sum) == SQLITE_ROW);
  const std::int64_t requests = ::sqlite3_column_int64(sum, 0);
  ::sqlite3_finalize(sum);
  ::sqlite3_close(db);
  return requests;
}

TEST_CASE(
    "what was counted is there after a restart, and of a killed process all but its last second") {
  const QuotaFolder folder;
  const PlanQuota plan = plan_of({.day = 100, .month = 1000});
  {
    Process first(folder.file());
    CHECK(first.ask(30, plan) == 30);
    first.tell();
    CHECK(first.ask(5, plan) == 5);  // and it is killed
  }
  Process second(folder.file());
  CHECK(second.table.look(7, plan, noon).at(0).used == 30);
  CHECK(second.ask(1000, plan) == 70);
  second.tell();
  CHECK(Process(folder.file()).ask(1000, plan) == 0);
}

TEST_CASE("two processes let in the quota and what one let in since it heard of the other") {
  const QuotaFolder folder;
  const PlanQuota plan = plan_of({.day = 1000});
  Process one(folder.file()), other(folder.file());
  int in = 0;
  for (int second = 0; second < 40; ++second) {
    in += one.ask(20, plan);
    one.tell();
    in += other.ask(20, plan);
    other.tell();
  }
  CHECK(in >= 1000);
  CHECK(in <= 1000 + 20);
  one.tell();
  CHECK(one.table.look(7, plan, noon).at(0).used == in);
  CHECK(other.table.look(7, plan, noon).at(0).used == in);
}

TEST_CASE("a client that another process knows alone is known here with the next second") {
  const QuotaFolder folder;
  const PlanQuota plan = plan_of({.day = 10});
  Process one(folder.file()), other(folder.file());
  CHECK(one.ask(10, plan, 42) == 10);
  one.tell();
  other.tell();
  CHECK(other.ask(10, plan, 42) == 0);
}

TEST_CASE("what is given back in another period than it was counted in is taken from that one") {
  const QuotaFolder folder;
  const PlanQuota plan = plan_of({.day = 10});
  const sys_seconds next_day = noon + 24h;
  Process process(folder.file());
  const auto charge = process.table.take(7, plan, 1, noon).charge;
  CHECK(process.ask(10, plan, 7, next_day) == 10);
  process.table.give_back(charge);
  process.tell(next_day);
  CHECK(process.table.look(7, plan, next_day).at(0).used == 10);
  Process again(folder.file());
  CHECK(again.table.look(7, plan, noon).at(0).used == 0);
}

TEST_CASE("a clock that goes back over midnight gives nobody a second day") {
  const QuotaFolder folder;
  const PlanQuota plan = plan_of({.day = 10});
  const sys_seconds midnight = sys_days(2026y / 11 / 28);
  Process process(folder.file());
  CHECK(process.ask(10, plan, 7, midnight - 1s) == 10);
  process.tell(midnight - 1s);
  CHECK(process.ask(10, plan, 7, midnight + 1s) == 10);
  process.tell(midnight + 1s);
  CHECK(process.ask(10, plan, 7, midnight - 1s) == 0);  // before the sums of yesterday are there
  process.tell(midnight - 1s);
  CHECK(process.ask(10, plan, 7, midnight - 1s) == 0);
  CHECK(process.ask(10, plan, 7, midnight + 1s) == 0);
  process.tell(midnight + 1s);
  CHECK(process.ask(10, plan, 7, midnight + 1s) == 0);
  CHECK(Process(folder.file()).ask(10, plan, 7, midnight + 1s) == 10);  // before it is told
}

TEST_CASE("another time zone, and the one before again, give nobody a quota anew") {
  const auto zone = conf::TimeZone::load("Etc/GMT-14");  // 14 hours before UTC
  REQUIRE_MESSAGE(zone, zone.error());
  const sys_seconds now = sys_days(2026y / 11 / 30) + 12h;  // there it is the first of December
  for (const conf::QuotaSettings& quota :
       {conf::QuotaSettings{.day = 10}, conf::QuotaSettings{.month = 10}}) {
    const QuotaFolder folder;
    const PlanQuota plan = plan_of(quota);
    Process process(folder.file());
    process.tell(now);
    CHECK(process.ask(20, plan, 7, now) == 10);
    CHECK(process.ask(4, plan, 8, now) == 4);
    process.table.use(*zone, 1000, std::make_shared<QuotaNames>());
    CHECK(process.ask(1, plan, 7, now) == 0);
    CHECK(process.ask(1, plan, 8, now) == 1);  // still of the day before
    process.tell(now);
    CHECK(process.ask(20, plan, 7, now) == 0);
    CHECK(process.ask(2, plan, 8, now) == 2);
    CHECK(process.table.look(8, plan, now).at(0).end > now + 13h);
    process.table.use(utc(), 1000, std::make_shared<QuotaNames>());
    process.tell(now);
    CHECK(process.ask(20, plan, 7, now) == 0);
    CHECK(process.ask(20, plan, 8, now) == 3);
    CHECK(process.ask(20, plan, 9, now) == 10);
    process.tell(now);
    // What was counted of each date is in the file, and nothing else.
    CHECK(Process(folder.file(), 1000, now).table.look(8, plan, now).at(0).used == 8);
    process.tell(now + 48h);
    CHECK(process.ask(20, plan, 7, now + 48h) == 10);
  }
}

TEST_CASE("a clock that was years ahead for a while leaves the counters of today") {
  const QuotaFolder folder;
  const PlanQuota plan = plan_of({.day = 10, .month = 10});
  Process process(folder.file());
  CHECK(process.ask(10, plan) == 10);
  process.tell();
  const sys_seconds wrong = noon + 24h * 3650;
  CHECK(process.ask(10, plan, 7, wrong) == 10);
  process.tell(wrong);
  process.tell(noon);
  CHECK(process.ask(10, plan) == 0);
  CHECK(Process(folder.file()).ask(10, plan) == 0);
}

TEST_CASE("a file that is deleted under two processes is made again with all that they know") {
  const QuotaFolder folder;
  const PlanQuota plan = plan_of({.day = 10});
  {
    Process first(folder.file()), second(folder.file());
    CHECK(first.ask(2, plan) == 2);
    CHECK(second.ask(3, plan) == 3);
    first.tell();
    second.tell();
    REQUIRE(::unlink(folder.file().c_str()) == 0);
    CHECK(first.ask(1, plan) == 1);
    CHECK(second.ask(2, plan) == 2);
    first.tell();
    second.tell();
    first.tell();
    CHECK(first.ask(10, plan) == 2);
  }
  CHECK(Process(folder.file()).ask(10, plan) == 2);
}

TEST_CASE("an older file that is put in the place of one in use makes no count smaller") {
  const QuotaFolder folder;
  const PlanQuota plan = plan_of({.day = 10});
  const std::string older = folder.path() + "/older";
  {
    Process process(older);
    CHECK(process.ask(1, plan) == 1);
    CHECK(process.ask(4, plan, 8) == 4);
    process.tell();
  }
  {
    Process process(folder.file());
    CHECK(process.ask(6, plan) == 6);
    process.tell();
    REQUIRE(::rename(older.c_str(), folder.file().c_str()) == 0);
    process.tell();
    CHECK(process.ask(10, plan, 8) == 6);
  }
  CHECK(Process(folder.file()).ask(10, plan) == 4);
}

TEST_CASE("after a restart addresses of a network take no place of clients that are named") {
  // The file is full of strangers, and has what named clients had; then there is less room.
  const QuotaFolder folder;
  const PlanQuota plan = plan_of({.day = 10});
  {
    Process process(folder.file(), 1000, noon, {.ids = {1, 900'000}, .keys = 1});
    for (std::uint64_t client = 1'000; client < 3'000; ++client) process.ask(1, plan, client);
    for (const std::uint64_t named : {1UL, 900'000UL, 5UL}) process.ask(4, plan, named, noon, true);
    process.tell();
  }
  {
    // 5 has a key of a plan: nobody can tell from the file that it is no stranger.
    Process process(folder.file(), 1000, noon, {.ids = {1, 900'000}, .keys = 1});
    for (const std::uint64_t named : {1UL, 900'000UL, 5UL})
      CHECK(process.ask(10, plan, named, noon, true) == 6);
    CHECK(process.ask(10, plan, 77'777) == 0);  // a newcomer of the network shares, as before
    process.tell();
  }
  Process process(folder.file(), 100, noon, {.ids = {1, 2, 900'000}});
  CHECK(process.ask(10, plan, 1, noon, true) == 0);
  CHECK(process.ask(10, plan, 900'000, noon, true) == 0);
  CHECK(process.ask(20, plan, 2, noon, true) == 10);
  CHECK(process.table.clients() <= 100 + 1);
}

TEST_CASE("periods that have long gone are deleted") {
  const QuotaFolder folder;
  const PlanQuota plan = plan_of({.day = 10});
  Process process(folder.file());
  for (int day = 0; day < 100; ++day) {
    process.ask(1, plan, 7, noon + day * 24h);
    process.tell(noon + day * 24h);
  }
  std::size_t rows = 0;
  for (int day = -1; day < 101; ++day) {
    auto store = QuotaStore::open(folder.file());
    REQUIRE(store);
    const auto sums = (*store)->add({}, {QuotaTable(utc(), 1).periods_at(noon + day * 24h)[0], -1});
    REQUIRE(sums);
    rows += sums->rows.size();
  }
  CHECK(rows <= 4);
  CHECK(rows >= 2);
}

TEST_CASE("the file holds numbers only, and nobody else may read it") {
  const QuotaFolder folder;
  Process process(folder.file());
  process.ask(1, plan_of({.day = 10}));
  process.tell();
  struct stat found{};
  for (const char* const end : {"", "-wal", "-shm"}) {
    REQUIRE(::stat((folder.file() + end).c_str(), &found) == 0);
    CHECK((found.st_mode & 0777) == 0600);
  }
}

TEST_CASE("a damaged file, another program's and one that cannot be written are told, and stay") {
  const QuotaFolder folder;
  const auto write = [&](const std::string& text) {
    std::ofstream(folder.file(), std::ios::binary | std::ios::trunc) << text;
  };
  const auto check = [&](std::string_view words) {
    const auto opened = QuotaStore::open(folder.file());
    REQUIRE(!opened);
    CHECK_MESSAGE(opened.error().contains(words), opened.error());
    CHECK_MESSAGE(opened.error().starts_with("clients.quota_file: " + folder.file()),
                  opened.error());
    CHECK(QuotaStore::why_not(folder.file()).contains(words));
  };
  write(
      "this is no database, and long enough that SQLite looks at its header, which is 100 bytes "
      "long, and says so at once");
  check("move it away");
  ::unlink(folder.file().c_str());
  {
    Process process(folder.file());
    for (std::uint64_t client = 1; client < 3000; ++client)
      process.ask(1, plan_of({.day = 10}), client);
    process.tell();
  }
  {
    std::fstream file(folder.file(), std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(0, std::ios::end);
    const auto size = file.tellp();
    REQUIRE(size > 8 * 4096);
    for (std::streamoff at = 2 * 4096; at < 5 * 4096; at += 64) {
      file.seekp(at);
      file << "scribbled over";
    }
  }
  check("move it away");
  ::unlink(folder.file().c_str());
  ::mkdir(folder.file().c_str(), 0700);
  CHECK(!QuotaStore::open(folder.file()));
  CHECK(QuotaStore::why_not(folder.file()).contains("no regular file"));
  ::rmdir(folder.file().c_str());
  REQUIRE(::mkfifo(folder.file().c_str(), 0600) == 0);
  check("no regular file");
  ::unlink(folder.file().c_str());
  const std::string nowhere = folder.path() + "/nowhere/quotas.db";
  const auto opened = QuotaStore::open(nowhere);
  REQUIRE(!opened);
  CHECK(opened.error().contains("name another place"));
  CHECK(QuotaStore::why_not(nowhere).contains("name another place"));
  CHECK(QuotaStore::why_not(folder.file()).empty());
  CHECK(::access(folder.file().c_str(), F_OK) != 0);  // a check makes nothing
}

// As an operator who means well.
void change_by_hand(const std::string& file, const char* sql) {
  sqlite3* db = nullptr;
  REQUIRE(::sqlite3_open(file.c_str(), &db) == SQLITE_OK);
  CHECK(::sqlite3_exec(db, sql, nullptr, nullptr, nullptr) == SQLITE_OK);
  ::sqlite3_close(db);
}

TEST_CASE("tables that have gone and counts that are none are told by a check and a start") {
  for (const auto& [sql, words] :
       {std::pair("DROP TABLE usage", "no such table: usage"),
        std::pair("DROP TABLE changes", "no such table: changes"),
        std::pair("ALTER TABLE usage DROP COLUMN plan", "no such column"),
        std::pair("DELETE FROM changes", "what classgate does not write"),
        std::pair("CREATE TRIGGER t BEFORE UPDATE ON changes BEGIN SELECT raise(ignore); END",
                  "what classgate does not write"),
        std::pair("UPDATE usage SET cost = 'many'", "what classgate does not write"),
        std::pair("UPDATE usage SET kind = 7", "what classgate does not write"),
        std::pair("UPDATE usage SET period = 9000000000000000000", "what classgate does not write"),
        std::pair("UPDATE usage SET period = 100000 WHERE kind = 1",
                  "what classgate does not write"),
        std::pair("UPDATE usage SET plan = 'gold'", "what classgate does not write"),
        std::pair("UPDATE usage SET change = 'now'", "what classgate does not write"),
        std::pair("UPDATE usage SET requests = 9223372036854775807",
                  "what classgate does not write"),
        std::pair("UPDATE changes SET last = 9223372036854775807", "what classgate does not write"),
        std::pair("UPDATE changes SET last = -1", "what classgate does not write"),
        std::pair("CREATE TABLE other AS SELECT * FROM usage; DROP TABLE usage; ALTER TABLE other "
                  "RENAME TO usage",
                  "ON CONFLICT clause does not match"),
        std::pair("ALTER TABLE usage RENAME TO other; CREATE TABLE usage (client, kind, period, "
                  "plan, requests, cost AS (requests), change, PRIMARY KEY (client, kind, period))",
                  "generated column"),
        std::pair("CREATE UNIQUE INDEX one_each ON usage (plan, kind)", "UNIQUE constraint failed"),
        std::pair("DROP TABLE changes; CREATE TABLE changes AS SELECT 5 AS last",
                  "no column named id"),
        std::pair("CREATE TABLE made_with (ids INTEGER PRIMARY KEY CHECK (ids = 0))",
                  "CHECK constraint failed")}) {
    CAPTURE(sql);
    const QuotaFolder folder;
    {
      Process process(folder.file());
      process.ask(3, plan_of({.day = 10}));
      process.tell();
    }
    CHECK(QuotaStore::why_not(folder.file()).empty());
    change_by_hand(folder.file(), sql);
    const auto opened = QuotaStore::open(folder.file());
    REQUIRE(!opened);
    CHECK_MESSAGE(opened.error().contains(words), opened.error());
    CHECK(opened.error().contains("move it away"));
    CHECK(QuotaStore::why_not(folder.file()) == opened.error());
  }
}

TEST_CASE("what an operator adds and counting does not mind is no mistake") {
  for (const char* const sql :
       {"ANALYZE", "ALTER TABLE usage ADD COLUMN note TEXT", "CREATE TABLE notes (text TEXT)",
        "CREATE INDEX by_plan ON usage (plan)", "VACUUM"}) {
    CAPTURE(sql);
    const QuotaFolder folder;
    const PlanQuota plan = plan_of({.day = 10});
    {
      Process process(folder.file());
      process.ask(3, plan);
      process.tell();
    }
    change_by_hand(folder.file(), sql);
    CHECK_MESSAGE(QuotaStore::why_not(folder.file()).empty(), QuotaStore::why_not(folder.file()));
    Process process(folder.file());
    CHECK(process.ask(10, plan) == 7);
  }
}

TEST_CASE("counts of a time that is still to come are told, with how to forget them") {
  const QuotaFolder folder;
  const PlanQuota plan = plan_of({.day = 10});
  const auto periods = QuotaTable(utc(), 1).periods_at(noon);
  const auto warning = [&] {
    return QuotaStore::warning_of_counts_to_come(folder.file(), periods);
  };
  CHECK(warning().empty());  // no file
  {
    Process process(folder.file());
    process.ask(3, plan);
    process.tell();
    CHECK(warning().empty());
    process.ask(3, plan, 7, noon + 400 * 24h);  // the clock is wrong
    process.tell(noon + 400 * 24h);
  }
  CHECK(warning().starts_with("clients.quota_file: " + folder.file() +
                              ": holds counts of days or "
                              "months that are still to come"));
  const std::string said = warning();
  const std::size_t begin = said.find("DELETE");
  REQUIRE(begin != std::string::npos);
  change_by_hand(folder.file(), said.substr(begin, said.rfind('"') - begin).c_str());
  CHECK(warning().empty());
  Process process(folder.file());
  CHECK(process.ask(10, plan) == 7);  // those of now are still there
}

TEST_CASE("however many keys there were, a file knows a hundred of them, and the one in use") {
  const QuotaFolder folder;
  Process process(folder.file());
  process.ask(3, plan_of({.day = 10}));
  process.tell();
  for (std::int64_t key = 1; key <= 250; ++key) CHECK(process.store->take_ids(key) == (key > 1));
  CHECK(process.store->take_ids(250) == false);
  CHECK(process.store->take_ids(249) == false);  // one of the last
  CHECK(process.store->take_ids(1) == true);     // forgotten: told again
  CHECK(process.store->take_ids(1) == false);
  sqlite3* db = nullptr;
  REQUIRE(::sqlite3_open(folder.file().c_str(), &db) == SQLITE_OK);
  sqlite3_stmt* count = nullptr;
  REQUIRE(::sqlite3_prepare_v2(db, "SELECT count(*) FROM made_with", -1, &count, nullptr) ==
          SQLITE_OK);
  REQUIRE(::sqlite3_step(count) == SQLITE_ROW);
  CHECK(::sqlite3_column_int(count, 0) <= 100);
  ::sqlite3_finalize(count);
  ::sqlite3_close(db);
}

TEST_CASE("what is given back after an operator set the count to nothing makes it no less") {
  for (const char* const sql : {"UPDATE usage SET requests = 0, cost = 0", "DELETE FROM usage",
                                "UPDATE usage SET requests = -999999"}) {
    CAPTURE(sql);
    const QuotaFolder folder;
    const PlanQuota plan = plan_of({.day = 10});
    Process process(folder.file());
    const auto taken = process.table.take(7, plan, 1, noon);
    process.tell();
    change_by_hand(folder.file(), sql);
    process.table.give_back(taken.charge);
    process.tell();
    CHECK(QuotaStore::why_not(folder.file()).empty());
    Process next(folder.file());
    CHECK(next.ask(20, plan) == 10);
  }
}

TEST_CASE("a table that goes while the file is in use is told as such") {
  const QuotaFolder folder;
  Process process(folder.file());
  process.ask(3, plan_of({.day = 10}));
  process.tell();
  change_by_hand(folder.file(), "DROP TABLE usage");
  process.ask(1, plan_of({.day = 10}));
  const auto sums = process.store->add(process.table.collect(), process.table.periods_at(noon));
  REQUIRE(!sums);
  CHECK_MESSAGE(sums.error().contains("no such table: usage"), sums.error());
  CHECK(sums.error().contains("move it away"));
}

TEST_CASE("counts by the ids of another key are told once, and by a check, where there are any") {
  const QuotaFolder folder;
  {
    Process process(folder.file());
    CHECK(process.store->take_ids(1) == false);  // nothing was counted
    CHECK(process.store->take_ids(2) == false);
    process.ask(3, plan_of({.day = 10}));
    process.tell();
  }
  CHECK(QuotaStore::has_counts_by_others(folder.file(), 2) == false);
  CHECK(QuotaStore::has_counts_by_others(folder.file(), 3) == true);
  CHECK(QuotaStore::has_counts_by_others(folder.file(), std::nullopt) == true);
  CHECK(QuotaStore::has_counts_by_others(folder.path() + "/nowhere", 3) == false);
  CHECK(QuotaStore::why_not(folder.file()).empty());
  Process process(folder.file());
  CHECK(process.store->take_ids(3) == true);
  CHECK(process.store->take_ids(3) == false);
  CHECK(process.store->take_ids(2) == false);  // the former one, brought back
  CHECK(process.store->take_ids(3) == false);
  // Made again, it is still theirs.
  ::unlink(folder.file().c_str());
  process.tell();
  CHECK(QuotaStore::has_counts_by_others(folder.file(), 3) == false);
  CHECK(QuotaStore::has_counts_by_others(folder.file(), 2) == true);
}

// A reload was read while the process was told to end, on a thread that had not gone when main
// returned: the process ended by _exit(2), and the counts of the last moments were in no file.
TEST_CASE("when a server has gone all it counted is in the file, though a reload still reads") {
  const QuotaFolder folder;
  const LogFolder secret;
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_for(upstream.port());
  settings.clients.secret = secret.at("secret");
  settings.clients.quota_file = folder.file();
  conf::PlanSettings free{.name = "free", .clients = {"address:127.0.0.1"}};
  free.quota.day = 10;
  settings.admission.fairness.plans = {free};
  settings.admission.fairness.is_on = true;
  Server::InForce held;
  {
    Gateway gateway(settings);
    held = gateway.server().in_force();
    Client client(gateway);
    for (int i = 0; i < 3; ++i) CHECK(client.ask(post("/v1/classify", "x")).status() == 200);
  }
  CHECK(requests_in(folder.file()) == 3);
}

TEST_CASE("what cannot be read is told by a look at it, and is no file without such counts") {
  const QuotaFolder folder;
  std::ofstream(folder.file()) << std::string(5000, 'x');
  const auto others = QuotaStore::has_counts_by_others(folder.file(), 1);
  REQUIRE(!others);
  CHECK_MESSAGE(others.error().starts_with("clients.quota_file: " + folder.file() + ": "),
                others.error());
  CHECK(QuotaStore::warning_of_counts_to_come(folder.file(), QuotaTable(utc(), 1).periods_at(noon))
            .contains("is not a database"));
  std::ofstream(folder.file(), std::ios::trunc).flush();  // as one that is made before its tables
  CHECK(QuotaStore::has_counts_by_others(folder.file(), 1) == false);
  CHECK(QuotaStore::warning_of_counts_to_come(folder.file(), QuotaTable(utc(), 1).periods_at(noon))
            .empty());
}

TEST_CASE("a file from before it said whose ids it counts by says so from now on") {
  const QuotaFolder folder;
  {
    Process process(folder.file());
    process.ask(3, plan_of({.day = 10}));
    process.tell();
  }
  CHECK(QuotaStore::has_counts_by_others(folder.file(), 1) == false);
  CHECK(Process(folder.file()).store->take_ids(1) == false);
  CHECK(QuotaStore::has_counts_by_others(folder.file(), 2) == true);
}

}  // namespace
}  // namespace classgate::gateway::test
