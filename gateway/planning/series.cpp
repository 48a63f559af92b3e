#include "gateway/planning/series.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "conf/format.h"
#include "conf/printable.h"
#include "conf/units.h"
#include "gateway/planning/csv_row.h"
#include "gateway/planning/line_file.h"

namespace classgate::planning {
namespace {

constexpr double missing = std::numeric_limits<double>::quiet_NaN();
constexpr std::size_t rows_max = 5'000'000;

struct Row {
  double time = 0;  // seconds
  double value = 0;
};

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
  if ((text[0] != '+' && text[0] != '-') || !zone_hour || !zone_minute || text.size() > 6 ||
      (text.size() == 6 && text[3] != ':'))
    return std::nullopt;
  const int offset = *zone_hour * 3'600 + *zone_minute * 60;
  return text[0] == '+' ? time - offset : time + offset;
}

// What a time is written in. A number tells by its size: in seconds the times since 1973 have less
// than 12 digits, in thousandths of them 12 to 14, and so on.
struct TimeUnit {
  std::string_view name;
  double below;       // numbers of this unit are
  double per_second;  // 0: no number
};
constexpr std::array time_units{TimeUnit{"seconds", 1e11, 1}, TimeUnit{"milliseconds", 1e14, 1e3},
                                TimeUnit{"microseconds", 1e17, 1e6},
                                TimeUnit{"nanoseconds", 1e19, 1e9}};
constexpr TimeUnit calendar_dates{"dates", 0, 0};

struct Written {
  double time = 0;  // seconds
  const TimeUnit* unit = nullptr;
};

std::optional<Written> read_time(std::string_view text) {
  constexpr double year_9999 = 253'402'300'800;
  Written written;
  if (const auto value = number(text)) {
    const auto* const unit =
        std::ranges::find_if(time_units, [&](const TimeUnit& one) { return *value < one.below; });
    if (!std::isfinite(*value) || unit == time_units.end()) return std::nullopt;
    written = {*value / unit->per_second, unit};
  } else if (const auto date = calendar_time(text)) {
    written = {*date, &calendar_dates};
  } else {
    return std::nullopt;
  }
  if (written.time < 0 || written.time >= year_9999) return std::nullopt;
  return written;
}

bool is_missing(std::string_view text) {
  constexpr std::array<std::string_view, 6> words{"", "nan", "null", "na", "n/a", "none"};
  const auto small = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::ranges::any_of(
      words, [&](std::string_view word) { return std::ranges::equal(text, word, {}, small); });
}

std::expected<double, std::string> read_value(std::string_view text) {
  if (is_missing(text)) return missing;
  const auto quoted = [&] { return conf::quote(std::string(text)); };
  const auto value = number(text);
  if (!value || !std::isfinite(*value) || *value > 1e15)
    return std::unexpected(fmt::format("{} is no number{}{}", quoted(),
                                       text.contains(',') ? ": " : "",
                                       text.contains(',') ? no_comma_in_numbers : ""));
  if (*value < 0)
    return std::unexpected(fmt::format("{} is below 0: a load is 0 or more", quoted()));
  return *value;
}

// Reads the rows of one file: its first lines say how all of them are written.
class RowReader {
 public:
  // `wanted`: the name of the column with the values; empty: the second.
  RowReader(LineFile& lines, bool are_arrivals, std::string wanted)
      : lines_(lines), are_arrivals_(are_arrivals), wanted_(std::move(wanted)) {}

  std::expected<std::vector<Row>, std::string> read(const std::string& name);
  // The column of the values as the header has it; empty: there is no header.
  const std::string& column() const { return column_; }
  // Of the times; null: there was no row.
  const TimeUnit* unit() const { return unit_; }

 private:
  struct Line {
    std::uint64_t number;
    std::string text;
  };
  static constexpr std::size_t judged_by = 20;  // lines

  static bool is_content(std::string_view line) {
    return line.find_first_not_of(" \t\r,;") != std::string_view::npos && !line.starts_with('#');
  }
  void look_at(const std::vector<Line>& first);
  std::expected<void, std::string> find_column(const CsvRow& header);
  bool is_header(const CsvRow& row) const;
  std::expected<void, std::string> take(std::string_view line, std::uint64_t line_number);

