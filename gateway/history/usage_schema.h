#pragma once

#include <algorithm>
#include <cstdint>

#include "admission/history/usage_row.h"

namespace classgate::gateway {

// The tables of history.db, as classgate-history(5) tells of them. A change that an older version
// can't read, or would write otherwise, takes another number.
inline constexpr int usage_schema_version = 2;                 // user_version
inline constexpr std::int64_t usage_application = 0x63677573;  // "cgus"
inline constexpr const char* usage_file_name = "history.db";

// Where rows are long (sketches) the table is not WITHOUT ROWID: what is longer than a quarter of a
// page would take a page more, nearly empty.
inline constexpr const char* usage_schema = R"sql(
CREATE TABLE runs (
  run INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, begun INTEGER NOT NULL,
  last INTEGER NOT NULL);
CREATE TABLE usage (
  level INTEGER NOT NULL, kind TEXT NOT NULL, start INTEGER NOT NULL, key TEXT NOT NULL,
  run INTEGER NOT NULL,
  requests INTEGER NOT NULL, cost INTEGER NOT NULL, served INTEGER NOT NULL,
  refused INTEGER NOT NULL, failed INTEGER NOT NULL, abandoned INTEGER NOT NULL,
  bytes_in INTEGER NOT NULL, bytes_out INTEGER NOT NULL,
  wait_p50_us INTEGER, wait_p95_us INTEGER, wait_p99_us INTEGER,
  service_p50_us INTEGER, service_p95_us INTEGER, service_p99_us INTEGER,
  first_seen INTEGER, last_seen INTEGER, reasons TEXT, failed_by TEXT,
  PRIMARY KEY (level, kind, start, key, run)) WITHOUT ROWID;
CREATE TABLE sketches (
  level INTEGER NOT NULL, kind TEXT NOT NULL, start INTEGER NOT NULL, key TEXT NOT NULL,
  run INTEGER NOT NULL, wait BLOB, service BLOB,
  PRIMARY KEY (level, kind, start, key, run));
CREATE TABLE users (
  level INTEGER NOT NULL, start INTEGER NOT NULL, run INTEGER NOT NULL,
  distinct_users REAL NOT NULL, active_peak INTEGER NOT NULL, begun INTEGER NOT NULL,
  ended INTEGER NOT NULL, newcomers INTEGER NOT NULL, returned INTEGER NOT NULL, registers BLOB,
  PRIMARY KEY (level, start, run)) WITHOUT ROWID;
CREATE TABLE sessions (
  begun INTEGER NOT NULL, client TEXT NOT NULL, last INTEGER NOT NULL, requests INTEGER NOT NULL,
  has_ended INTEGER NOT NULL, PRIMARY KEY (begun, client)) WITHOUT ROWID;
CREATE VIEW usage_sums AS
  SELECT level, kind, start, key, sum(requests) AS requests, sum(cost) AS cost,
    sum(served) AS served, sum(refused) AS refused, sum(failed) AS failed,
    sum(abandoned) AS abandoned, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
    min(first_seen) AS first_seen, max(last_seen) AS last_seen
  FROM usage GROUP BY level, kind, start, key;
)sql";

// The columns of usage behind its key, as UsageRow has them; in the order in which they are read.
inline constexpr const char* usage_columns =
    "requests, cost, served, refused, failed, abandoned, bytes_in, bytes_out, first_seen, "
    "last_seen, reasons, failed_by";

// For how many seconds what is kept is needed, at most.
constexpr std::int64_t usage_kept(history::UsageLevel level, std::int64_t retention) {
  switch (level) {
    case history::UsageLevel::second: return 3600;
    case history::UsageLevel::minute: return std::min<std::int64_t>(retention, 7 * 86'400);
    default: return retention;
  }
}
// From the version before: sketches were written otherwise. The rows have their quantiles still.
inline constexpr const char* usage_from_schema_1 = "DELETE FROM sketches";

// Sketches take most of the room. A sum over a long time is made of those of its days, and of finer
// ones only at its edges; what is looked at minute by minute has its quantiles in the rows, too.
// For a year and a month they are there by client, plan and so on, beyond it for all together.
constexpr std::int64_t sketches_kept(history::UsageLevel level, history::UsageKind kind,
                                     std::int64_t retention) {
  constexpr std::int64_t day = 86'400;
  const bool is_all = kind == history::UsageKind::all;
  switch (level) {
    case history::UsageLevel::second: return 3600;
    case history::UsageLevel::minute: return std::min(retention, is_all ? 2 * day : 3 * 3600);
    case history::UsageLevel::hour: return std::min(retention, is_all ? 40 * day : 8 * day);
    default: return is_all ? retention : std::min(retention, 400 * day);
  }
}
// The registers of a time unite those who wrote it, which may be several processes of an upgrade or
// a restart; then their estimate is enough.
constexpr std::int64_t registers_kept(history::UsageLevel level) {
  return level == history::UsageLevel::day ? 3 * 86'400 : 7200;
}
// For so long an hour has all the clients that it had a row for; then those that had most.
inline constexpr std::int64_t clients_of_hours_kept = 90 * 86'400;
inline constexpr std::int64_t clients_of_old_hours = 16;
constexpr std::int64_t sessions_kept(std::int64_t retention) {
  return std::min<std::int64_t>(retention, 31 * 86'400);
}

}  // namespace classgate::gateway
