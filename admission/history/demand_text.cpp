#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "admission/history/demand.h"
#include "conf/format.h"

namespace classgate::history {
namespace {

constexpr std::string_view demand_header =
    "time,all,priority_1,priority_2,priority_3,priority_4,priority_5,seconds";
constexpr std::string_view plan_prefix = "plan_";
constexpr double asked_most = 1e12;  // of a minute that is believed
constexpr std::size_t columns_without_plans = 8;

// In a header: what a file of columns, whatever separates them, can have in a name.
bool stands_for_itself(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' ||
         c == '_' || c == '.' || c == '(' || c == ')' || static_cast<unsigned char>(c) >= 0x80;
}
std::string plan_column(std::string_view plan) {
  std::string column(plan_prefix);
  for (const char c : plan)
    if (stands_for_itself(c))
      column += c;
    else
      column += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  return column;
}
// Empty: it is no name of such a column.
std::string plan_of_column(std::string_view column) {
  if (!column.starts_with(plan_prefix)) return {};
  column.remove_prefix(plan_prefix.size());
  std::string plan;
  for (; !column.empty(); column.remove_prefix(1)) {
    if (column.front() != '%') {
      plan += column.front();
      continue;
    }
    unsigned value = 0;
    if (column.size() < 3) return {};
    const auto [stop, error] = std::from_chars(column.data() + 1, column.data() + 3, value, 16);
    if (error != std::errc{} || stop != column.data() + 3) return {};
    plan += static_cast<char>(value);
    column.remove_prefix(2);
  }
  return plan;
}

// The plans of the columns, in their order; none: it is no header.
std::optional<std::vector<std::string>> read_demand_header(std::string_view row) {
  if (!row.starts_with(demand_header)) return std::nullopt;
  row.remove_prefix(demand_header.size());
  std::vector<std::string> plans;
  while (!row.empty()) {
    if (row.front() != ',' || plans.size() == PlanRecord::places) return std::nullopt;
    row.remove_prefix(1);
    const std::size_t end = std::min(row.find(','), row.size());
    std::string plan = plan_of_column(row.substr(0, end));
    if (plan.empty() || std::ranges::find(plans, plan) != plans.end()) return std::nullopt;
    plans.push_back(std::move(plan));
    row.remove_prefix(end);
  }
  return plans;
}

std::string row_of(const DemandMinute& minute, const std::vector<std::string>& plans) {
  std::string row =
      fmt::format("{},{:.7g},{:.7g},{:.7g},{:.7g},{:.7g},{:.7g},{:.3g}", minute.minute * 60,
                  sum(minute.asked), minute.asked[0], minute.asked[1], minute.asked[2],
                  minute.asked[3], minute.asked[4], minute.seconds);
  for (const std::string& plan : plans) {
    const auto asked = minute.plans.find(plan);
    row += fmt::format(",{:.7g}", asked == minute.plans.end() ? 0 : asked->second);
  }
  return row + "\n";
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
std::expected<DemandMinute, std::string> read_row(std::string_view row,
                                                  const std::vector<std::string>& plans) {
  const auto separators = static_cast<std::size_t>(std::ranges::count(row, ','));
  if (separators != columns_without_plans + plans.size() - 1)
    return std::unexpected(fmt::format("not {} columns", columns_without_plans + plans.size()));
  std::array<double, columns_without_plans + PlanRecord::places> columns{};
  for (double& column : std::span(columns).first(columns_without_plans + plans.size())) {
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
  double of_plans = 0;
  for (std::size_t i = 0; i < plans.size(); ++i) {
    const double asked = columns[columns_without_plans + i];
    of_plans += asked;
    if (asked > 0) minute.plans.emplace(plans[i], static_cast<float>(asked));
  }
  if (of_plans > (1 + 1e-5) * columns[1] + 1e-3)
    return std::unexpected(std::string("the plans are more than all are"));
  return minute;
}

}  // namespace

std::string demand_text(const DemandRecord& record, const PlanRecord& plans,
                        const std::optional<DemandMinute>& part) {
  const PlanAsked of_part = part ? plans.folded(part->plans) : PlanAsked();
  std::vector<std::string> names;
  for (std::size_t i = 0; i < PlanRecord::places; ++i)
    if (!plans.name(i).empty()) names.push_back(plans.name(i));
  for (const auto& [name, cost] : of_part)
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  std::string text(demand_header);
  for (const std::string& name : names) text += "," + plan_column(name);
  text += "\n";
  for (Slot minute = record.first(); !record.is_empty() && minute <= record.last(); ++minute)
    if (const auto asked = record.at(minute))
      text += row_of({.minute = minute, .asked = *asked, .plans = plans.of(minute)}, names);
  if (part && part->seconds > 0 && (record.is_empty() || part->minute > record.last())) {
    DemandMinute last = *part;
    last.seconds = std::min(last.seconds, 59.9F);
    last.plans = of_part;
    text += row_of(last, names);
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
  std::vector<std::string> plans;
  for (std::size_t line = 1; !text.empty(); ++line) {
    const std::size_t end = text.find('\n');
    const std::string_view row = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (line == 1) {
      auto header = read_demand_header(row);
      if (!header) return wrong(line, "not the header of demand");
      plans = std::move(*header);
      continue;
    }
    const auto minute = read_row(row, plans);
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
    else if (read.record.add(minute->minute, minute->asked))
      read.plans.add(minute->minute, minute->plans);
  }
  return read;
}

}  // namespace classgate::history
