// Whether a file may be, or become, the one of the quotas: all that only looks.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "gateway/clients/quota_file.h"

namespace classgate::gateway {

// Empty: it is ours, or empty.
std::string QuotaStore::check_content() {
  std::int64_t of = 0, version = 0, tables = 0;
  is_new_ = false;
  for (const auto& [sql, into] :
       {std::pair("PRAGMA application_id", &of), std::pair("PRAGMA user_version", &version),
        std::pair("SELECT count(*) FROM sqlite_schema", &tables)}) {
    Statement ask(db_, sql);
    if (!ask.step()) return trouble();
    *into = ask.number(0);
  }
  is_new_ = of == 0 && version == 0 && tables == 0;
  if (is_new_) return {};
  if (of != application_id)
    return quota_mistake(path_, "is a database of another program: name another place");
  if (version != layout)
    return quota_mistake(path_,
                         fmt::format("is of another version of classgate (layout {}, and this one "
                                     "writes {}): move it away, or name another place",
                                     version, layout));
  Statement look(db_, "PRAGMA quick_check(1)");
  if (!look.step()) return trouble();
  if (const std::string said = look.text(0); said != "ok")
    return quota_mistake(path_, fmt::format("is damaged ({}): {}", said, if_damaged));
  const std::string no_other_counts = fmt::format(
      "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM usage WHERE typeof(client) <> 'integer' OR "
      "typeof(kind) <> 'integer' OR typeof(period) <> 'integer' OR typeof(plan) <> 'integer' OR "
      "typeof(requests) <> 'integer' OR typeof(cost) <> 'integer' OR typeof(change) <> 'integer' "
      "OR kind NOT IN (0, 1) OR period < -1 OR period >= iif(kind = 0, {}, {}) OR "
      "max(requests, cost) >= {})",
      days_max, months_max, count_max);
  const std::string one_number_of_changes = fmt::format(
      "SELECT 1 FROM changes WHERE typeof(last) = 'integer' AND last >= 0 AND last < {} AND "
      "(SELECT count(*) FROM changes) = 1",
      count_max);
  // Each has a row where all is well.
  for (const char* const sql :
       {"SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE type IN ('view', 'trigger'))",
        one_number_of_changes.c_str(), no_other_counts.c_str()}) {
    Statement ask(db_, sql);
    const bool is_well = ask.step();
    if (!ask.is_good()) return trouble();
    if (!is_well)
      return quota_mistake(
          path_,
          fmt::format("is damaged (it holds what classgate does not write): {}", if_damaged));
  }
  if (const std::string why = why_no_counting(); !why.empty())
    return quota_mistake(path_, fmt::format("{}: its tables are others than classgate makes: move "
                                            "it away: counting then begins anew",
                                            why));
  return {};
}

// What is true of any table only writing tells, and a check writes nothing: so the same tables are
// made in memory and counted in. Empty: all is as it should be.
std::string QuotaStore::why_no_counting() {
  QuotaStore trial(path_);
  if (::sqlite3_open(":memory:", &trial.db_) != SQLITE_OK) return "out of memory";
  const auto why = [&trial] { return std::string(::sqlite3_errmsg(trial.db_)); };
  {
    Statement table(db_,
                    "SELECT sql FROM sqlite_schema WHERE tbl_name IN ('usage', 'changes', "
                    "'made_with') AND sql IS NOT NULL ORDER BY type = 'index'");
    while (table.step())
      if (!trial.run(table.text(0).c_str())) return why();
    if (!table.is_good()) return ::sqlite3_errmsg(db_);
  }
  if (!trial.run("INSERT INTO changes (id, last) VALUES (0, 0)")) return why();
  std::vector<QuotaRow> rows, sums;
  for (const std::uint64_t client : {1U, 2U})
    for (const QuotaPeriod kind : quota_periods)
      rows.push_back({.client = client, .plan = 3, .kind = kind, .period = 4, .usage = {5, 6}});
  if (!trial.write(rows) || !trial.write(rows) || !trial.read({4, 4}, sums)) return why();
  if (!trial.take_ids(1)) return why();
  const bool is_counted = std::ranges::all_of(
      sums, [](const QuotaRow& sum) { return sum.usage == Usage{.requests = 10, .cost = 12}; });
  return is_counted && sums.size() == rows.size() ? "" : "what is counted there is not kept";
}

std::string QuotaStore::why_not(const std::string& path) {
  struct stat found{};
  const int error = ::stat(path.c_str(), &found) == 0 ? 0 : errno;
  if (error != 0 && error != ENOENT)
    return quota_mistake(path,
                         fmt::format("cannot be read: {}: name another place", words_for(error)));
  if (error == 0 && !S_ISREG(found.st_mode))
    return quota_mistake(path, "is no regular file: name another place");
  if (error != 0 || found.st_size == 0) {
    const std::string folder = path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
    if (::faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) == 0) return {};
    return quota_mistake(path,
                         fmt::format("cannot be made: {}: make its folder and let the user of "
                                     "classgate write there, or name another place",
                                     words_for(errno)));
  }
  if (::faccessat(AT_FDCWD, path.c_str(), R_OK | W_OK, AT_EACCESS) != 0)
    return quota_mistake(path,
                         fmt::format("cannot be opened for writing: {}: give the user of classgate "
                                     "the right to write it and its folder, or name another place",
                                     words_for(errno)));
  const auto store = open_to_read(path);
  if (!store) return store.error();
  return *store ? (*store)->check_content() : std::string();
}

