#include "gateway/history/usage_reads.h"

#include <algorithm>
#include <functional>
#include <unordered_map>

#include "conf/format.h"
#include "gateway/history/usage_codec.h"
#include "gateway/history/usage_schema.h"

namespace classgate::gateway {
namespace {

using history::UsageKind;
using history::UsageLevel;
using history::UsageRow;

// What usage_columns name, from this column on, is added to a row.
void add_columns(const DatabaseQuery& query, int first, UsageRow& row) {
  UsageRow read{.requests = query.count(first),
                .cost = query.count(first + 1),
                .served = query.count(first + 2),
                .refused = query.count(first + 3),
                .failed = query.count(first + 4),
                .abandoned = query.count(first + 5),
                .bytes_in = query.count(first + 6),
                .bytes_out = query.count(first + 7),
                .first_seen = query.number(first + 8),
                .last_seen = query.number(first + 9)};
  add_reasons(read, query.bytes(first + 10));
  add_failed_by(read, query.bytes(first + 11));
  row.add(read);
}

// Damaged ones are left out: the counts beside them still tell.
void add_sketches(const DatabaseQuery& query, int first, UsageRow& row) {
  if (const auto wait = sketch_of(query.bytes(first))) row.wait.add(*wait);
  if (const auto service = sketch_of(query.bytes(first + 1))) row.service.add(*service);
}

std::int64_t start_behind(UsageLevel level, std::int64_t at) {
  return start_of(level, at + seconds_of(level) - 1);
}

std::int64_t oldest_of(Database& database, UsageLevel level) {
  DatabaseQuery query(database, "SELECT min(start) FROM usage WHERE level = ?1 AND kind = 'all'");
  return query.bind(seconds_of(level)).step() && !query.is_null(0) ? query.number(0) : INT64_MAX;
}

std::uint64_t order_of(UsageOrder order, const DatabaseQuery& query, int first) {
  switch (order) {
    case UsageOrder::cost: return query.count(first + 1);
    case UsageOrder::refused: return query.count(first + 3);
    default: return query.count(first);
  }
}

// Calls `each` with every row of a kind within these times.
template <typename Each>
bool read_each(Database& database, const std::vector<UsageSpan>& spans, UsageKind kind, Each each) {
  DatabaseQuery query(
      database, fmt::format("SELECT key, {} FROM usage WHERE level = ?1 AND kind = ?2 AND start >= "
                            "?3 AND start < ?4",
                            usage_columns));
  for (const UsageSpan& span : spans) {
    query.bind(seconds_of(span.level), word_of(kind), span.since, span.until);
    while (query.step()) each(query);
  }
  return query.is_good();
}

template <typename Each>
bool read_each_sketch(Database& database, const std::vector<UsageSpan>& spans, UsageKind kind,
                      Each each) {
  DatabaseQuery query(database,
                      "SELECT key, wait, service FROM sketches WHERE level = ?1 AND kind = ?2 AND "
                      "start >= ?3 AND start < ?4");
  for (const UsageSpan& span : spans) {
    query.bind(seconds_of(span.level), word_of(kind), span.since, span.until);
    while (query.step()) each(query);
  }
  return query.is_good();
}

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const {
    return std::hash<std::string_view>()(text);
  }
};
template <typename Value>
using ByText = std::unordered_map<std::string, Value, TextHash, std::equal_to<>>;

// What the whole has and the lines have not. Its quantiles nobody knows.
UsageRow rest_of(const UsageRow& all, const std::vector<UsageRow>& lines) {
  UsageRow rest = all;
  rest.key = history::usage_others;
  rest.wait = rest.service = {};
  const auto take = [](std::uint64_t& from, std::uint64_t less) { from -= std::min(from, less); };
  for (const UsageRow& line : lines) {
    take(rest.requests, line.requests);
    take(rest.cost, line.cost);
    take(rest.served, line.served);
    take(rest.refused, line.refused);
    take(rest.failed, line.failed);
    take(rest.abandoned, line.abandoned);
    take(rest.bytes_in, line.bytes_in);
    take(rest.bytes_out, line.bytes_out);
    for (auto& [reason, times] : rest.reasons)
      for (const auto& [other, less] : line.reasons)
        if (reason == other) take(times, less);
    for (std::size_t i = 0; i < rest.failed_by.size(); ++i)
      take(rest.failed_by[i], line.failed_by[i]);
  }
  std::erase_if(rest.reasons, [](const auto& each) { return each.second == 0; });
  return rest;
}

// Of each key what it is ordered by, the most first.
std::vector<std::pair<std::uint64_t, std::string>> ranked(ByText<std::uint64_t> sums) {
  std::vector<std::pair<std::uint64_t, std::string>> order;
  order.reserve(sums.size());
  for (auto& [key, sum] : sums) order.emplace_back(sum, key);
  std::ranges::sort(order, [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  return order;
}

bool read_lines(Database& database, const std::vector<UsageSpan>& spans, UsageKind kind,
                const UsageQuestion& question, UsageTable& table) {
  ByText<std::uint64_t> sums;
  if (!read_each(database, spans, kind, [&](const DatabaseQuery& row) {
        const std::string_view key = row.bytes(0);
        if (key == history::usage_others) return;
        auto place = sums.find(key);
        if (place == sums.end()) place = sums.emplace(key, 0).first;
        place->second += order_of(question.order, row, 1);
      }))
    return false;
  const auto order = ranked(std::move(sums));
  ByText<std::size_t> places;
  for (const auto& [sum, key] : order) {
    if (places.size() == question.top) break;
    places.emplace(key, table.lines.size());
    table.lines.push_back({.level = UsageLevel::day, .kind = kind, .key = key});
  }
  table.keys_left = order.size() - places.size();
  const auto add = [&](auto add_to) {
    return [&, add_to](const DatabaseQuery& row) {
      if (const auto place = places.find(row.bytes(0)); place != places.end())
        add_to(row, 1, table.lines[place->second]);
    };
  };
  return read_each(database, spans, kind, add(add_columns)) &&
         read_each_sketch(database, spans, kind, add(add_sketches));
}

// A reason is no kind of its own: the sums tell of each how often it was one.
bool read_reasons(Database& database, const std::vector<UsageSpan>& spans,
                  const UsageQuestion& question, UsageTable& table) {
  ByText<std::uint64_t> sums;
  if (!read_each(database, spans, UsageKind::all, [&](const DatabaseQuery& row) {
        for (const auto& [word, times] : counts_of(row.bytes(11)).value_or(WordCounts()))
          sums[word] += times;
      }))
    return false;
  std::uint64_t left = 0;
  for (const auto& [sum, word] : ranked(std::move(sums))) {
    if (table.lines.size() < question.top) {
      table.lines.push_back({.level = UsageLevel::day, .key = word, .requests = sum});
    } else {
      left += sum;
      ++table.keys_left;
    }
  }
  table.others = {.key = std::string(history::usage_others), .requests = left};
  return true;
}

std::string rows_of_clients(std::string_view which) {
  return fmt::format(
      "SELECT run, start, key, {}, wait, service FROM usage LEFT JOIN sketches USING (level, kind, "
      "start, key, run) WHERE level = ?1 AND kind = 'client' AND {}",
      usage_columns, which);
}

std::optional<RowsOfRuns> rows_of_runs(DatabaseQuery& query, UsageLevel level) {
  RowsOfRuns rows;
  while (query.step()) {
    UsageRow row{.level = level,
                 .kind = UsageKind::client,
                 .start = query.number(1),
                 .key = std::string(query.bytes(2))};
    add_columns(query, 3, row);
    add_sketches(query, 15, row);
    rows.emplace_back(query.number(0), std::move(row));
  }
  if (!query.is_good()) return std::nullopt;
  return rows;
}

UsageKind kind_of(UsageBy by) {
  switch (by) {
    case UsageBy::client: return UsageKind::client;
    case UsageBy::plan: return UsageKind::plan;
    case UsageBy::route: return UsageKind::route;
    case UsageBy::status: return UsageKind::status;
    case UsageBy::priority: return UsageKind::priority;
    default: return UsageKind::all;
  }
}

}  // namespace

std::vector<UsageSpan> spans_over(Database& database, std::int64_t since, std::int64_t until) {
  // The coarsest first; only those that there are rows of.
  std::vector<UsageLevel> levels;
  std::vector<std::int64_t> oldest;
  std::int64_t end = INT64_MIN;  // behind it there is nothing
  DatabaseQuery newest(database, "SELECT max(start) FROM usage WHERE level = ?1 AND kind = 'all'");
  for (const UsageLevel level : {UsageLevel::day, UsageLevel::hour, UsageLevel::minute}) {
    const std::int64_t first = oldest_of(database, level);
    if (first == INT64_MAX || !newest.bind(seconds_of(level)).step()) continue;
    levels.push_back(level);
    oldest.push_back(first);
    end = std::max(end, newest.number(0) + (level == UsageLevel::minute ? 60 : 0));
  }
  if (levels.empty()) return {};
  // The rows of now, which are not full yet, are told whole.
  if (until >= end) until = start_behind(levels.front(), std::max(until, end));
  std::vector<UsageSpan> spans;
  const auto add = [&](UsageLevel level, std::int64_t from, std::int64_t to) {
    if (from < to) spans.push_back({.level = level, .since = from, .until = to});
  };
  // Times of minutes, or coarser ones where finer rows are gone: there it begins earlier.
  const std::function<void(std::size_t, std::int64_t, std::int64_t)> cover =
      [&](std::size_t i, std::int64_t from, std::int64_t to) {
        if (from >= to) return;
        const UsageLevel level = levels[i];
        const bool is_finest = i + 1 == levels.size();
        // Finer rows of the edges may be gone, or never have been.
        const bool has_finer = !is_finest && from >= oldest[i + 1];
        const bool ends_finer = has_finer || (!is_finest && start_of(level, to) >= oldest[i + 1]);
        const std::int64_t first = has_finer ? start_behind(level, from) : start_of(level, from);
        const std::int64_t last = ends_finer ? start_of(level, to) : start_behind(level, to);
        if (first > last) return cover(i + 1, from, to);
        if (has_finer) cover(i + 1, from, first);
        add(level, first, last);
        if (ends_finer) cover(i + 1, last, to);
      };
  cover(0, std::max(since, std::ranges::min(oldest)), until);
  return spans;
}

UsageRead<UsageTable> read_usage_table(Database& database, const UsageQuestion& question) {
  database.forget_failure();
  UsageTable table;
  table.all.level = table.others.level = UsageLevel::day;
  // One state of the file, whoever writes meanwhile.
  if (!database.run("BEGIN")) return std::unexpected(database.trouble());
  const auto spans = spans_over(database, question.since, question.until);
  table.since = question.since;
  table.until = question.until;
  if (!spans.empty()) {
    table.since = spans.front().since;
    table.until = spans.back().until;
  }
  bool is_good = read_each(database, spans, UsageKind::all,
                           [&](const DatabaseQuery& row) { add_columns(row, 1, table.all); }) &&
                 read_each_sketch(database, spans, UsageKind::all, [&](const DatabaseQuery& row) {
                   add_sketches(row, 1, table.all);
                 });
  if (question.by == UsageBy::reason) {
    is_good = is_good && read_reasons(database, spans, question, table);
  } else {
    is_good = is_good && read_lines(database, spans, kind_of(question.by), question, table);
    table.others = rest_of(table.all, table.lines);
  }
  database.run("ROLLBACK");
  if (!is_good || database.has_failed()) return std::unexpected(database.trouble());
  return table;
}

UsageRead<std::vector<UsageRow>> read_usage_series(Database& database, const UsageSpan& span,
                                                   const std::string& key) {
  database.forget_failure();
  std::vector<UsageRow> rows;
  const std::string sql = fmt::format(
      "SELECT start, {}, wait, service FROM usage LEFT JOIN sketches USING (level, kind, start, "
      "key, run) WHERE level = ?1 AND kind = ?2 AND start >= ?3 AND start < ?4 AND key = ?5 ORDER "
      "BY start",
      usage_columns);
  DatabaseQuery query(database, sql);
  query.bind(seconds_of(span.level), word_of(span.kind), span.since, span.until, key);
  while (query.step()) {
    const std::int64_t start = query.number(0);
    if (rows.empty() || rows.back().start != start)
      rows.push_back({.level = span.level, .kind = span.kind, .start = start, .key = key});
    add_columns(query, 1, rows.back());
    add_sketches(query, 13, rows.back());
  }
  if (!query.is_good()) return std::unexpected(database.trouble());
  return rows;
}

UsageRead<std::vector<UsersAnswer>> read_users(Database& database, UsageLevel level,
                                               std::int64_t since, std::int64_t until) {
  database.forget_failure();
  std::vector<UsersAnswer> answers;
  DatabaseQuery query(database,
                      "SELECT start, distinct_users, active_peak, begun, ended, newcomers, "
                      "returned, registers FROM users WHERE level = ?1 AND start >= ?2 AND start "
                      "< ?3 ORDER BY start");
  query.bind(seconds_of(level), since, until);
  history::DistinctCount together;  // of those of one start
  while (query.step()) {
    const std::int64_t start = query.number(0);
    const bool is_next = answers.empty() || answers.back().start != start;
    if (is_next) {
      answers.push_back({.start = start});
      together = {};
    }
    UsersAnswer& answer = answers.back();
    // Of several processes: who came to both is one, where registers tell.
    const auto registers = distinct_of(query.bytes(7));
    if (registers) together.add(*registers);
    answer.distinct = std::max({answer.distinct, query.real(1), is_next ? 0 : together.estimate()});
    answer.active_peak = std::max(answer.active_peak, query.count(2));
    answer.begun += query.count(3);
    answer.ended += query.count(4);
    answer.newcomers += query.count(5);
    answer.returning += query.count(6);
  }
  if (!query.is_good()) return std::unexpected(database.trouble());
  return answers;
}

UsageRead<std::vector<std::string>> read_known_clients(Database& database, std::size_t most) {
  database.forget_failure();
  std::vector<std::string> clients;
  DatabaseQuery query(
      database,
      "SELECT client, max(seen) FROM (SELECT client, max(last) AS seen FROM sessions GROUP BY "
      "client UNION ALL SELECT key, max(last_seen) FROM usage WHERE level = 86400 AND kind = "
      "'client' GROUP BY key) WHERE client <> ?1 GROUP BY client ORDER BY 2 DESC LIMIT ?2");
  query.bind(history::usage_others, most);
  while (query.step()) clients.emplace_back(query.bytes(0));
  if (!query.is_good()) return std::unexpected(database.trouble());
  return clients;
}

UsageRead<std::vector<history::SessionRow>> read_sessions(Database& database, std::int64_t since,
                                                          std::int64_t until,
                                                          const std::string& client,
                                                          std::size_t top) {
  database.forget_failure();
  std::vector<history::SessionRow> sessions;
  DatabaseQuery query(database,
                      "SELECT client, begun, last, requests, has_ended FROM sessions WHERE begun < "
                      "?1 AND last >= ?2 AND (?3 = '' OR client = ?3) ORDER BY begun DESC, client "
                      "LIMIT ?4");
  query.bind(until, since, client, top);
  while (query.step())
    sessions.push_back({.client = std::string(query.bytes(0)),
                        .begun = query.number(1),
                        .last = query.number(2),
                        .requests = query.count(3),
                        .has_ended = query.number(4) != 0});
  if (!query.is_good()) return std::unexpected(database.trouble());
  return sessions;
}

std::optional<RowsOfRuns> read_rows_of_runs(Database& database, UsageLevel level,
                                            const std::string& client) {
  DatabaseQuery query(database, rows_of_clients("key = ?2"));
  return rows_of_runs(query.bind(seconds_of(level), client), level);
}

std::optional<RowsOfRuns> read_clients_of_hour(Database& database, std::int64_t start) {
  DatabaseQuery query(database, rows_of_clients("start = ?2"));
  return rows_of_runs(query.bind(seconds_of(UsageLevel::hour), start), UsageLevel::hour);
}

std::optional<UsageRow> read_row(Database& database, const UsageRow& like, std::string key,
                                 std::int64_t run) {
  UsageRow row{.level = like.level, .kind = like.kind, .start = like.start, .key = std::move(key)};
  const std::string sql = fmt::format(
      "SELECT {}, wait, service FROM usage LEFT JOIN sketches USING (level, kind, start, key, run) "
      "WHERE level = ?1 AND kind = ?2 AND start = ?3 AND key = ?4 AND run = ?5",
      usage_columns);
  DatabaseQuery query(database, sql);
  query.bind(seconds_of(row.level), word_of(row.kind), row.start, row.key, run);
  if (query.step()) {
    add_columns(query, 0, row);
    add_sketches(query, 12, row);
  }
  if (!query.is_good()) return std::nullopt;
  return row;
}

}  // namespace classgate::gateway
