#include "gateway/ops/usage_json.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "conf/format.h"
#include "conf/reason.h"
#include "gateway/clients/pseudonym.h"
#include "gateway/history/usage_store.h"
#include "gateway/json_text.h"
#include "gateway/ops/desk.h"

namespace classgate::gateway {
namespace {

using history::UsageKind;
using history::UsageLevel;
using history::UsageRow;
using nlohmann::ordered_json;

constexpr std::size_t open_sessions_shown = 200;
constexpr std::int64_t day_seconds = 86'400;
constexpr std::int64_t years_ten = 10 * 366 * day_seconds;

OperatorServer::Reply usage_as_json(const ordered_json& json, int status = 200) {
  return {.status = status, .content_type = json_type, .body = json_text(json)};
}

OperatorServer::Reply no_usage(const std::string& why) {
  return usage_as_json({{"error", "the history cannot be read: " + why}}, 503);
}

// Of clients.clients_file; null: of none of these.
ordered_json known_name(std::uint64_t client, const Rules& rules) {
  const std::string_view name = rules.clients.name_of(client);
  return name.empty() ? ordered_json(nullptr) : ordered_json(name);
}

// A whole number from `least` to `most`; `otherwise` where nothing is said.
std::optional<std::int64_t> asked_number(std::string_view text, std::int64_t otherwise,
                                         std::int64_t least, std::int64_t most) {
  if (text.empty()) return otherwise;
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || number < least || number > most)
    return std::nullopt;
  return number;
}

// The place of a word among those that there are; none: it is none of them.
template <typename Words>
std::optional<std::size_t> asked_place(std::string_view word, const Words& words) {
  const auto found = std::ranges::find(words, word);
  if (found == std::end(words)) return std::nullopt;
  return static_cast<std::size_t>(found - std::begin(words));
}

double page_milliseconds(double microseconds) { return std::round(microseconds) / 1000; }

ordered_json page_quantiles(const history::QuantileSketch& sketch) {
  if (sketch.count() == 0) return nullptr;
  return {{"p50", page_milliseconds(sketch.quantile(0.5))},
          {"p95", page_milliseconds(sketch.quantile(0.95))},
          {"p99", page_milliseconds(sketch.quantile(0.99))}};
}

ordered_json page_row(const UsageRow& row) {
  ordered_json reasons = ordered_json::object();
  for (const auto& [reason, times] : row.reasons)
    if (reason < conf::reason_count) reasons[std::string(conf::reason_texts[reason].word)] = times;
  ordered_json failed_by = ordered_json::object();
  for (std::size_t i = 0; i < row.failed_by.size(); ++i)
    if (row.failed_by[i] > 0)
      failed_by[std::string(history::failed_by_words[i])] = row.failed_by[i];
  const auto seen = [](std::int64_t at) {
    return at == 0 ? ordered_json(nullptr) : ordered_json(at);
  };
  return {{"key", row.key},
          {"requests", row.requests},
          {"cost", row.cost},
          {"served", row.served},
          {"refused", row.refused},
          {"failed", row.failed},
          {"abandoned", row.abandoned},
          {"bytes_in", row.bytes_in},
          {"bytes_out", row.bytes_out},
          {"wait_ms", page_quantiles(row.wait)},
          {"service_ms", page_quantiles(row.service)},
          {"first_seen", seen(row.first_seen)},
          {"last_seen", seen(row.last_seen)},
          {"reasons", reasons},
          {"failed_by", failed_by}};
}

// Rows that are fine enough for steps of this length, and there for as long as that.
UsageLevel page_level(const SeriesAsked& asked, std::int64_t step) {
  if (step < 60 && asked.seconds <= 3600 && asked.kind == UsageKind::all) return UsageLevel::second;
  if (step < 3600 && asked.seconds <= 7 * day_seconds) return UsageLevel::minute;
  return step < day_seconds ? UsageLevel::hour : UsageLevel::day;
}

// How many users were active at once, at most, from some time until another: as this process has
// seen it, or as is written of the hours before it.
class ActiveThen {
 public:
  ActiveThen(const UsageHistory::Books& books, std::int64_t since) : record_(books.record) {
    if (since >= record_.started() || books.store == nullptr) return;
    if (const auto hours = books.store->users(UsageLevel::hour, since - 3600, books.now + 1))
      for (const UsersAnswer& hour : *hours) peaks_[hour.start] = hour.active_peak;
  }
  std::uint64_t most(std::int64_t from, std::int64_t until) const {
    if (from >= record_.started() && record_.now() - from < day_seconds)
      return record_.active().most(from, until);
    std::uint64_t users = 0;
    for (auto hour = peaks_.lower_bound(start_of(UsageLevel::hour, from));
         hour != peaks_.end() && hour->first < until; ++hour)
      users = std::max(users, hour->second);
    return users;
  }