std::expected<std::unique_ptr<QuotaStore>, std::string> QuotaStore::open_to_read(
    const std::string& path) {
  struct stat found{};
  if (::stat(path.c_str(), &found) != 0 && errno == ENOENT) return nullptr;
  std::unique_ptr<QuotaStore> store(new QuotaStore(path));
  constexpr int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX;
  if (::sqlite3_open_v2(path.c_str(), &store->db_, flags, nullptr) != SQLITE_OK)
    return std::unexpected(store->trouble());
  ::sqlite3_busy_timeout(store->db_, patience_ms);
  return store;
}

std::expected<bool, std::string> QuotaStore::has_table(const char* name) {
  Statement ask(
      db_,
      fmt::format("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = '{}'", name)
          .c_str());
  if (!ask.step()) return std::unexpected(trouble());
  return ask.number(0) > 0;
}

// There are counts, made with keys that are known, and none of these is this one.
std::expected<bool, std::string> QuotaStore::has_others(std::optional<std::int64_t> ids) {
  // An empty file has no tables; one of a version before this does not say whose ids it has.
  for (const char* const name : {"usage", "made_with"})
    if (const auto has = has_table(name); !has || !*has) return has;
  Statement ask(db_,
                "SELECT count(*), sum(ids = ?1) FROM made_with WHERE EXISTS (SELECT 1 FROM usage)");
  if (!ask.bind(ids.value_or(0)) || !ask.step()) return std::unexpected(trouble());
  return ask.number(0) > 0 && (!ids || ask.number(1) == 0);
}

std::expected<bool, std::string> QuotaStore::has_counts_by_others(const std::string& path,
                                                                  std::optional<std::int64_t> ids) {
  const auto store = open_to_read(path);
  if (!store) return std::unexpected(store.error());
  return *store ? (*store)->has_others(ids) : false;
}

std::string QuotaStore::warning_of_counts_to_come(const std::string& path,
                                                  std::array<std::int64_t, 2> periods) {
  const auto store = open_to_read(path);
  if (!store) return store.error();
  if (!*store) return {};
  if (const auto has = (*store)->has_table("usage"); !has || !*has)
    return has ? std::string() : has.error();
  // Midnight may pass while this is asked.
  const std::string which = fmt::format("(kind = 0 AND period > {}) OR (kind = 1 AND period > {})",
                                        periods[0] + 1, periods[1] + 1);
  Statement ask((*store)->db_, fmt::format("SELECT 1 FROM usage WHERE {}", which).c_str());
  if (!ask.step()) return ask.is_good() ? std::string() : (*store)->trouble();
  return quota_mistake(
      path, fmt::format("holds counts of days or months that are still to come, and count then: "
                        "was the clock wrong, or is it now? To forget them: sqlite3 {} \"DELETE "
                        "FROM usage WHERE {}\"",
                        path, which));
}

}  // namespace classgate::gateway
