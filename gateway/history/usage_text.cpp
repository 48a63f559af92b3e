#include <algorithm>
#include <utility>

#include "conf/reason.h"
#include "gateway/history/usage_cells.h"
#include "gateway/history/usage_report.h"

namespace classgate::gateway {
namespace {

using history::SessionRow;
using history::UsageLevel;
using history::UsageRow;

constexpr std::size_t name_max = 40;  // characters that a column of names has

// A name that nobody would read to its end is cut.
std::string name_cell(std::string_view name) {
  std::string cell = conf::printable(name);
  std::size_t characters = 0;
  for (std::string_view rest = cell; !rest.empty();) {
    const std::size_t size = std::max<std::size_t>(conf::first_character(rest).size, 1);
    if (++characters > name_max) {
      cell.resize(cell.size() - rest.size());
      return cell + "...";
    }
    rest.remove_prefix(size);
  }
  return cell;
}

std::string share_cell(std::uint64_t part, std::uint64_t of) {
  if (of == 0) return "-";
  return fmt::format("{:.1f}%", 100 * static_cast<double>(part) / static_cast<double>(of));
}

std::string span_text(const UsageReport& report) {
  return fmt::format("{} to {} ({})", report.clock_time(report.since),
                     report.clock_time(report.until), report.options.time_zone);
}

// "queue_full 3, shed 1", those that were most often first.
std::string reasons_of(const UsageRow& row) {
  auto reasons = row.reasons;
  std::ranges::sort(reasons, [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string text;
  for (const auto& [reason, times] : reasons)
    if (reason < conf::reason_texts.size())
      text +=
          fmt::format("{}{} {}", text.empty() ? "" : ", ", conf::reason_texts[reason].word, times);
  return text;
}

std::string failures_of(const UsageRow& row) {
  std::string text;
  for (std::size_t i = 0; i < row.failed_by.size(); ++i)
    if (row.failed_by[i] > 0)
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", history::failed_by_words[i],
                          row.failed_by[i]);
  return text;
}

std::vector<std::string> cells_of(const UsageReport& report, std::string name,
                                  const UsageRow& row) {
  return {std::move(name),
          fmt::format("{}", row.requests),
          share_cell(row.requests, report.table.all.requests),
          fmt::format("{}", row.cost),
          fmt::format("{}", row.served),
          fmt::format("{}", row.refused),
          fmt::format("{}", row.failed),
          fmt::format("{}", row.abandoned),
          bytes_cell(row.bytes_in),
          bytes_cell(row.bytes_out),
          milliseconds_cell(row.wait, 0.5),
          milliseconds_cell(row.wait, 0.95),
          milliseconds_cell(row.service, 0.5),
          milliseconds_cell(row.service, 0.95),
          report.clock_time(row.last_seen)};
}

std::string table_text(const UsageReport& report) {
  const UsageTable& found = report.table;
  std::string text = fmt::format("usage by {}, {}\n\n", report.options.by, span_text(report));
  const std::string others = found.keys_left == 0 ? std::string(history::usage_others)
                                                  : fmt::format("(others, {})", found.keys_left);
  if (report.options.by == "reason") {
    std::uint64_t sum = found.others.requests;
    for (const UsageRow& line : found.lines) sum += line.requests;
    CellTable table({"reason", "requests", "share"});
    for (const UsageRow& line : found.lines)
      table.add(
          {name_cell(line.key), fmt::format("{}", line.requests), share_cell(line.requests, sum)});
    if (found.others.requests > 0)
      table.add({others, fmt::format("{}", found.others.requests),
                 share_cell(found.others.requests, sum)});
    return text + table.text() +
           fmt::format("\nof {} requests {} were refused, {} failed and {} were abandoned\n",
                       found.all.requests, found.all.refused, found.all.failed,
                       found.all.abandoned);
  }
  CellTable table({report.options.by, "requests", "share", "items", "served", "refused", "failed",
                   "left", "in", "out", "wait p50", "p95 ms", "service p50", "p95 ms",
                   "last seen"});
  for (const UsageRow& line : found.lines) table.add(cells_of(report, name_cell(line.key), line));
  if (found.others.requests > 0) table.add(cells_of(report, others, found.others));
  table.add(cells_of(report, "all", found.all));
  return text + table.text();
}

void add_sessions(std::string& text, const UsageReport& report, bool with_client) {
  if (report.sessions.empty()) return;
  CellTable table(
      with_client
          ? std::vector<std::string>{"client", "begun", "last", "length", "requests", "", ""}
          : std::vector<std::string>{"session begun", "last", "length", "requests", ""});
  for (const SessionRow& session : report.sessions) {
    std::vector<std::string> cells{
        report.clock_time(session.begun), report.clock_time(session.last),
        length_cell(session.last - session.begun), fmt::format("{}", session.requests),
        session.has_ended ? "" : "open"};
    if (with_client) cells.insert(cells.begin(), name_cell(session.client));
    table.add(std::move(cells));
  }
  text += "\n" + table.text();
}

std::string client_text(const UsageReport& report) {
  const UsageRow& sum = report.sum;
  std::string text = fmt::format(
      "client {}, {}\n\n{} requests with {} items: {} served, {} refused, {} failed, {} left "
      "first\n",
      conf::printable(report.options.client), span_text(report), sum.requests, sum.cost, sum.served,
      sum.refused, sum.failed, sum.abandoned);
  if (const std::string why = reasons_of(sum); !why.empty())
    text += "refused or cut: " + why + "\n";
  if (const std::string who = failures_of(sum); !who.empty()) text += "failed by: " + who + "\n";
  text +=
      fmt::format("bodies: {} in, {} out\n", bytes_cell(sum.bytes_in), bytes_cell(sum.bytes_out));
  if (sum.wait.count() > 0)
    text += fmt::format("waited (ms): p50 {}, p95 {}, p99 {}\n", milliseconds_cell(sum.wait, 0.5),
                        milliseconds_cell(sum.wait, 0.95), milliseconds_cell(sum.wait, 0.99));
  if (sum.service.count() > 0)
    text += fmt::format("at the service (ms): p50 {}, p95 {}, p99 {}\n",
                        milliseconds_cell(sum.service, 0.5), milliseconds_cell(sum.service, 0.95),
                        milliseconds_cell(sum.service, 0.99));
  text += fmt::format("first seen {}, last seen {}\n\n", report.clock_time(sum.first_seen),
                      report.clock_time(sum.last_seen));
  CellTable table({"from", "requests", "items", "served", "refused", "failed", "left", "wait p95",
                   "service p95 ms", "refused or cut for"});
  for (const UsageRow& row : report.rows)
    table.add({report.clock_time(row.start), fmt::format("{}", row.requests),
               fmt::format("{}", row.cost), fmt::format("{}", row.served),
               fmt::format("{}", row.refused), fmt::format("{}", row.failed),
               fmt::format("{}", row.abandoned), milliseconds_cell(row.wait, 0.95),
               milliseconds_cell(row.service, 0.95), reasons_of(row)});
  text += table.text();
  add_sessions(text, report, false);
  return text;
}

std::string sessions_text(const UsageReport& report) {
  std::string text = fmt::format("sessions, {}\n", span_text(report));
  if (!report.users.empty()) {
    CellTable table({report.level == UsageLevel::day ? "day from" : "hour from", "users", "at once",
                     "begun", "ended", "new", "returning"});
    for (const UsersAnswer& row : report.users)
      table.add({report.clock_time(row.start), fmt::format("{:.0f}", row.distinct),
                 fmt::format("{}", row.active_peak), fmt::format("{}", row.begun),
                 fmt::format("{}", row.ended), fmt::format("{}", row.newcomers),
                 fmt::format("{}", row.returning)});
    text += "\n" + table.text();
  }
  add_sessions(text, report, true);
  return text;
}

// The columns of all that is counted, for whoever computes with it.
constexpr std::string_view counted_columns =
    "requests,items,served,refused,failed,abandoned,bytes_in,bytes_out,wait_p50_ms,wait_p95_ms,"
    "wait_p99_ms,service_p50_ms,service_p95_ms,service_p99_ms,first_seen,last_seen";

std::string milliseconds_csv(const history::QuantileSketch& sketch) {
  std::string text;
  for (const double q : {0.5, 0.95, 0.99}) {
    const auto value = milliseconds_at(sketch, q);
    text += value ? fmt::format(",{:.3f}", *value) : ",";
  }
  return text;
}

std::string csv_line(const UsageReport& report, const std::string& name, const UsageRow& row) {
  return fmt::format("{},{},{},{},{},{},{},{},{}{}{},{},{}", name, row.requests, row.cost,
                     row.served, row.refused, row.failed, row.abandoned, row.bytes_in,
                     row.bytes_out, milliseconds_csv(row.wait), milliseconds_csv(row.service),
                     report.time(row.first_seen), report.time(row.last_seen));
}

}  // namespace

std::string UsageReport::time(std::int64_t at) const {
  return at == 0 ? std::string()
                 : zone->text_of(std::chrono::sys_seconds(std::chrono::seconds(at)));
}

std::string UsageReport::clock_time(std::int64_t at) const {
  if (at == 0) return "-";
  std::string text = time(at).substr(0, 16);
  std::ranges::replace(text, 'T', ' ');
  return text;
}

std::string usage_text(const UsageReport& report) {
  switch (report.options.question) {
    case conf::UsageOptions::Question::client: return client_text(report);
    case conf::UsageOptions::Question::sessions: return sessions_text(report);
    default: return table_text(report);
  }
}

// Without the sum of all: whoever adds the lines up has it.
std::string usage_csv(const UsageReport& report) {
  using Question = conf::UsageOptions::Question;
  constexpr std::string_view end = "\r\n";
  std::string text;
  if (report.options.question == Question::sessions) {
    text = fmt::format("client,begun,last,seconds,requests,state{}", end);
    for (const SessionRow& session : report.sessions)
      text +=
          fmt::format("{},{},{},{},{},{}{}", csv_cell(session.client), report.time(session.begun),
                      report.time(session.last), session.last - session.begun, session.requests,
                      session.has_ended ? "ended" : "open", end);
    return text;
  }
  if (report.options.question == Question::client) {
    text = fmt::format("from,{},reasons{}", counted_columns, end);
    for (const UsageRow& row : report.rows)
      text += csv_line(report, report.time(row.start), row) + "," + csv_cell(reasons_of(row)) +
              std::string(end);
    return text;
  }
  const UsageTable& found = report.table;
  const bool is_by_reason = report.options.by == "reason";
  text = is_by_reason ? fmt::format("reason,requests{}", end)
                      : fmt::format("{},{}{}", report.options.by, counted_columns, end);
  std::vector<UsageRow> lines = found.lines;
  if (found.others.requests > 0) lines.push_back(found.others);
  for (const UsageRow& line : lines)
    text += (is_by_reason ? fmt::format("{},{}", csv_cell(line.key), line.requests)
                          : csv_line(report, csv_cell(line.key), line)) +
            std::string(end);
  return text;
}

}  // namespace classgate::gateway