  LineFile& lines_;
  const bool are_arrivals_;
  const std::string wanted_;
  std::size_t value_at_ = 1;  // the field of the value
  // That of how many seconds of the minute were counted, in a gateway's own file of demand, which
  // may end with a part of one; 0: it is none.
  std::size_t seconds_at_ = 0;
  char separator_ = ',';
  std::size_t fields_ = 0;  // of every row; 0: none has been read
  std::string column_;
  const TimeUnit* unit_ = nullptr;
  std::uint64_t unit_line_ = 0;
  std::vector<Row> rows_;
};

// Whichever makes most of the first lines readable.
void RowReader::look_at(const std::vector<Line>& first) {
  std::size_t best = 0;
  for (const char separator : csv_separators) {
    std::size_t good = 0;
    for (const Line& line : first) {
      const auto row = read_csv_row(line.text, separator);
      if (!row || row->count < 2) continue;
      good += 1;
      if (!read_time(row->fields[0])) continue;
      good += read_value(row->fields[1]) ? 2 * judged_by : judged_by;
    }
    if (good <= best) continue;
    best = good;
    separator_ = separator;
  }
}

// Names, and not a row with a mistake in it.
bool RowReader::is_header(const CsvRow& row) const {
  const std::string_view first = row.fields[0];
  constexpr std::string_view of_numbers = "0123456789+-.";
  if (first.empty() || of_numbers.contains(first.front())) return false;
  return are_arrivals_ || row.count < 2 || row.fields[1].empty() || !read_value(row.fields[1]);
}

std::expected<void, std::string> RowReader::find_column(const CsvRow& header) {
  const auto names = std::span(header.fields).first(std::min(header.count, header.fields.size()));
  if (!wanted_.empty()) {
    value_at_ = 0;
    for (std::size_t i = 1; i < names.size(); ++i)
      if (names[i] == wanted_) value_at_ = i;
    if (value_at_ == 0)
      return std::unexpected(
          fmt::format("--of: no column behind the time is called {}", conf::quote(wanted_)));
  }
  if (names.size() > 7 && names[2] == "priority_1" && names[7] == "seconds") seconds_at_ = 7;
  if (!are_arrivals_ && names.size() > value_at_)
    column_ = conf::printable(std::string(names[value_at_]));
  return {};
}

std::expected<void, std::string> RowReader::take(std::string_view line, std::uint64_t line_number) {
  const auto row = read_csv_row(line, separator_);
  if (!row) return std::unexpected(row.error());
  const bool is_first = fields_ == 0;
  if (is_first) fields_ = row->count;
  if (is_first && is_header(*row)) {
    return find_column(*row);
  }
  if (is_first && !wanted_.empty())
    return std::unexpected(
        fmt::format("--of: there is no header that would name a column {}", conf::quote(wanted_)));
  if (row->count < 2 && !are_arrivals_)
    return std::unexpected(std::string("there is no value behind the time"));
  const auto time = read_time(row->fields[0]);
  if (!time)
    return std::unexpected(fmt::format("{} is no time", conf::quote(std::string(row->fields[0]))));
  if (row->count != fields_)
    return std::unexpected(
        fmt::format("{} fields, and {} in the first row, where {} separates them{}{}", row->count,
                    fields_, csv_separator_name(separator_), separator_ == ',' ? ": " : "",
                    separator_ == ',' ? no_comma_in_numbers : ""));
  if (unit_ == nullptr) {
    unit_ = time->unit;
    unit_line_ = line_number;
  } else if (unit_ != time->unit) {
    return std::unexpected(fmt::format("{} is taken for {}, and the times since line {} are {}",
                                       conf::quote(std::string(row->fields[0])), time->unit->name,
                                       unit_line_, unit_->name));
  }
  if (seconds_at_ > 0 && number(row->fields[seconds_at_]).value_or(60) < 60) return {};
  const auto value =
      are_arrivals_ ? std::expected<double, std::string>(1) : read_value(row->fields[value_at_]);
  if (!value) return std::unexpected(value.error());
  if (rows_.size() == rows_max) return std::unexpected(fmt::format("more than {} rows", rows_max));
  rows_.push_back({time->time, *value});
  return {};
}

std::expected<std::vector<Row>, std::string> RowReader::read(const std::string& name) {
  std::vector<Line> first;
  std::string_view line;
  while (first.size() < judged_by && lines_.next(line)) {
    if (line.starts_with("\xff\xfe") || line.starts_with("\xfe\xff") || line.contains('\0'))
      return std::unexpected(fmt::format("{}:{}: this is no UTF-8 text", name, lines_.number()));
    if (is_content(line)) first.push_back({lines_.number(), std::string(line)});
  }
  look_at(first);
  const auto placed = [&](std::uint64_t at, const std::string& error) {
    return std::unexpected(fmt::format("{}:{}: {}", name, at, error));
  };
  for (const Line& each : first)
    if (const auto taken = take(each.text, each.number); !taken)
      return placed(each.number, taken.error());
  while (lines_.next(line))
    if (is_content(line))
      if (const auto taken = take(line, lines_.number()); !taken)
        return placed(lines_.number(), taken.error());
  return std::move(rows_);
}

std::expected<std::vector<Row>, std::string> read_rows(const conf::ForecastOptions& options,
                                                       Series& series) {
  const auto file = LogFile::open(options.series);
  if (!file) return std::unexpected(file.error());
  auto lines = LineFile::open(*file);
  if (!lines) return std::unexpected(lines.error());
  const std::string name = conf::printable((*file)->name());
  RowReader reader(*lines, options.arrivals, options.of);
  auto rows = reader.read(name);
  if (!rows) return rows;
  if (!lines->error().empty()) return std::unexpected(fmt::format("{}: {}", name, lines->error()));
  if (rows->empty())
    return std::unexpected(
        fmt::format("{}: no row with a time and a value: nothing can be forecast", name));
  series.what = reader.column().empty() ? name : fmt::format("{}, {}", name, reader.column());
  if (reader.unit()->per_second > 1)
    series.remarks.push_back(fmt::format("its times are {}", reader.unit()->name));
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

bool is_part_of_a_day(std::chrono::seconds step) {
  return std::chrono::days(1) % step == step.zero();
}

// Rows into steps: the mean of those of one, or how many there are.
std::expected<void, std::string> fill(Series& series, const std::vector<Row>& rows, bool is_sum) {
  const auto slot_of = [&](double time) {
    return static_cast<std::int64_t>(
        std::floor(time / static_cast<double>(series.step.count()) + 1e-9));
  };
  series.first_slot = slot_of(rows.front().time);
  const std::int64_t count = slot_of(rows.back().time) - series.first_slot + 1;
  if (count > static_cast<std::int64_t>(series_steps_max))
    return std::unexpected(
        fmt::format("{}: {} steps of {} from its first row to its last: more "
                    "than {}",
                    series.what, count, conf::print_duration(series.step), series_steps_max));
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
  std::size_t back = 0;
  for (std::size_t i = 1; i < rows->size(); ++i) back += (*rows)[i].time < (*rows)[i - 1].time;
  if (back > 0) {
    std::ranges::sort(*rows, {}, &Row::time);
    series.remarks.push_back(fmt::format(
        "{} row{} came before the one above: all were put in order", back, back == 1 ? "" : "s"));
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
  if (!is_part_of_a_day(steps())) {
    std::chrono::seconds next = steps();
    while (!is_part_of_a_day(next)) next += std::chrono::seconds(60 - next.count() % 60);
    if (options.step)
      return std::unexpected(
          fmt::format("--step: {} is no part of a day, by which yesterday is found: {} is one",
                      conf::print_duration(*options.step), conf::print_duration(next)));
    series.remarks.push_back(
        fmt::format("rows are {} apart, which is no part of a day: means of {} are made of them",
                    conf::print_duration(found), conf::print_duration(next)));
    found = next;
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

}  // namespace classgate::planning
