#include "conf/usage_options.h"

#include <array>
#include <charconv>
#include <utility>

#include "conf/format.h"
#include "conf/units.h"

namespace classgate::conf {
namespace {

constexpr std::array<std::pair<char, std::int64_t>, 6> usage_units{
    {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86'400}, {'w', 604'800}, {'y', 31'536'000}}};

// Takes so many digits from the front of a text.
std::optional<int> take_digits(std::string_view& text, std::size_t count) {
  if (text.size() < count) return std::nullopt;
  int number = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + count, number);
  if (error != std::errc{} || stop != text.data() + count || number < 0) return std::nullopt;
  text.remove_prefix(count);
  return number;
}

bool take_one_of(std::string_view& text, std::string_view characters) {
  if (text.empty() || !characters.contains(text.front())) return false;
  text.remove_prefix(1);
  return true;
}

std::optional<UsageTime> read_ago(std::string_view text) {
  std::int64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || end - stop != 1 || number < 0 || number > 1'000'000'000)
    return std::nullopt;
  for (const auto& [letter, length] : usage_units)
    if (*stop == letter && number <= 100 * usage_units.back().second / length)
      return UsageTime{.is_ago = true, .span = std::chrono::seconds(number * length)};
  return std::nullopt;
}

}  // namespace

std::optional<UsageTime> read_usage_time(std::string_view text) {
  if (auto ago = read_ago(text)) return ago;
  const auto year = take_digits(text, 4);
  if (!year || !take_one_of(text, "-")) return std::nullopt;
  const auto month = take_digits(text, 2);
  if (!month || !take_one_of(text, "-")) return std::nullopt;
  const auto day = take_digits(text, 2);
  const std::chrono::year_month_day date(std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(day.value_or(0))));
  if (!date.ok() || *year < 1970) return std::nullopt;
  std::chrono::seconds time = std::chrono::sys_days(date).time_since_epoch();
  if (text.empty()) return UsageTime{.is_ago = false, .span = time};
  if (!take_one_of(text, " T")) return std::nullopt;
  const auto hour = take_digits(text, 2);
  if (!hour || *hour > 23 || !take_one_of(text, ":")) return std::nullopt;
  const auto minute = take_digits(text, 2);
  if (!minute || *minute > 59) return std::nullopt;
  time += std::chrono::hours(*hour) + std::chrono::minutes(*minute);
  if (take_one_of(text, ":")) {
    const auto second = take_digits(text, 2);
    if (!second || *second > 59) return std::nullopt;
    time += std::chrono::seconds(*second);
  }
  if (!text.empty()) return std::nullopt;
  return UsageTime{.is_ago = false, .span = time};
}

std::int64_t UsageTime::at(std::int64_t now, const TimeZone& zone) const {
  if (is_ago) return now - span.count();
  // What the clock is ahead depends on the time, which depends on what it is ahead: the offset of a
  // first guess is that of the time itself, but within hours of a change.
  const std::chrono::sys_seconds as_utc(span);
  const auto guess = as_utc - zone.offset_at(as_utc);
  return (as_utc - zone.offset_at(guess)).time_since_epoch().count();
}

namespace {

// The first mistake stands.
class UsageReader {
 public:
  explicit UsageReader(const GivenOptions& given) : given_(given) {}
  std::string one(const char* name) {
    const auto value = given_.one(name);
    if (!value) note(value.error());
    return value.value_or("");
  }
  void time(const char* name, UsageTime& into) {
    if (!given_.has(name)) return;
    const std::string text = one(name);
    if (const auto read = read_usage_time(text))
      into = *read;
    else
      note(
          fmt::format("--{}: {} is neither a time ago, such as 90m, 24h, 7d or 1y, nor a date, "
                      "such as 2026-11-28 or \"2026-11-28 09:30\"",
                      name, quote(text)));
  }
  template <std::size_t Count>
  void word(const char* name, const std::array<std::string_view, Count>& words, std::string& into) {
    if (!given_.has(name)) return;
    into = one(name);
    std::string known;
    for (const std::string_view each : words) {
      if (into == each) return;
      known += fmt::format("{}{}",
                           known.empty()          ? ""
                           : each == words.back() ? " and "
                                                  : ", ",
                           each);
    }
    note(fmt::format("--{}: {} is none of {}", name, quote(into), known));
  }
  void note(std::string text) {
    if (mistake_.empty()) mistake_ = std::move(text);
  }
  const std::string& mistake() const { return mistake_; }

 private:
  const GivenOptions& given_;
  std::string mistake_;
};

}  // namespace

std::expected<UsageOptions, std::string> read_usage(const GivenOptions& given) {
  constexpr std::array<std::string_view, 6> by_words{"client", "plan",   "route",
                                                     "reason", "status", "priority"};
  constexpr std::array<std::string_view, 3> order_words{"requests", "cost", "refused"};
  using Question = UsageOptions::Question;
  using Form = UsageOptions::Form;
  UsageReader reader(given);
  UsageOptions options;
  reader.word("by", by_words, options.by);
  reader.word("order", order_words, options.order);
  reader.time("since", options.since);
  reader.time("until", options.until);
  options.client = reader.one("client");
  options.file = reader.one("file");
  if (given.has("time-zone")) options.time_zone = reader.one("time-zone");
  if (given.has("top")) {
    const std::string text = reader.one("top");
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, options.top);
    if (error != std::errc{} || stop != end || options.top < 1 || options.top > usage_top_max)
      reader.note(fmt::format("--top: {} is not 1 to {}", quote(text), usage_top_max));
  }
  if (given.has("client") && options.client.empty())
    reader.note("--client: give the client as `classgate usage` names it, such as c_4f7a91c2");
  if (given.has("sessions"))
    options.question = Question::sessions;
  else if (given.has("client"))
    options.question = Question::client;
  for (const char* const name : {"by", "order"})
    if (given.has(name) && options.question != Question::table)
      reader.note(fmt::format("--{} belongs to the table of all: not with --{}", name,
                              given.has("sessions") ? "sessions" : "client"));
  if (given.has("order") && options.by == "reason")
    reader.note("--order: reasons are ordered by how often each was one");
  if (given.has("json") && given.has("csv"))
    reader.note("--json and --csv are two forms: ask for one");
  if (given.has("json") && reader.one("json") != "-")
    reader.note("--json goes to standard output here: write --json > FILE");
  if (given.has("json")) options.form = Form::json;
  if (given.has("csv")) options.form = Form::csv;
  if (!reader.mistake().empty()) return std::unexpected(reader.mistake());
  return options;
}

}  // namespace classgate::conf
