#include "gateway/history/usage_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "conf/format.h"
#include "gateway/history/usage_schema.h"

namespace classgate::gateway {
namespace {

constexpr std::size_t damaged_files_max = 2;  // that are kept for whoever wants to mend them
constexpr std::size_t remarks_max = 100;
// A file that is read whole takes the time of the history's thread: a two thousandth of it at most,
// and never so long that a journal could become full.
constexpr std::uint64_t checked_bytes_max = 64ULL << 20;
constexpr int checks_share = 2000;

// Of what SQLite would open; empty: nothing. It would wait for what a pipe says, or read a device
// without end.
std::string why_no_file(const std::string& path) {
  for (const char* const suffix : {"", "-wal", "-shm", "-journal"}) {
    struct stat found{};
    const std::string one = path + suffix;
    if (::stat(one.c_str(), &found) == 0 && !S_ISREG(found.st_mode)) return one + " is no file";
  }
  return {};
}

}  // namespace

void UsageStore::State::tell(std::string line) {
  if (remarks.size() < remarks_max) remarks.push_back("history: " + std::move(line));
}

void UsageStore::State::tell_trouble() {
  if (is_in_trouble) return;
  is_in_trouble = true;
  tell(
      fmt::format("{} cannot be written: {}: what is counted waits in memory, and is written when "
                  "that has passed",
                  path, database->trouble()));
}

bool UsageStore::State::open_memory() {
  database.reset();
  path = ":memory:";
  is_on_disk = is_ready = false;
  run = 0;
  auto opened = Database::open(path, Database::Use::write);
  if (!opened) return false;
  database = std::move(*opened);
  return prepare();
}

bool UsageStore::State::open_file(std::int64_t now) {
  path = directory + "/" + usage_file_name;
  is_ready = false;
  run = 0;
  thinned_until = 0;
  // Ids of clients are nothing for everybody; the group may be that of who draws graphs.
  if (const int fd = ::open(path.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0640); fd >= 0)
    ::close(fd);
  const auto memory_instead = [this](const std::string& why) {
    if (!is_quiet)
      tell(fmt::format("{}/{}: {}: the history is kept in memory, until that is mended", directory,
                       usage_file_name, why));
    return false;
  };
  if (const std::string why = why_no_file(path); !why.empty()) return memory_instead(why);
  auto opened = Database::open(path, Database::Use::write);
  if (!opened) return memory_instead(opened.error());
  database = std::move(*opened);
  is_on_disk = true;
  struct stat found{};
  if (::stat(path.c_str(), &found) == 0) {
    device = found.st_dev;
    inode = found.st_ino;
  }
  if (database->may_only_read()) return memory_instead("it may only be read");
  const std::int64_t of = database->number("PRAGMA application_id");
  if (!database->is_damaged() && of != 0 && of != usage_application)
    return memory_instead("is a database of another program");
  if (const std::int64_t version = database->number("PRAGMA user_version");
      !database->is_damaged() && version > usage_schema_version)
    return memory_instead(
        fmt::format("was written by a newer classgate (schema {}; this one knows {})", version,
                    usage_schema_version));
  if (prepare()) return true;
  if (database->is_damaged()) {
    if (is_moving) return memory_instead(database->trouble());
    move_aside(now);
    return true;
  }
  if (database->is_refused()) return memory_instead(database->trouble());
  tell_trouble();
  return true;
}

bool UsageStore::State::prepare() {
  database->forget_failure();
  const bool is_begun =
      // Before there is anything in it.
      database->run("PRAGMA auto_vacuum = INCREMENTAL") &&
      database->run(is_on_disk ? "PRAGMA journal_mode = WAL" : "PRAGMA journal_mode = MEMORY") &&
      database->run("PRAGMA synchronous = NORMAL") &&
      // What is deleted is gone from the file, too: of a client that is to be forgotten nothing may
      // be left in what rows leave behind when they are written anew.
      database->run("PRAGMA secure_delete = ON") &&
      database->run("PRAGMA journal_size_limit = 4194304") &&
      database->run("PRAGMA temp_store = MEMORY") && database->run("PRAGMA cell_size_check = ON") &&
      limit_pages(0) && database->run("BEGIN IMMEDIATE");
  const auto make_tables = [this] {
    return database->run(usage_schema) &&
           database->run(fmt::format("PRAGMA application_id = {}", usage_application)) &&
           database->run(fmt::format("PRAGMA user_version = {}", usage_schema_version));
  };
  const auto bring_up = [this] {
    return database->number("PRAGMA user_version") != 1 ||
           (database->run(usage_from_schema_1) &&
            database->run(fmt::format("PRAGMA user_version = {}", usage_schema_version)));
  };
  is_ready = is_begun &&
             (database->number("SELECT count(*) FROM sqlite_schema") > 0
                  ? bring_up()
                  : !database->has_failed() && make_tables()) &&
             database->run("SELECT requests FROM usage LIMIT 1") && database->run("COMMIT");
  if (!is_ready && database->is_in_transaction()) database->run("ROLLBACK");
  return is_ready;
}

// Also what SQLite keeps beside it: a repair needs that.
void UsageStore::State::move_aside(std::int64_t now) {
  is_damaged = false;
  const std::string why = database->trouble();
  database.reset();
  const std::string aside = fmt::format("{}.corrupt-{}", path, now);
  std::error_code ignored;
  std::vector<std::string> former;
  for (const auto& entry : std::filesystem::directory_iterator(directory, ignored))
    if (const std::string name = entry.path().filename();
        name.starts_with(std::string(usage_file_name) + ".corrupt-") && !name.ends_with("-wal"))
      former.push_back(entry.path());
  std::ranges::sort(former);
  for (std::size_t i = 0; i + damaged_files_max <= former.size(); ++i) {
    ::unlink(former[i].c_str());
    ::unlink((former[i] + "-wal").c_str());
  }
  const bool is_moved = ::rename(path.c_str(), aside.c_str()) == 0;
  ::rename((path + "-wal").c_str(), (aside + "-wal").c_str());
  ::unlink((path + "-shm").c_str());
  tell(is_moved ? fmt::format("{} is damaged ({}): it is kept as {}, and a new one begun", path,
                              why, aside)
                : fmt::format("{} is damaged ({}), and cannot be moved away", path, why));
  is_moving = true;
  if (!is_moved || !open_file(now)) open_memory();
  is_moving = false;
}

void UsageStore::State::look_for_damage() {
  if (!is_ready || !is_on_disk || is_damaged) return;
  database->forget_failure();
  if (const bool has = database->has_header(); had_header && !has)
    database->note_damage("its first bytes are those of no database");
  else
    had_header = has;
  const auto now = std::chrono::steady_clock::now();
  if (!database->has_failed() && now >= checked_again && bytes_used() <= checked_bytes_max) {
    database->is_whole();
    const auto later = std::chrono::steady_clock::now();
    checked_again = later + checks_share * (later - now);
  }
  is_damaged = database->is_damaged();
}

// Rows of memory are all of this run.
void UsageStore::State::come_back(std::int64_t now) {
  State file;
  file.bounds = bounds;
  file.directory = directory;
  file.run_name = run_name;
  file.is_quiet = true;
  if (!file.open_file(now) || !file.is_on_disk || !file.is_ready || !file.has_run(now)) return;
  database->forget_failure();
  const auto copy = [&](const char* table, bool has_run) {
    return (!has_run ||
            database->run(fmt::format("UPDATE main.{} SET run = {}", table, file.run))) &&
           database->run(fmt::format("REPLACE INTO disk.{0} SELECT * FROM main.{0}", table));
  };
  if (!DatabaseQuery(*database, "ATTACH ?1 AS disk").bind(file.path).done()) return;
  const bool is_good = database->run("BEGIN IMMEDIATE") && copy("usage", true) &&
                       copy("sketches", true) && copy("users", true) && copy("sessions", false) &&
                       database->run("COMMIT");
  if (!is_good && database->is_in_transaction()) database->run("ROLLBACK");
  database->run("DETACH disk");
  if (!is_good) return;
  file.rows = std::move(rows);
  file.users = std::move(users);
  file.sessions = std::move(sessions);
  file.rows_lost = rows_lost;
  file.remarks.insert(file.remarks.begin(), remarks.begin(), remarks.end());
  file.tell(fmt::format("{} can be written: what was kept in memory is in it now", file.path));
  file.is_quiet = false;
  *this = std::move(file);
}

bool UsageStore::State::has_lost_its_path() const {
  struct stat found{};
  return is_on_disk &&
         (::stat(path.c_str(), &found) != 0 || found.st_dev != device || found.st_ino != inode);
}

// It can't begin anew while somebody reads what it began with.
bool UsageStore::State::journal_is_too_long() {
  struct stat found{};
  const auto is_long = [&] {
    return ::stat((path + "-wal").c_str(), &found) == 0 &&
           static_cast<std::uint64_t>(found.st_size) > bounds.bytes_max / 2 + (8U << 20);
  };
  if (!is_on_disk || !is_long()) return false;
  database->run("PRAGMA wal_checkpoint(TRUNCATE)");
  if (!is_long()) return false;
  if (!is_in_trouble)
    tell(
        fmt::format("{}-wal has grown to {} bytes, since another program has been reading for "
                    "long: what is counted waits in memory until it ends",
                    path, found.st_size));
  is_in_trouble = true;
  return true;
}

}  // namespace classgate::gateway
