#include "gateway/clients/quota_store.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "conf/format.h"
#include "gateway/clients/quota_file.h"

namespace classgate::gateway {
namespace {

// SQLite would make it as the umask says. Empty: it is there.
std::string make_quota_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
  if (fd < 0)
    return fmt::format(
        "cannot be opened for writing: {}: give the user of classgate the right to "
        "write it and its folder, or name another place",
        words_for(errno));
  struct stat found{};
  const bool is_regular = ::fstat(fd, &found) == 0 && S_ISREG(found.st_mode);
  ::close(fd);
  return is_regular ? "" : "is no regular file: name another place";
}

// Its path is another file's by now, or nobody's.
bool has_lost_its_path(sqlite3* db) {
  int has_moved = 0;
  return ::sqlite3_file_control(db, "main", SQLITE_FCNTL_HAS_MOVED, &has_moved) == SQLITE_OK &&
         has_moved != 0;
}

// Brings the counts of one file into another, where some of them may be already: the higher of two
// is the newer, as counts grow. So of two processes that bring the same nothing counts twice.
bool bring(sqlite3* from, sqlite3* to) {
  const auto run = [](void* db, int, char** sql, char**) {
    return ::sqlite3_exec(static_cast<sqlite3*>(db), sql[0], nullptr, nullptr, nullptr);
  };
  constexpr const char* begin = "BEGIN IMMEDIATE; UPDATE changes SET last = last + 1";
  constexpr const char* rows =
      "SELECT printf('INSERT INTO usage SELECT %d, %d, %d, %d, %d, %d, last FROM changes WHERE 1 "
      "ON CONFLICT (client, kind, period) DO UPDATE SET requests = max(requests, "
      "excluded.requests), cost = max(cost, excluded.cost), change = excluded.change', client, "
      "kind, period, plan, requests, cost) FROM usage";
  const bool is_good = ::sqlite3_exec(to, begin, nullptr, nullptr, nullptr) == SQLITE_OK &&
                       ::sqlite3_exec(from, rows, run, to, nullptr) == SQLITE_OK &&
                       ::sqlite3_exec(to, "COMMIT", nullptr, nullptr, nullptr) == SQLITE_OK;
  if (!is_good) ::sqlite3_exec(to, "ROLLBACK", nullptr, nullptr, nullptr);
  return is_good;
}

}  // namespace

QuotaStore::~QuotaStore() { ::sqlite3_close(db_); }

// What SQLite said last, and what helps.
std::string QuotaStore::trouble() const {
  const int code = ::sqlite3_errcode(db_);
  const char* advice = "look at the file and its disk";
  switch (code) {
    case SQLITE_FULL: advice = "make room on its disk"; break;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: advice = "find out what else has it open"; break;
    case SQLITE_ERROR:  // of fixed statements: no such table
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: advice = if_damaged; break;
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
      advice = "give the user of classgate the right to write it and its folder";
      break;
    default: break;
  }
  std::string what = db_ == nullptr ? "out of memory" : ::sqlite3_errmsg(db_);
  if (const int error = db_ == nullptr ? 0 : ::sqlite3_system_errno(db_);
      error != 0 && (code == SQLITE_CANTOPEN || code == SQLITE_IOERR))
    what += fmt::format(" ({})", words_for(error));
  return quota_mistake(path_, fmt::format("{}: {}", what, advice));
}

bool QuotaStore::run(const char* sql) {
  return ::sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) == SQLITE_OK;
}

std::expected<std::unique_ptr<QuotaStore>, std::string> QuotaStore::open(const std::string& path) {
  if (std::string why = make_quota_file(path); !why.empty())
    return std::unexpected(quota_mistake(path, why));
  std::unique_ptr<QuotaStore> store(new QuotaStore(path));
  constexpr int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
  if (::sqlite3_open_v2(path.c_str(), &store->db_, flags, nullptr) != SQLITE_OK)
    return std::unexpected(store->trouble());
  ::sqlite3_busy_timeout(store->db_, patience_ms);
  if (std::string why = store->check_content(); !why.empty()) return std::unexpected(why);
  if (!store->prepare()) return std::unexpected(store->trouble());
  return store;
}