 private:
  const history::UsageRecord& record_;
  std::map<std::int64_t, std::uint64_t> peaks_;
};

}  // namespace

std::expected<UsageAsked, std::string> UsageAsked::read(const std::optional<Query>& query) {
  UsageAsked asked;
  if (!query) return std::unexpected("the query is malformed");
  if (const auto word = query->value("by"); !word.empty()) {
    const auto by = asked_place(word, usage_by_words);
    if (!by) return std::unexpected("by: client, plan, route, reason, status or priority");
    asked.by = static_cast<UsageBy>(*by);
  }
  if (const auto word = query->value("order"); !word.empty()) {
    constexpr std::array<std::string_view, 3> words{"requests", "cost", "refused"};
    const auto order = asked_place(word, words);
    if (!order) return std::unexpected("order: requests, cost or refused");
    asked.order = static_cast<UsageOrder>(*order);
  }
  const auto seconds = asked_number(query->value("since"), asked.seconds, 1, years_ten);
  if (!seconds) return std::unexpected("since: seconds back from now");
  const auto top = asked_number(query->value("top"), 20, 0, top_max);
  if (!top) return std::unexpected(fmt::format("top: up to {}", top_max));
  asked.seconds = *seconds;
  asked.top = static_cast<std::size_t>(*top);
  return asked;
}

OperatorServer::Reply usage_reply(const UsageAsked& asked, const UsageHistory::Books& books,
                                  const Rules& rules) {
  if (books.store == nullptr) return no_usage("there is no memory for it");
  const auto table = books.store->table({.by = asked.by,
                                         .since = books.now - asked.seconds,
                                         .until = books.now + 1,
                                         .top = asked.top,
                                         .order = asked.order});
  if (!table) return no_usage(table.error());
  // By what is printed of an id: no more is kept.
  std::map<std::string, std::string> names;
  if (asked.by == UsageBy::client)
    books.record.for_each_client([&](std::uint64_t client) {
      if (const std::string_view name = rules.clients.name_of(client); !name.empty())
        names.emplace(pseudonym_of(client), name);
    });
  ordered_json rows = ordered_json::array();
  for (const UsageRow& line : table->lines) {
    rows.push_back(page_row(line));
    if (const auto name = names.find(line.key); name != names.end())
      rows.back()["name"] = name->second;
  }
  ordered_json others = page_row(table->others);
  others["keys"] = table->keys_left;
  return usage_as_json({{"by", word_of(asked.by)},
                        {"since", table->since},
                        {"until", table->until},
                        {"rows", rows},
                        {"others", others},
                        {"total", page_row(table->all)}});
}

std::expected<SeriesAsked, std::string> SeriesAsked::read(const std::optional<Query>& query) {
  SeriesAsked asked;
  if (!query) return std::unexpected("the query is malformed");
  if (const auto word = query->value("by"); !word.empty()) {
    const auto kind = asked_place(word, history::usage_kind_words);
    if (!kind) return std::unexpected("by: all, client, plan, route, priority or status");
    asked.kind = static_cast<UsageKind>(*kind);
  }
  asked.key = query->value("key");
  if (const auto client = query->value("client"); !client.empty()) {
    asked.kind = UsageKind::client;
    asked.key = client;
  }
  if (asked.key.empty() != (asked.kind == UsageKind::all))
    return std::unexpected("key: whose, of all but by=all");
  const auto seconds = asked_number(query->value("since"), asked.seconds, 1, years_ten);
  if (!seconds) return std::unexpected("since: seconds back from now");
  const auto points = asked_number(query->value("points"), asked.points, 1, points_max);
  if (!points) return std::unexpected(fmt::format("points: up to {}", points_max));
  asked.seconds = *seconds;
  asked.points = *points;
  return asked;
}

