#pragma once

// What is asked of a history's file, whoever has opened it. An error is what SQLite says of it.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "admission/history/usage_row.h"
#include "gateway/history/database.h"
#include "gateway/history/usage_query.h"

namespace classgate::gateway {

// Rows of one level and kind that began within a time.
struct UsageSpan {
  history::UsageLevel level = history::UsageLevel::hour;
  history::UsageKind kind = history::UsageKind::all;
  std::int64_t since = 0;
  std::int64_t until = 0;  // not this one
};

template <typename Value>
using UsageRead = std::expected<Value, std::string>;

UsageRead<UsageTable> read_usage_table(Database& database, const UsageQuestion& question);
UsageRead<std::vector<history::UsageRow>> read_usage_series(Database& database,
                                                            const UsageSpan& span,
                                                            const std::string& key);
UsageRead<std::vector<UsersAnswer>> read_users(Database& database, history::UsageLevel level,
                                               std::int64_t since, std::int64_t until);
UsageRead<std::vector<history::SessionRow>> read_sessions(Database& database, std::int64_t since,
                                                          std::int64_t until,
                                                          const std::string& client,
                                                          std::size_t top);

// Those that have sessions or days, who was here last first.
UsageRead<std::vector<std::string>> read_known_clients(Database& database, std::size_t most);

// Which rows tell of a time, of all levels that are kept: the coarsest that fit into it, and finer
// ones at its edges.
std::vector<UsageSpan> spans_over(Database& database, std::int64_t since, std::int64_t until);

// Rows as they are, with their runs: of one client, or of all clients of one hour. Nothing: the
// database has failed.
using RowsOfRuns = std::vector<std::pair<std::int64_t, history::UsageRow>>;
std::optional<RowsOfRuns> read_rows_of_runs(Database& database, history::UsageLevel level,
                                            const std::string& client);
std::optional<RowsOfRuns> read_clients_of_hour(Database& database, std::int64_t start);
// That of the same time, kind and run, of another key; an empty one where there is none.
std::optional<history::UsageRow> read_row(Database& database, const history::UsageRow& like,
                                          std::string key, std::int64_t run);

}  // namespace classgate::gateway
