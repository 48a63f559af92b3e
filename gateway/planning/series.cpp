#include "gateway/planning/series.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <string_view>

#include "conf/format.h"
#include "conf/printable.h"
#include "conf/units.h"
#include "gateway/planning/line_file.h"
#include "gateway/planning/scenario.h"

namespace classgate::planning {
namespace {

constexpr double missing = std::numeric_limits<double>::quiet_NaN();
constexpr std::size_t rows_max = 5'000'000;
constexpr std::size_t steps_max = 5'000'000;

struct Row {
  double time = 0;  // seconds
  double value = 0;
};

std::string_view trimmed(std::string_view text) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '"'; };
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

std::optional<double> number(std::string_view text) {
  double value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || stop != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<int> digits(std::string_view text, std::size_t at, std::size_t count) {
  if (text.size() < at + count) return std::nullopt;
  int value = 0;
  const char* const end = text.data() + at + count;
  const auto [stop, error] = std::from_chars(text.data() + at, end, value);
  if (error != std::errc{} || stop != end || value < 0) return std::nullopt;
  return value;
}

// "2026-11-28", then maybe "T09:30", ":15", ".25", "Z" or "+01:00". Without a zone: UTC.
std::optional<double> calendar_time(std::string_view text) {
  const auto year = digits(text, 0, 4);
  const auto month = digits(text, 5, 2);
  const auto day = digits(text, 8, 2);
  if (!year || !month || !day || text[4] != '-' || text[7] != '-') return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  auto time = static_cast<double>(
      std::chrono::seconds(std::chrono::sys_days(date).time_since_epoch()).count());
  text.remove_prefix(10);
  if (text.empty()) return time;
  const auto hour = digits(text, 1, 2);
  const auto minute = digits(text, 4, 2);
  if ((text[0] != 'T' && text[0] != ' ') || !hour || !minute || text[3] != ':' || *hour > 23 ||
      *minute > 59)
    return std::nullopt;
  time += *hour * 3'600 + *minute * 60;
  text.remove_prefix(6);
  if (text.starts_with(':')) {
    const std::size_t end = std::min(text.find_first_not_of("0123456789.", 1), text.size());
    const auto second = number(text.substr(1, end - 1));
    if (!second || *second >= 61) return std::nullopt;
    time += *second;
    text.remove_prefix(end);
  }
  if (text.empty() || text == "Z") return time;
  const auto zone_hour = digits(text, 1, 2);
  const auto zone_minute = digits(text, text.size() == 6 ? 4 : 3, 2);
  if ((text[0] != '+' && text[0] != '-') || !zone_hour || !zone_minute || text.size() > 6)
    return std::nullopt;
  const int offset = *zone_hour * 3'600 + *zone_minute * 60;
  return text[0] == '+' ? time - offset : time + offset;
}

// Of a row with a time and a value; the error says what is wrong.
std::expected<Row, std::string> read_row(std::string_view line, bool is_arrival) {
  constexpr double year_9999 = 253'402'300'800;
  const std::size_t comma = line.find_first_of(",;\t");
  const std::string_view time_text = trimmed(line.substr(0, comma));
  std::string_view rest = comma == std::string_view::npos ? "" : line.substr(comma + 1);
  rest = trimmed(rest.substr(0, rest.find_first_of(",;\t")));
  auto time = number(time_text);
  if (time && *time > 1e11 && *time < year_9999 * 1e3) *time /= 1e3;  // milliseconds
  if (!time) time = calendar_time(time_text);
  if (!time || !std::isfinite(*time) || *time < 0 || *time >= year_9999)
    return std::unexpected(fmt::format("{} is no time", conf::quote(std::string(time_text))));
  if (is_arrival) return Row{*time, 1};
  if (comma == std::string_view::npos)
    return std::unexpected(std::string("there is no value behind the time"));
  if (rest.empty() || rest == "NaN" || rest == "nan" || rest == "null" || rest == "NA")
    return Row{*time, missing};
  const auto value = number(rest);
  if (!value || !std::isfinite(*value) || *value > 1e15)
    return std::unexpected(fmt::format("{} is no number", conf::quote(std::string(rest))));
  if (*value < 0)
    return std::unexpected(
        fmt::format("{} is below 0: a load is 0 or more", conf::quote(std::string(rest))));
  return Row{*time, *value};
}

std::expected<std::vector<Row>, std::string> read_rows(const conf::ForecastOptions& options,
                                                       Series& series) {
  const auto file = LogFile::open(options.series);
  if (!file) return std::unexpected(file.error());
  auto lines = LineFile::open(*file);
  if (!lines) return std::unexpected(lines.error());
  const std::string name = conf::printable((*file)->name());
  series.what = name;
  std::vector<Row> rows;
  for (std::string_view line; lines->next(line);) {
    if (trimmed(line).empty() || line.starts_with('#')) continue;
    auto row = read_row(line, options.arrivals);
    if (!row && rows.empty() && lines->number() <= 1) continue;  // the header
    if (!row) return std::unexpected(fmt::format("{}:{}: {}", name, lines->number(), row.error()));
    if (rows.size() == rows_max)
      return std::unexpected(fmt::format("{}: more than {} rows", name, rows_max));
    rows.push_back(*row);
  }
  if (!lines->error().empty()) return std::unexpected(fmt::format("{}: {}", name, lines->error()));
  if (rows.empty())
    return std::unexpected(
        fmt::format("{}: no row with a time and a value: nothing can be forecast", name));
  return rows;
}

// What most rows are apart; zero: nothing is common.
std::chrono::seconds step_of(const std::vector<Row>& rows) {
  std::map<std::int64_t, std::size_t> apart;
  std::size_t count = 0;
  for (std::size_t i = 1; i < rows.size(); ++i)
    if (const auto gap = std::llround(rows[i].time - rows[i - 1].time); gap > 0) {
      if (apart.size() < 10'000 || apart.contains(gap)) ++apart[gap];
      ++count;
    }
  const auto most =
      std::ranges::max_element(apart, {}, [](const auto& each) { return each.second; });
  if (most == apart.end() || 2 * most->second < count) return std::chrono::seconds(0);
  return std::chrono::seconds(most->first);
}

// Rows into steps: the mean of those of one, or how many there are.
std::expected<void, std::string> fill(Series& series, const std::vector<Row>& rows, bool is_sum) {
  const auto slot_of = [&](double time) {
    return static_cast<std::int64_t>(
        std::floor(time / static_cast<double>(series.step.count()) + 1e-9));
  };
  series.first_slot = slot_of(rows.front().time);
  const std::int64_t count = slot_of(rows.back().time) - series.first_slot + 1;
  if (count > static_cast<std::int64_t>(steps_max))
    return std::unexpected(
        fmt::format("{}: {} steps of {} from its first row to its last: more "
                    "than {}",
                    series.what, count, conf::print_duration(series.step), steps_max));
  series.values.assign(static_cast<std::size_t>(count), is_sum ? 0 : missing);
  std::vector<std::uint32_t> rows_in(static_cast<std::size_t>(count));
  for (const Row& row : rows) {
    if (std::isnan(row.value)) continue;
    const auto index = static_cast<std::size_t>(slot_of(row.time) - series.first_slot);
    double& value = series.values[index];
    if (is_sum || rows_in[index] == 0)
      value = (is_sum ? value : 0) + row.value;
    else
      value += (row.value - value) / (rows_in[index] + 1);
    ++rows_in[index];
  }
  return {};
}

}  // namespace

std::size_t Series::missing() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(values, [](double value) { return std::isnan(value); }));
}