// With a log of what is written (WAL) whoever is killed in the middle leaves nothing half done;
// what is written is on the disk before it counts as written. Where the tables are there nothing is
// written here: a full disk is no reason not to start.
bool QuotaStore::prepare() {
  if (!run("PRAGMA synchronous = FULL")) return false;
  if (!is_new_) return true;
  return run("PRAGMA journal_mode = WAL") && run("BEGIN IMMEDIATE") &&
         run("PRAGMA application_id = 1667719540") && run("PRAGMA user_version = 1") &&
         run("CREATE TABLE IF NOT EXISTS usage (client INTEGER NOT NULL, kind INTEGER NOT NULL, "
             "period INTEGER NOT NULL, plan INTEGER NOT NULL, requests INTEGER NOT NULL, "
             "cost INTEGER NOT NULL, change INTEGER NOT NULL, "
             "PRIMARY KEY (client, kind, period)) WITHOUT ROWID") &&
         run("CREATE INDEX IF NOT EXISTS usage_by_change ON usage (change)") &&
         run("CREATE INDEX IF NOT EXISTS usage_by_period ON usage (kind, period)") &&
         run("CREATE TABLE IF NOT EXISTS changes (id INTEGER PRIMARY KEY CHECK (id = 0), "
             "last INTEGER NOT NULL)") &&
         run("INSERT OR IGNORE INTO changes VALUES (0, 0)") && run("COMMIT");
}
static_assert(application_id == 1667719540 && layout == 1);

std::expected<bool, std::string> QuotaStore::take_ids(std::int64_t ids) {
  ids_ = ids;
  const auto has_been_others = has_others(ids);
  if (!has_been_others) return has_been_others;
  // A table more, not another layout: versions before this one can read the file.
  if (!run("CREATE TABLE IF NOT EXISTS made_with (ids INTEGER PRIMARY KEY)"))
    return std::unexpected(trouble());
  {
    Statement known(db_, "SELECT 1 FROM made_with WHERE ids = ?1");
    if (known.bind(ids) && known.step()) return has_been_others;
  }
  // Which are the oldest nobody knows. Whose key comes back is told again, and that is all.
  if (!run(fmt::format("DELETE FROM made_with WHERE (SELECT count(*) FROM made_with) >= {}",
                       made_with_max)
               .c_str()))
    return std::unexpected(trouble());
  Statement keep(db_, "INSERT INTO made_with (ids) VALUES (?1)");
  if (!keep.bind(ids) || keep.step() || !keep.is_good()) return std::unexpected(trouble());
  return has_been_others;
}

// Never below zero: what was had before somebody set a count to nothing may be given back after.
bool QuotaStore::write(const std::vector<QuotaRow>& rows) {
  if (rows.empty()) return true;
  std::int64_t change = 0;
  {
    // Gone before the next may fail: its end would hide what SQLite says of that.
    Statement next(db_, "UPDATE changes SET last = last + 1 RETURNING last");
    if (!next.step()) return false;
    change = next.number(0);
    if (next.step() || !next.is_good()) return false;
  }
  Statement add(db_,
                "INSERT INTO usage (client, kind, period, plan, requests, cost, change) VALUES "
                "(?1, ?2, ?3, ?4, max(?5, 0), max(?6, 0), ?7) ON CONFLICT (client, kind, period) "
                "DO UPDATE SET plan = ?4, requests = max(max(requests, 0) + ?5, 0), "
                "cost = max(max(cost, 0) + ?6, 0), change = ?7");
  return std::ranges::all_of(rows, [&](const QuotaRow& row) {
    return add.bind(row.client, index_of(row.kind), row.period, row.plan, row.usage.requests,
                    row.usage.cost, change) &&
           !add.step() && add.is_good();
  });
}

