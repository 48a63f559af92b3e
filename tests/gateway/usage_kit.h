#pragma once

#include <doctest/doctest.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "admission/history/usage_row.h"
#include "gateway/history/usage_store.h"

namespace classgate::gateway::test {

// A folder of a history, which goes with it.
class HistoryFolder {
 public:
  HistoryFolder() {
    std::string name =
        (std::filesystem::temp_directory_path() / "classgate-history-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  HistoryFolder(const HistoryFolder&) = delete;
  HistoryFolder& operator=(const HistoryFolder&) = delete;
  ~HistoryFolder() { std::filesystem::remove_all(path_); }
  std::string path() const { return path_.string(); }
  std::string file() const { return (path_ / "history.db").string(); }
  // What the disk holds of it: the file, and what SQLite keeps beside it.
  std::string bytes() const {
    std::string all;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      std::ostringstream text;
      text << std::ifstream(entry.path()).rdbuf();
      all += text.str();
    }
    return all;
  }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& entry : std::filesystem::directory_iterator(path_))
      all.push_back(entry.path().filename());
    return all;
  }

 private:
  std::filesystem::path path_;
};

inline std::unique_ptr<UsageStore> opened(const std::string& folder, const std::string& run = "a",
                                          const UsageBounds& bounds = {}, std::int64_t now = 0) {
  auto store = UsageStore::open(folder, bounds, run, now);
  REQUIRE_MESSAGE(store, store.error());
  return std::move(*store);
}

// Requests of 2 items each, of which every fourth is refused.
inline history::UsageRow usage_of(history::UsageLevel level, history::UsageKind kind,
                                  const std::string& key, std::int64_t at, std::uint64_t requests) {
  const std::uint64_t refused = requests / 4;
  history::UsageRow row{.level = level,
                        .kind = kind,
                        .start = start_of(level, at),
                        .key = key,
                        .requests = requests,
                        .cost = 2 * (requests - refused),
                        .served = requests - refused,
                        .refused = refused,
                        .bytes_in = 10 * requests,
                        .bytes_out = 20 * requests,
                        .first_seen = at,
                        .last_seen = at};
  row.wait.add(1000, requests);
  row.service.add(50'000, requests - refused);
  if (refused > 0) row.add_reason(3, refused);
  return row;
}

inline constexpr std::int64_t minute = 60, hour = 3600, day = 86'400;
inline constexpr std::int64_t noon = 20'000 * day + 12 * hour;  // of some day

inline std::uint64_t size_of(const std::string& path) {
  struct stat found{};
  return ::stat(path.c_str(), &found) == 0 ? static_cast<std::uint64_t>(found.st_size) : 0;
}

inline void run_sql(const std::string& file, const std::string& sql) {
  sqlite3* db = nullptr;
  REQUIRE(::sqlite3_open(file.c_str(), &db) == SQLITE_OK);
  REQUIRE_MESSAGE(::sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK,
                  ::sqlite3_errmsg(db));
  ::sqlite3_close(db);
}

inline std::int64_t number_in(const std::string& file, const std::string& sql) {
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
    for (const history::UsageLevel level : history::usage_levels)
      for (const auto& [kind, key] : {std::pair(history::UsageKind::all, std::string()),
                                      std::pair(history::UsageKind::client, client)}) {
        const history::UsageRow row = usage_of(level, kind, key, at, requests);
        const auto [place, is_new] = rows_.try_emplace({level, kind, row.start, key}, row);
        if (!is_new) place->second.add(row);
      }
  }
  std::vector<history::UsageRow> rows() const {
    std::vector<history::UsageRow> rows;
    for (const auto& [key, row] : rows_) rows.push_back(row);
    return rows;
  }

 private:
  std::map<std::tuple<history::UsageLevel, history::UsageKind, std::int64_t, std::string>,
           history::UsageRow>
      rows_;
};

inline bool write(UsageStore& store, const std::vector<history::UsageRow>& rows,
                  std::int64_t now = noon) {
  return store.write({.rows = rows}, now);
}

inline UsageTable table_of(UsageStore& store, std::int64_t since, std::int64_t until,
                           UsageBy by = UsageBy::client, std::size_t top = 20) {
  auto table = store.table({.by = by, .since = since, .until = until, .top = top});
  REQUIRE_MESSAGE(table, table.error());
  return std::move(*table);
}

inline std::uint64_t requests_in(UsageStore& store) {
  return table_of(store, 0, INT64_MAX / 2).all.requests;
}

}  // namespace classgate::gateway::test