OperatorServer::Reply series_reply(const SeriesAsked& asked, const UsageHistory::Books& books) {
  if (books.store == nullptr) return no_usage("there is no memory for it");
  std::int64_t step = (asked.seconds + asked.points - 1) / asked.points;
  const UsageLevel level = page_level(asked, step);
  const std::int64_t unit = seconds_of(level);
  step = (step + unit - 1) / unit * unit;
  const std::int64_t from = (books.now - asked.seconds) / step * step;
  const std::int64_t until = (books.now / step + 1) * step;
  const auto read = books.store->series(level, asked.kind, asked.key, from, until);
  if (!read) return no_usage(read.error());
  std::map<std::int64_t, UsageRow> steps;
  for (const UsageRow& row : *read) steps[row.start / step * step].add(row);
  const ActiveThen active(books, from);
  ordered_json time = ordered_json::array(), requests = time, cost = time, served = time,
               refused = time, failed = time, wait_p50 = time, wait_p95 = time, users = time;
  // What was before anything is known is left out.
  for (std::int64_t at = steps.empty() ? until : steps.begin()->first; at < until; at += step) {
    const UsageRow& row = steps[at];
    const bool has_waits = row.wait.count() > 0;
    const auto wait = [&](double q) {
      return has_waits ? ordered_json(page_milliseconds(row.wait.quantile(q)))
                       : ordered_json(nullptr);
    };
    time.push_back(at);
    requests.push_back(row.requests);
    cost.push_back(row.cost);
    served.push_back(row.served);
    refused.push_back(row.refused);
    failed.push_back(row.failed);
    wait_p50.push_back(wait(0.5));
    wait_p95.push_back(wait(0.95));
    users.push_back(active.most(at, at + step));
  }
  return usage_as_json({{"from", from},
                        {"until", until},
                        {"step", step},
                        {"series",
                         {{{"key", asked.kind == UsageKind::all ? "all" : asked.key},
                           {"time", time},
                           {"requests", requests},
                           {"cost", cost},
                           {"served", served},
                           {"refused", refused},
                           {"failed", failed},
                           {"wait_ms_p50", wait_p50},
                           {"wait_ms_p95", wait_p95},
                           {"active", users}}}}});
}

OperatorServer::Reply forget_reply(const std::string& client, const UsageHistory::Books& books) {
  if (books.store == nullptr) return {.status = 503, .body = "there is no history to be had\n"};
  // What is written, all of this process too; from then on nothing of it is written any more.
  const auto rows = books.store->forget(client);
  const bool was_known = books.record.forget(client);
  if (const auto half = half_in(client)) std::erase(books.known_before, *half);
  const auto left = books.record.collect();
  books.store->write({.rows = left.rows, .users = left.users, .sessions = left.sessions},
                     books.now);
  if (!rows) return {.status = 503, .body = rows.error() + "\n"};
  if (*rows == 0 && !was_known)
    return {.status = 404, .body = fmt::format("nothing is known of {}\n", client)};
  return {.body = fmt::format("{} is forgotten: {} rows of it are deleted, and what it used is the "
                              "others' now\n",
                              client, *rows)};
}

OperatorServer::Reply sessions_reply(const UsageHistory::Books& books, const Rules& rules) {
  using Window = history::Sessions::Window;
  constexpr std::int64_t peaks_seconds = 48 * 3600;
  const history::Sessions& sessions = books.record.sessions();
  std::map<std::int64_t, std::uint64_t> hours;
  if (books.store != nullptr)
    if (const auto known =
            books.store->users(UsageLevel::hour, books.now - peaks_seconds, books.now + 1))
      for (const UsersAnswer& hour : *known) hours[hour.start] = hour.active_peak;
  for (const auto& [hour, peak] : books.record.peaks()) hours[hour] = std::max(hours[hour], peak);
  ordered_json peaks = ordered_json::array();
  for (const auto& [hour, peak] : hours) peaks.push_back({{"hour", hour}, {"peak", peak}});
  ordered_json open = ordered_json::array();
  for (const auto& session : sessions.open(open_sessions_shown))
    open.push_back({{"client", pseudonym_of(session.client)},
                    {"name", known_name(session.client, rules)},
                    {"begun", session.begun},
                    {"last", session.last},
                    {"requests", session.requests}});
  return usage_as_json({{"active_now", sessions.active(Window::now)},
                        {"active_1m", sessions.active(Window::minute)},
                        {"active_5m", sessions.active(Window::five)},
                        {"active_15m", sessions.active(Window::quarter)},
                        {"active_60m", sessions.active(Window::hour)},
                        {"distinct_day", std::llround(books.record.distinct_day())},
                        {"sessions_open", sessions.active(Window::session)},
                        {"sessions_begun", sessions.begun()},
                        {"sessions_ended", sessions.ended()},
                        {"new", sessions.newcomers()},
                        {"returning", sessions.returning()},
                        {"peak_hour", peaks},
                        {"open", open}});
}

}  // namespace classgate::gateway
