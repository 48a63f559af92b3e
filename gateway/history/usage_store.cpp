#include "gateway/history/usage_store.h"

#include <algorithm>
#include <utility>

#include "conf/format.h"
#include "gateway/history/usage_codec.h"
#include "gateway/history/usage_file.h"
#include "gateway/history/usage_reads.h"
#include "gateway/history/usage_schema.h"
#include "gateway/history/usage_writes.h"

namespace classgate::gateway {

UsageStore::UsageStore(std::unique_ptr<State> state) : state_(std::move(state)) {}

std::expected<std::unique_ptr<UsageStore>, std::string> UsageStore::open(
    const std::string& directory, const UsageBounds& bounds, const std::string& run,
    std::int64_t now) {
  auto state = std::make_unique<State>();
  state->bounds = bounds;
  state->directory = directory;
  state->run_name = run;
  if (!state->open_file(now) && !state->open_memory())
    return std::unexpected("history: there is no memory for it");
  return std::unique_ptr<UsageStore>(new UsageStore(std::move(state)));
}

UsageStore::~UsageStore() {
  if (rows_waiting() > 0) write({}, 0);
}

// Its number in this file. Numbers are never given twice, so what a former run has written stays.
bool UsageStore::State::has_run(std::int64_t now) {
  DatabaseQuery add(*database,
                    "INSERT INTO runs (name, begun, last) VALUES (?1, ?2, ?2) ON CONFLICT (name) "
                    "DO UPDATE SET last = max(last, excluded.last)");
  if (!add.bind(run_name, now).done()) return false;
  DatabaseQuery ask(*database, "SELECT run FROM runs WHERE name = ?1");
  if (!ask.bind(run_name).step()) return false;
  run = ask.number(0);
  return true;
}

bool UsageStore::State::write_all(const Batch& batch, std::int64_t now) {
  database->forget_failure();
  if (!is_ready && !prepare()) return false;
  bool is_good = database->run("BEGIN IMMEDIATE") && has_run(now);
  if (is_good) {
    UsageWrites writes(*database, run);
    is_good =
        std::ranges::all_of(batch.rows, [&](const auto& row) { return writes.put(row); }) &&
        std::ranges::all_of(batch.users, [&](const auto& row) { return writes.put(row); }) &&
        std::ranges::all_of(batch.sessions, [&](const auto& row) { return writes.put(row); }) &&
        std::ranges::all_of(rows, [&](const auto& row) { return writes.put(row.second); }) &&
        std::ranges::all_of(users, [&](const auto& row) { return writes.put(row.second); }) &&
        std::ranges::all_of(sessions, [&](const auto& row) { return writes.put(row.second); });
  }
  is_good = is_good && database->run("COMMIT");
  if (!is_good && database->is_in_transaction()) database->run("ROLLBACK");
  return is_good;
}

// What is newer takes the place of what waits. Beyond the bound the oldest of the finest level
// goes: a coarser one tells the same.
void UsageStore::State::wait(const Batch& batch) {
  for (const auto& row : batch.rows)
    rows.insert_or_assign({row.level, row.start, row.kind, row.key}, row);
  for (const auto& row : batch.users) users.insert_or_assign({row.start, row.level}, row);
  for (const auto& row : batch.sessions) sessions.insert_or_assign({row.begun, row.client}, row);
  constexpr std::size_t users_max = 200;  // of 16 KiB
  while (rows.size() > bounds.pending_max) {
    rows.erase(rows.begin());
    ++rows_lost;
  }
  while (users.size() > users_max) users.erase(users.begin());
  while (sessions.size() > bounds.pending_max) sessions.erase(sessions.begin());
}

bool UsageStore::write(const Batch& batch, std::int64_t now) {
  State& state = *state_;
  Batch rest = batch;
  const bool have_waited = !state.rows.empty() || !state.users.empty() || !state.sessions.empty();
  if (have_waited) {
    state.wait(batch);
    rest = {};
  }
  if (state.has_lost_its_path()) {
    state.tell(fmt::format("{} was taken away while in use: a new one is begun", state.path));
    if (!state.open_file(now)) state.open_memory();
  }
  if (state.is_damaged) state.move_aside(now);
  bool is_good = !state.journal_is_too_long() && state.write_all(rest, now);
  if (!is_good && state.database->is_damaged()) {
    state.move_aside(now);
    is_good = state.write_all(rest, now);
  } else if (!is_good && state.database->is_full() && state.make_room()) {
    is_good = state.write_all(rest, now);
  }
  if (!is_good) {
    state.tell_trouble();
    state.wait(rest);
    return false;
  }
  if (state.is_in_trouble)
    state.tell(fmt::format(
        "{} is written again{}", state.path,
        state.rows_lost == 0
            ? ", nothing that waited here is lost"
            : fmt::format(", {} rows of seconds and minutes are lost", state.rows_lost)));
  state.is_in_trouble = false;
  state.rows.clear();
  state.users.clear();
  state.sessions.clear();
  return true;
}

std::expected<UsageTable, std::string> UsageStore::table(const UsageQuestion& question) {
  return state_->told(read_usage_table(*state_->database, question));
}

std::expected<std::vector<history::UsageRow>, std::string> UsageStore::series(
    history::UsageLevel level, history::UsageKind kind, const std::string& key, std::int64_t since,
    std::int64_t until) {
  return state_->told(read_usage_series(
      *state_->database, {.level = level, .kind = kind, .since = since, .until = until}, key));
}

std::expected<std::vector<UsersAnswer>, std::string> UsageStore::users(history::UsageLevel level,
                                                                       std::int64_t since,
                                                                       std::int64_t until) {
  return state_->told(read_users(*state_->database, level, since, until));
}

std::expected<std::vector<history::SessionRow>, std::string> UsageStore::sessions(
    std::int64_t since, std::int64_t until, const std::string& client, std::size_t top) {
  return state_->told(read_sessions(*state_->database, since, until, client, top));
}

std::vector<std::string> UsageStore::known_clients(std::size_t most) {
  auto clients = state_->told(read_known_clients(*state_->database, most));
  return clients ? std::move(*clients) : std::vector<std::string>();
}

bool UsageStore::is_on_disk() const { return state_->is_on_disk; }
const std::string& UsageStore::path() const { return state_->path; }
std::size_t UsageStore::rows_waiting() const { return state_->rows.size(); }
std::uint64_t UsageStore::rows_lost() const { return state_->rows_lost; }

std::uint64_t UsageStore::bytes() const {
  return static_cast<std::uint64_t>(state_->database->number("PRAGMA page_count")) *
         static_cast<std::uint64_t>(state_->database->number("PRAGMA page_size"));
}

std::int64_t UsageStore::oldest() const {
  return state_->database->number(
      "SELECT start FROM usage WHERE level = 3600 AND kind = 'all' ORDER BY start LIMIT 1");
}

std::vector<std::string> UsageStore::take_remarks() { return std::exchange(state_->remarks, {}); }

}  // namespace classgate::gateway