std::expected<Series, std::string> read_series(const conf::ForecastOptions& options) {
  Series series;
  auto rows = read_rows(options, series);
  if (!rows) return std::unexpected(rows.error());
  if (!std::ranges::is_sorted(*rows, {}, &Row::time)) {
    std::ranges::sort(*rows, {}, &Row::time);
    series.remarks.emplace_back("rows that were out of order were put into it");
  }
  std::chrono::seconds found = options.arrivals ? std::chrono::seconds(60) : step_of(*rows);
  const auto steps = [&] { return options.step.value_or(found); };
  if (steps() == std::chrono::seconds(0))
    return std::unexpected(
        fmt::format("{}: no step is found: less than half of the rows are equally far apart. "
                    "--step 10m makes steps of them (means of values), --arrivals counts rows",
                    series.what));
  if (steps() > std::chrono::seconds(3'600))
    return std::unexpected(fmt::format("{}: its rows are {} apart: a step is an hour at most",
                                       series.what, conf::print_duration(found)));
  if (steps() < std::chrono::seconds(60)) {
    series.remarks.push_back(fmt::format("rows are {} apart: means of a minute are made of them",
                                         conf::print_duration(found)));
    found = std::chrono::seconds(60);
  }
  series.step = steps();
  std::size_t same = 0;
  for (std::size_t i = 1; i < rows->size(); ++i) same += (*rows)[i].time == (*rows)[i - 1].time;
  if (same > 0 && !options.arrivals)
    series.remarks.push_back(fmt::format("{} row{} had the time of the one before: the mean counts",
                                         same, same == 1 ? "" : "s"));
  if (auto filled = fill(series, *rows, options.arrivals); !filled)
    return std::unexpected(filled.error());
  if (const std::size_t gaps = series.missing(); gaps == series.values.size())
    return std::unexpected(fmt::format("{}: no row has a value", series.what));
  else if (gaps > 0)
    series.remarks.push_back(fmt::format("{} of {} steps are missing", gaps, series.values.size()));
  return series;
}

std::expected<Series, std::string> read_demand(const conf::CommandLine& command,
                                               const Environment& environment) {
  const auto conf = read_conf(command, environment);
  if (!conf) return std::unexpected(conf.error());
  conf::PlanningOptions asked = command.planning;
  asked.upstream = "1ms";  // what the service took is no part of demand
  const auto scenario = Scenario::open(asked);
  if (!scenario) return std::unexpected(scenario.error());
  auto traffic = scenario->traffic(conf->settings);
  if (!traffic) return std::unexpected(traffic.error());
  Series series;
  series.what = conf::printable(scenario->describe());
  const auto began = (*traffic)->began();
  const double begin = began ? std::chrono::duration<double>(began->time_since_epoch()).count() : 0;
  if (!began)
    series.remarks.emplace_back(
        "the log does not tell when it began: days and weeks are counted from its first request");
  series.step = command.forecast.step.value_or(std::chrono::seconds(60));
  const auto slot_of = [&](simulation::Time at) {
    const double time = begin + std::chrono::duration<double>(at.time_since_epoch()).count();
    return static_cast<std::int64_t>(std::floor(time / static_cast<double>(series.step.count())));
  };
  bool is_first = true;
  for (simulation::Wish wish; (*traffic)->next(wish);) {
    const std::int64_t slot = slot_of(wish.at);
    if (is_first) series.first_slot = slot;
    is_first = false;
    const auto index =
        static_cast<std::size_t>(std::max<std::int64_t>(slot - series.first_slot, 0));
    if (index >= steps_max)
      return std::unexpected(fmt::format("{}: more than {} steps", series.what, steps_max));
    if (index >= series.values.size()) series.values.resize(index + 1, 0);
    series.values[index] += wish.cost;
  }
  for (const std::string& remark : (*traffic)->remarks()) series.remarks.push_back(remark);
  if (const std::string complaint = (*traffic)->complaint(); !complaint.empty())
    return std::unexpected(complaint);
  if (is_first) return std::unexpected(fmt::format("{}: no request is in it", series.what));
  series.remarks.emplace_back(
      "an access log does not tell which requests are retries of refused ones: they count as "
      "demand too");
  // The first and the last minute are not whole.
  if (series.values.size() > 2) {
    series.values.erase(series.values.begin());
    series.values.pop_back();
    ++series.first_slot;
  }
  return series;
}

}  // namespace classgate::planning
