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
    tell(fmt::format("{}/{}: {}: the history is kept in memory, until the next start", directory,
                     usage_file_name, why));
    return false;
  };
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
  is_ready = is_begun &&
             (database->number("SELECT count(*) FROM sqlite_schema") > 0 ||
              (!database->has_failed() && make_tables())) &&
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
