#include "admission/history/demand.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

#include "conf/format.h"

namespace classgate::history {
namespace {

constexpr std::string_view demand_header =
    "time,all,priority_1,priority_2,priority_3,priority_4,priority_5,seconds";
constexpr double asked_most = 1e12;  // of a minute that is believed

std::string row_of(const DemandMinute& minute) {
  return fmt::format("{},{:.7g},{:.7g},{:.7g},{:.7g},{:.7g},{:.7g},{:.3g}\n", minute.minute * 60,
                     sum(minute.asked), minute.asked[0], minute.asked[1], minute.asked[2],
                     minute.asked[3], minute.asked[4], minute.seconds);
}

// What stands before the next comma; none: no such number.
std::optional<double> next_number(std::string_view& row) {
  const std::size_t comma = std::min(row.find(','), row.size());
  double value = 0;
  const auto [stop, error] = std::from_chars(row.data(), row.data() + comma, value);
  if (error != std::errc{} || stop != row.data() + comma || !(value >= 0 && value <= asked_most))
    return std::nullopt;
  row.remove_prefix(std::min(comma + 1, row.size()));
  return value;
}

// The error says what is wrong with the row.
std::expected<DemandMinute, std::string> read_row(std::string_view row) {
  if (std::ranges::count(row, ',') != 7) return std::unexpected(std::string("not eight columns"));
  std::array<double, 8> columns{};
  for (double& column : columns) {
    const auto number = next_number(row);
    if (!number) return std::unexpected(std::string("a column is no number, 0 or more"));
    column = *number;
  }
  DemandMinute minute{.minute = static_cast<Slot>(columns[0]) / 60,
                      .seconds = static_cast<float>(columns[7])};
  if (static_cast<double>(minute.minute) * 60 != columns[0])
    return std::unexpected(std::string("the time is no whole minute"));
  if (columns[7] > 60) return std::unexpected(std::string("a minute has 60 seconds"));
  for (std::size_t i = 0; i < minute.asked.size(); ++i)
    minute.asked[i] = static_cast<float>(columns[2 + i]);
  if (std::abs(sum(minute.asked) - columns[1]) > 1e-5 * columns[1] + 1e-3)
    return std::unexpected(std::string("the priorities are not what all are"));
  return minute;
}

}  // namespace

double sum(const Asked& asked) { return std::accumulate(asked.begin(), asked.end(), 0.0); }

DemandRecord::Day::Day() {
  for (Asked& minute : minutes) minute.fill(unknown);
}

bool DemandRecord::add(Slot minute, const Asked& asked) {
  if (minute < 0 || (!is_empty() && minute <= last_)) return false;
  if (is_empty()) first_ = minute;
  last_ = minute;
  ++known_;
  forget_before(minute - kept + 1);
  auto& in_day = days_[minute / day];
  if (!in_day) in_day = std::make_unique<Day>();
  in_day->minutes[static_cast<std::size_t>(minute % day)] = asked;
  return true;
}

// Whole days; at() does not tell of what is older than two weeks.
void DemandRecord::forget_before(Slot minute) {
  while (!days_.empty() && days_.begin()->first < minute / day) {
    for (const Asked& asked : days_.begin()->second->minutes)
      if (!std::isnan(asked[0])) --known_;
    days_.erase(days_.begin());
  }
  first_ = std::max(first_, minute);
}

std::optional<Asked> DemandRecord::at(Slot minute) const {
  if (is_empty() || minute < first_ || minute > last_) return std::nullopt;
  const auto in_day = days_.find(minute / day);
  if (in_day == days_.end()) return std::nullopt;
  const Asked& asked = in_day->second->minutes[static_cast<std::size_t>(minute % day)];
  if (std::isnan(asked[0])) return std::nullopt;
  return asked;
}

// ---- Minutes -----------------------------------------------------------------------------------

void MinuteSampler::begin(const Totals& totals, Time now) {
  totals_ = totals;
  since_ = now;
  part_ = {.seconds = 0};
}

void MinuteSampler::add_part(const DemandMinute& part) {
  if (part.minute != std::chrono::floor<std::chrono::minutes>(since_).time_since_epoch().count())
    return;
  for (std::size_t i = 0; i < part_.asked.size(); ++i) part_.asked[i] += part.asked[i];
  part_.seconds += part.seconds;
}

DemandMinute MinuteSampler::so_far(const Totals& totals, Time now) const {
  const std::chrono::duration<float> counted = now - since_;
  // By the middle of what was counted: the clock is read shortly after the turn of a minute.
  const auto middle = since_ + (now - since_) / 2;
  DemandMinute minute{
      .minute = std::chrono::floor<std::chrono::minutes>(middle).time_since_epoch().count(),
      .asked = part_.asked,
      .seconds = part_.seconds + counted.count()};
  for (std::size_t i = 0; i < totals.size(); ++i)
    minute.asked[i] += static_cast<float>(std::max(totals[i] - totals_[i], 0.0));
  return minute;
}

std::optional<DemandMinute> MinuteSampler::read(const Totals& totals, Time now) {
  DemandMinute minute = so_far(totals, now);
  begin(totals, now);
  if (!(minute.seconds >= seconds_least && minute.seconds <= seconds_most)) return std::nullopt;
  for (float& asked : minute.asked) asked *= 60 / minute.seconds;
  minute.seconds = 60;
  return minute;
}

// ---- Text --------------------------------------------------------------------------------------

std::string demand_text(const DemandRecord& record, const std::optional<DemandMinute>& part) {
  std::string text = std::string(demand_header) + "\n";
  for (Slot minute = record.first(); !record.is_empty() && minute <= record.last(); ++minute)
    if (const auto asked = record.at(minute)) text += row_of({.minute = minute, .asked = *asked});
  if (part && part->seconds > 0 && (record.is_empty() || part->minute > record.last())) {
    DemandMinute last = *part;
    last.seconds = std::min(last.seconds, 59.9F);
    text += row_of(last);
  }
  return text;
}

std::expected<DemandRead, std::string> read_demand_text(std::string_view text, Slot now) {
  const auto wrong = [](std::size_t line, std::string_view why) {
    return std::unexpected(fmt::format("line {}: {}", line, why));
  };
  if (text.size() > demand_text_max)
    return std::unexpected(fmt::format("more than {} bytes", demand_text_max));
  if (!text.ends_with('\n')) return std::unexpected(std::string("it breaks off"));
  DemandRead read;
  for (std::size_t line = 1; !text.empty(); ++line) {
    const std::size_t end = text.find('\n');
    const std::string_view row = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (line == 1) {
      if (row != demand_header) return wrong(line, "not the header of demand");
      continue;
    }
    const auto minute = read_row(row);
    if (!minute) return wrong(line, minute.error());
    if (read.part) return wrong(line, "goes on behind a part of a minute");
    if (minute->minute > now) {
      ++read.later;
      continue;
    }
    if (!read.record.is_empty() && minute->minute <= read.record.last())
      return wrong(line, "not later than the one before");
    if (minute->seconds < 60)
      read.part = *minute;
    else
      read.record.add(minute->minute, minute->asked);
  }
  return read;
}

}  // namespace classgate::history