bool QuotaStore::read(std::array<std::int64_t, 2> periods, std::vector<QuotaRow>& sums) {
  const std::int64_t since = periods == periods_ ? seen_ : 0;
  Statement ask(db_,
                "SELECT client, kind, period, plan, requests, cost, change FROM usage WHERE "
                "change > ?1 AND ((kind = 0 AND period = ?2) OR (kind = 1 AND period = ?3))");
  if (!ask.bind(since, periods[0], periods[1])) return false;
  while (ask.step())
    sums.push_back({.client = static_cast<std::uint64_t>(ask.number(0)),
                    .plan = static_cast<std::uint64_t>(ask.number(3)),
                    .kind = ask.number(1) == 0 ? QuotaPeriod::day : QuotaPeriod::month,
                    .period = ask.number(2),
                    .usage = {std::max<std::int64_t>(ask.number(4), 0),
                              std::max<std::int64_t>(ask.number(5), 0)}});
  if (!ask.is_good()) return false;
  Statement last(db_, "SELECT last FROM changes");
  if (!last.step()) return false;
  seen_ = last.number(0);
  return true;
}

// The two newest of a kind stay, and with them those around now, whatever a clock that was wrong
// for a while has made of them.
bool QuotaStore::delete_former(std::array<std::int64_t, 2> periods) {
  Statement drop(db_,
                 "DELETE FROM usage WHERE kind = ?1 AND period < ?2 AND period NOT IN (SELECT "
                 "DISTINCT period FROM usage WHERE kind = ?1 ORDER BY period DESC LIMIT 2)");
  for (const QuotaPeriod kind : quota_periods)
    if (!drop.bind(index_of(kind), periods[index_of(kind)] - 1) || drop.step() || !drop.is_good())
      return false;
  return true;
}

std::expected<QuotaSums, std::string> QuotaStore::add(const std::vector<QuotaRow>& rows,
                                                      std::array<std::int64_t, 2> periods) {
  // Deleted, or another put in its place: what is written would be lost with the process.
  if (has_lost_its_path(db_)) {
    // The log of the former file is not to be taken for that of the one that is there now. Emptied
    // through what is open, it is known by that; that of another process which was first is not.
    if (!run("PRAGMA wal_checkpoint(TRUNCATE)")) return std::unexpected(trouble());
    struct stat log{};
    if (::access(path_.c_str(), F_OK) != 0 ||
        (::stat((path_ + "-wal").c_str(), &log) == 0 && log.st_size == 0))
      for (const char* const end : {"-wal", "-shm"}) ::unlink((path_ + end).c_str());
    auto anew = open(path_);
    if (!anew)
      return std::unexpected(anew.error() + ". The file that was open has been taken away");
    const bool is_whole = bring(db_, (*anew)->db_);
    if (ids_ && !(*anew)->take_ids(*ids_)) return std::unexpected((*anew)->trouble());
    std::swap(db_, (*anew)->db_);
    seen_ = 0;
    periods_ = {-1, -1};
    has_former_ = true;
    spdlog::error("{}",
                  quota_mistake(path_, is_whole ? "was deleted or replaced while in use: it has "
                                                  "been made again, with all that was counted. To "
                                                  "begin anew, stop classgate first"
                                                : "was deleted or replaced while in use: it has "
                                                  "been made again, and what the former one held "
                                                  "could not be read: counting begins anew"));
  }
  const std::int64_t seen = seen_;
  QuotaSums sums{.rows = {}, .periods = periods, .are_all = periods != periods_};
  if (periods != periods_) has_former_ = true;
  const bool writes = !rows.empty();
  const bool is_good = run(writes ? "BEGIN IMMEDIATE" : "BEGIN") && write(rows) &&
                       (!writes || !has_former_ || delete_former(periods)) &&
                       read(periods, sums.rows) && run("COMMIT");
  if (is_good) {
    periods_ = periods;
    if (writes) has_former_ = false;
    return sums;
  }
  std::string why = trouble();
  run("ROLLBACK");
  seen_ = seen;
  return std::unexpected(std::move(why));
}

}  // namespace classgate::gateway
