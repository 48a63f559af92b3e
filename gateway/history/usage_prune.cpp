// What the history gives up: what is too old, what is too much, and who is to be forgotten.

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include "conf/format.h"
#include "gateway/history/usage_codec.h"
#include "gateway/history/usage_file.h"
#include "gateway/history/usage_reads.h"
#include "gateway/history/usage_schema.h"
#include "gateway/history/usage_writes.h"

namespace classgate::gateway {
namespace {

constexpr std::int64_t runs_max = 1000;  // whose names are kept
constexpr std::int64_t free_pages_max = 256;

constexpr std::array usage_kinds{history::UsageKind::all,      history::UsageKind::client,
                                 history::UsageKind::plan,     history::UsageKind::route,
                                 history::UsageKind::priority, history::UsageKind::status};

// Rows of one table and level that began before the cut of their kind.
template <typename CutOf>
bool delete_before_each(Database& database, const char* table, history::UsageLevel level,
                        CutOf cut_of) {
  DatabaseQuery query(
      database, fmt::format("DELETE FROM {} WHERE level = ?1 AND kind = ?2 AND start < ?3", table));
  return std::ranges::all_of(usage_kinds, [&](history::UsageKind kind) {
    return query.bind(seconds_of(level), word_of(kind), cut_of(kind)).done();
  });
}

bool delete_before(Database& database, const char* table, history::UsageLevel level,
                   std::int64_t cut) {
  return delete_before_each(database, table, level, [cut](history::UsageKind) { return cut; });
}

bool delete_users_before(Database& database, history::UsageLevel level, std::int64_t cut) {
  return DatabaseQuery(database, "DELETE FROM users WHERE level = ?1 AND start < ?2")
      .bind(seconds_of(level), cut)
      .done();
}

// The first and the last time that there is something of; of no kind: nothing.
struct Extent {
  std::int64_t oldest = INT64_MAX;
  std::int64_t newest = INT64_MIN;
};
Extent extent_of(Database& database, history::UsageLevel level) {
  Extent extent;
  DatabaseQuery query(database,
                      "SELECT min(start), max(start) FROM usage WHERE level = ?1 AND kind = ?2");
  for (const std::string_view kind : history::usage_kind_words)
    if (query.bind(seconds_of(level), kind).step() && !query.is_null(0)) {
      extent.oldest = std::min(extent.oldest, query.number(0));
      extent.newest = std::max(extent.newest, query.number(1));
    }
  return extent;
}

// Up to `cut` everything of the oldest part of an extent: a tenth of it, and one step at least, but
// never what is written now. Nothing: there is no more to give.
std::optional<std::int64_t> oldest_tenth(const Extent& extent, std::int64_t step) {
  if (extent.oldest >= extent.newest) return std::nullopt;
  return std::min(extent.newest,
                  extent.oldest + std::max(step, (extent.newest - extent.oldest) / 10));
}

// In one transaction; false: nothing is done.
template <typename Work>
bool in_transaction(Database& database, Work work) {
  const bool is_good = database.run("BEGIN IMMEDIATE") && work() && database.run("COMMIT");
  if (!is_good && database.is_in_transaction()) database.run("ROLLBACK");
  return is_good;
}

// What a client used is told as that of the others of the same time and run.
bool fold_into_others(Database& database, UsageWrites& writes, std::int64_t run,
                      const history::UsageRow& row) {
  auto others = read_row(database, row, std::string(history::usage_others), run);
  if (!others) return false;
  others->add(row);
  writes.set_run(run);
  return writes.put(*others) && writes.remove(row);
}

// Of one hour those clients keep a row that had most.
bool thin_hour(Database& database, std::int64_t start) {
  const auto rows = read_clients_of_hour(database, start);
  if (!rows) return false;
  std::map<std::string, std::uint64_t> sums;
  for (const auto& [run, row] : *rows)
    if (row.key != history::usage_others) sums[row.key] += row.requests;
  std::vector<std::pair<std::uint64_t, std::string>> order;
  for (const auto& [key, sum] : sums) order.emplace_back(sum, key);
  std::ranges::sort(order, std::greater());
  if (order.size() > clients_of_old_hours) order.resize(clients_of_old_hours);
  std::set<std::string> kept;
  for (auto& [sum, key] : order) kept.insert(std::move(key));
  UsageWrites writes(database, 0);
  return std::ranges::all_of(*rows, [&](const auto& each) {
    const auto& [run, row] = each;
    return row.key == history::usage_others || kept.contains(row.key) ||
           fold_into_others(database, writes, run, row);
  });
}

}  // namespace

// Two days of hours at a time, so that nobody waits for long.
bool UsageStore::State::thin_old_hours(std::int64_t now) {
  constexpr std::size_t hours_max = 48;
  const std::int64_t cut = start_of(history::UsageLevel::hour, now - clients_of_hours_kept);
  std::vector<std::int64_t> starts;
  DatabaseQuery query(*database,
                      "SELECT start FROM usage WHERE level = 3600 AND kind = 'client' AND start >= "
                      "?1 AND start < ?2 GROUP BY start HAVING count(DISTINCT key) > ?3 ORDER BY "
                      "start LIMIT ?4");
  query.bind(thinned_until, cut, clients_of_old_hours + 1, hours_max);
  while (query.step()) starts.push_back(query.number(0));
  if (!query.is_good()) return false;
  const bool is_good = std::ranges::all_of(
      starts, [this](std::int64_t start) { return thin_hour(*database, start); });
  if (is_good) thinned_until = starts.size() < hours_max ? cut : starts.back();
  return is_good;
}

std::uint64_t UsageStore::State::bytes_used() {
  const std::int64_t pages =
      database->number("PRAGMA page_count") - database->number("PRAGMA freelist_count");
  return static_cast<std::uint64_t>(pages * database->number("PRAGMA page_size"));
}

// SQLite itself refuses to make the file longer: the bound holds at every moment.
bool UsageStore::State::limit_pages(std::uint64_t more) {
  const auto size = static_cast<std::uint64_t>(database->number("PRAGMA page_size"));
  return size > 0 &&
         database->run(fmt::format("PRAGMA max_page_count = {}", bytes_max() / size + more));
}

// Every level loses the oldest tenth of what it has, until a tenth of the room is free, and none is
// shorter than a finer one: so the history as a whole becomes shorter, and years are still told by
// their days. Were the oldest to go whatever its level, minutes of a week would outlive the years.
bool UsageStore::State::make_room() {
  const std::uint64_t wanted = bytes_max() / 10 * 9;
  if (bytes_used() <= wanted) return false;
  database->forget_failure();
  // To delete may take a page first.
  if (!limit_pages(64)) return false;
  bool has_made = false;
  for (bool is_going_on = true; is_going_on && bytes_used() > wanted;) {
    is_going_on = false;
    const bool is_good = in_transaction(*database, [&] {
      std::int64_t of_finer = INT64_MAX;
      for (const history::UsageLevel level : history::usage_levels) {
        const Extent extent = extent_of(*database, level);
        std::int64_t cut = oldest_tenth(extent, seconds_of(level)).value_or(extent.oldest);
        cut = std::min(cut, start_of(level, of_finer));
        of_finer = std::min(of_finer, cut);
        if (cut <= extent.oldest) continue;
        if (!delete_before(*database, "usage", level, cut) ||
            !delete_before(*database, "sketches", level, cut) ||
            !delete_users_before(*database, level, cut))
          return false;
        is_going_on = true;
      }
      const Extent begun{.oldest = database->number("SELECT min(begun) FROM sessions"),
                         .newest = database->number("SELECT max(begun) FROM sessions")};
      if (const auto cut = oldest_tenth(begun, 1)) {
        if (!DatabaseQuery(*database, "DELETE FROM sessions WHERE begun < ?1").bind(*cut).done())
          return false;
        is_going_on = true;
      }
      return true;
    });
    is_going_on = is_going_on && is_good;
    has_made = has_made || is_going_on;
  }
  database->run("PRAGMA incremental_vacuum");
  limit_pages(0);
  return has_made;
}

void UsageStore::prune(std::int64_t now) {
  State& state = *state_;
  if (!state.is_on_disk) state.come_back(now);
  if (!state.is_ready || state.has_lost_its_path()) return;
  state.look_for_damage();
  if (state.is_damaged) return;  // the next write moves it away
  Database& database = *state.database;
  database.forget_failure();
  const std::int64_t retention = state.bounds.retention.count();
  const bool is_good = in_transaction(database, [&] {
    for (const history::UsageLevel level : history::usage_levels) {
      const std::int64_t kept = now - usage_kept(level, retention);
      if (!delete_before(database, "usage", level, kept) ||
          !delete_before_each(database, "sketches", level,
                              [&](history::UsageKind kind) {
                                return now - sketches_kept(level, kind, retention);
                              }) ||
          !delete_users_before(database, level, kept))
        return false;
      if (!DatabaseQuery(database,
                         "UPDATE users SET registers = NULL WHERE level = ?1 AND start < ?2 AND "
                         "registers IS NOT NULL")
               .bind(seconds_of(level), now - registers_kept(level))
               .done())
        return false;
    }
    return state.thin_old_hours(now) &&
           DatabaseQuery(database, "DELETE FROM sessions WHERE begun < ?1 AND last < ?1")
               .bind(now - sessions_kept(retention))
               .done() &&
           DatabaseQuery(database, "DELETE FROM runs WHERE run <= (SELECT max(run) FROM runs) - ?1")
               .bind(runs_max)
               .done();
  });
  if (!is_good) {
    state.is_damaged = database.is_damaged();
    if (!state.is_damaged) state.tell_trouble();
    return;
  }
  if (state.bytes_used() > state.bytes_max()) state.make_room();
  if (database.number("PRAGMA freelist_count") > free_pages_max)
    database.run("PRAGMA incremental_vacuum");
}

std::expected<std::size_t, std::string> UsageStore::forget(const std::string& client) {
  State& state = *state_;
  for (auto row = state.rows.begin(); row != state.rows.end();)
    row = row->second.kind == history::UsageKind::client && row->second.key == client
              ? state.rows.erase(row)
              : std::next(row);
  std::erase_if(state.sessions, [&](const auto& each) { return each.second.client == client; });
  if (!state.is_ready) return std::unexpected(state.database->trouble());
  return state.told(forget_in(*state.database, client));
}

std::expected<std::size_t, std::string> forget_in(Database& database, const std::string& client) {
  if (client == history::usage_others)
    return std::unexpected("\"(others)\" are the sum of many, and nobody's id");
  database.forget_failure();
  database.run("PRAGMA secure_delete = ON");
  std::size_t forgotten = 0;
  const bool is_good = in_transaction(database, [&] {
    UsageWrites writes(database, 0);
    for (const history::UsageLevel level : history::usage_levels) {
      auto rows = read_rows_of_runs(database, level, client);
      if (!rows) return false;
      for (const auto& [run, row] : *rows) {
        if (!fold_into_others(database, writes, run, row)) return false;
        ++forgotten;
      }
    }
    if (!DatabaseQuery(database, "DELETE FROM sessions WHERE client = ?1").bind(client).done())
      return false;
    forgotten += static_cast<std::size_t>(database.changed());
    return true;
  });
  if (!is_good) return std::unexpected(database.trouble());
  // SQLite clears what it deletes, and not what it leaves behind where it moves rows together: only
  // a file that is written anew holds nothing of it. By way of the disk, as it may be long. Also
  // where there is no row: it may have failed when there were some.
  if (!(database.run("PRAGMA temp_store = FILE") && database.run("VACUUM")))
    return std::unexpected(fmt::format(
        "it is deleted, but traces of it may be left in the file, which could not be written anew "
        "({}): make as much room as it takes, then ask again",
        database.trouble()));
  // What is in the journal is on the disk, too.
  DatabaseQuery checkpoint(database, "PRAGMA wal_checkpoint(TRUNCATE)");
  if (!checkpoint.step() || checkpoint.number(0) != 0)
    return std::unexpected(
        "it is deleted, but what was there stays in the journal beside the file until the program "
        "that is reading it ends; then ask again");
  return forgotten;
}

}  // namespace classgate::gateway
