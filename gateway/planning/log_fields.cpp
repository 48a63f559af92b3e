#include "gateway/planning/log_fields.h"

#include <algorithm>
#include <array>
#include <chrono>

#include "conf/format.h"
#include "conf/printable.h"
#include "proxy/wire/path.h"

namespace classgate::planning {
namespace {

using std::chrono::nanoseconds;

constexpr std::int64_t second_ns = 1'000'000'000;

// Takes digits from the beginning of `text`: exactly so many.
std::optional<int> take_digits(std::string_view& text, std::size_t count) {
  if (text.size() < count) return std::nullopt;
  int value = 0;
  for (const char c : text.substr(0, count)) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  text.remove_prefix(count);
  return value;
}

bool take(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

// ".123" to the nanosecond, or nothing.
std::int64_t take_fraction(std::string_view& text) {
  if (!text.starts_with('.') && !text.starts_with(',')) return 0;
  text.remove_prefix(1);
  std::int64_t value = 0, unit = second_ns;
  while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
    unit /= 10;
    value += (text.front() - '0') * unit;
    text.remove_prefix(1);
  }
  return value;
}

// "Z", "+01:00", "-0230", or nothing: what has to be taken from the time that stands before it.
std::optional<std::int64_t> zone_of(std::string_view text) {
  while (take(text, ' ')) {
  }
  if (text.empty() || text == "Z") return 0;
  const int sign = text.front() == '-' ? -1 : 1;
  if (text.front() != '+' && text.front() != '-') return std::nullopt;
  text.remove_prefix(1);
  const auto hours = take_digits(text, 2);
  take(text, ':');
  const auto minutes = take_digits(text, 2);
  if (!hours || !minutes || !text.empty() || *hours > 23 || *minutes > 59) return std::nullopt;
  return sign * (*hours * 3600 + *minutes * 60) * second_ns;
}

struct Clock {
  std::optional<int> year, month, day, hour, minute, second;
};

std::optional<std::int64_t> since_1970(const Clock& clock) {
  if (!clock.year || !clock.month || !clock.day || !clock.hour || !clock.minute || !clock.second)
    return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(*clock.year),
                                         std::chrono::month(static_cast<unsigned>(*clock.month)),
                                         std::chrono::day(static_cast<unsigned>(*clock.day))};
  if (!date.ok() || *clock.hour > 23 || *clock.minute > 59 || *clock.second > 60 ||
      *clock.year <= AccessEntry::year_first || *clock.year >= AccessEntry::year_last)
    return std::nullopt;
  return nanoseconds(std::chrono::sys_days(date).time_since_epoch() +
                     std::chrono::hours(*clock.hour) + std::chrono::minutes(*clock.minute) +
                     std::chrono::seconds(*clock.second))
      .count();
}

}  // namespace

bool Cursor::skip(std::string_view text) {
  if (!rest_.starts_with(text)) return false;
  rest_.remove_prefix(text.size());
  return true;
}

void Cursor::skip_spaces() {
  rest_.remove_prefix(std::min(rest_.find_first_not_of(' '), rest_.size()));
}

std::string_view Cursor::word() {
  const std::size_t end = std::min(rest_.find(' '), rest_.size());
  const std::string_view word = rest_.substr(0, end);
  rest_.remove_prefix(std::min(end + 1, rest_.size()));
  return word;
}

std::optional<std::string_view> Cursor::between(char open, char close) {
  if (!rest_.starts_with(open)) return std::nullopt;
  const std::size_t end = rest_.find(close, 1);
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view inside = rest_.substr(1, end - 1);
  rest_.remove_prefix(end + 1);
  return inside;
}

std::optional<std::string_view> Cursor::quoted() {
  if (!rest_.starts_with('"')) return std::nullopt;
  std::size_t end = 1;
  while (end < rest_.size() && rest_[end] != '"') end += rest_[end] == '\\' ? 2 : 1;
  if (end >= rest_.size()) return std::nullopt;
  const std::string_view inside = rest_.substr(1, end - 1);
  rest_.remove_prefix(end + 1);
  return inside;
}

std::optional<std::uint64_t> number_of(std::string_view text, std::uint64_t most) {
  if (text.empty()) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<std::uint64_t>(c - '0');
    if (value > most) return std::nullopt;
  }
  return value;
}

std::optional<Duration> duration_of(std::string_view text, Duration unit) {
  const std::size_t point = std::min(text.find('.'), text.size());
  const auto most = static_cast<std::uint64_t>(AccessEntry::duration_max / unit);
  const auto whole = number_of(text.substr(0, point), most - 1);
  if (!whole) return std::nullopt;
  text.remove_prefix(point);
  const std::int64_t part = take_fraction(text);
  if (!text.empty()) return std::nullopt;
  return Duration(static_cast<std::int64_t>(*whole) * unit.count() +
                  part / (second_ns / unit.count()));
}

std::optional<Duration> sum_of_seconds(std::string_view text) {
  Duration sum{};
  bool has_one = false;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of(",: "), text.size());
    const std::string_view part = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (part.empty() || part == "-") continue;
    const auto took = duration_of(part, std::chrono::seconds(1));
    if (!took || (sum += *took) > AccessEntry::duration_max) return std::nullopt;
    has_one = true;
  }
  return has_one ? std::optional(sum) : std::nullopt;
}

std::optional<std::string> plain_number(std::string_view text) {
  constexpr int exponent_max = 30;
  const std::size_t e = std::min(text.find_first_of("eE"), text.size());
  std::string_view exponent_text = text.substr(std::min(e + 1, text.size()));
  const bool is_down = exponent_text.starts_with('-');
  if (is_down || exponent_text.starts_with('+')) exponent_text.remove_prefix(1);
  std::uint64_t exponent = 0;
  if (e < text.size()) {
    const auto number = number_of(exponent_text, exponent_max);
    if (!number) return std::nullopt;
    exponent = *number;
  }
  const std::string_view mantissa = text.substr(0, e);
  const std::size_t point = std::min(mantissa.find_first_of(".,"), mantissa.size());
  std::string digits(mantissa.substr(0, point));
  if (point < mantissa.size()) digits += mantissa.substr(point + 1);
  if (digits.empty() || digits.find_first_not_of("0123456789") != std::string::npos)
    return std::nullopt;
  auto at = static_cast<std::ptrdiff_t>(point) + (is_down ? -static_cast<std::ptrdiff_t>(exponent)
                                                          : static_cast<std::ptrdiff_t>(exponent));
  if (at <= 0) {
    digits.insert(0, static_cast<std::size_t>(1 - at), '0');
    at = 1;
  }
  if (at > static_cast<std::ptrdiff_t>(digits.size()))
    digits.append(static_cast<std::size_t>(at) - digits.size(), '0');
  const std::string behind = digits.substr(static_cast<std::size_t>(at));
  digits.resize(static_cast<std::size_t>(at));
  return behind.empty() ? digits : digits + "." + behind;
}

std::optional<int> status_of(std::string_view text) {
  const auto status = number_of(text, 999);
  if (!status) return std::nullopt;
  return static_cast<int>(*status);
}

std::optional<std::int64_t> epoch_of(std::string_view text) {
  constexpr std::uint64_t most = (AccessEntry::year_last - 1970) * 365ULL * 86'400;
  const std::size_t point = std::min(text.find('.'), text.size());
  const auto whole = number_of(text.substr(0, point), most);
  if (!whole) return std::nullopt;
  text.remove_prefix(point);
  const std::int64_t part = take_fraction(text);
  if (!text.empty()) return std::nullopt;
  return static_cast<std::int64_t>(*whole) * second_ns + part;
}

namespace {

// The time of the day, and the zone, that follow a day.
std::optional<std::int64_t> on_day(Clock clock, std::string_view text) {
  clock.hour = take_digits(text, 2);
  if (!take(text, ':')) return std::nullopt;
  clock.minute = take_digits(text, 2);
  if (!take(text, ':')) return std::nullopt;
  clock.second = take_digits(text, 2);
  const std::int64_t part = take_fraction(text);
  const auto whole = since_1970(clock);
  const auto zone = zone_of(text);
  if (!whole || !zone) return std::nullopt;
  return *whole + part - *zone;
}

}  // namespace

std::optional<std::int64_t> iso_time_of(std::string_view text) {
  Clock clock;
  clock.year = take_digits(text, 4);
  if (!take(text, '-')) return std::nullopt;
  clock.month = take_digits(text, 2);
  if (!take(text, '-')) return std::nullopt;
  clock.day = take_digits(text, 2);
  if (!take(text, 'T') && !take(text, ' ')) return std::nullopt;
  return on_day(clock, text);
}

std::optional<std::int64_t> clf_time_of(std::string_view text) {
  constexpr std::string_view months = "JanFebMarAprMayJunJulAugSepOctNovDec";
  Clock clock;
  clock.day = take_digits(text, 2);
  if (!take(text, '/') || text.size() < 4) return std::nullopt;
  const std::size_t month = months.find(text.substr(0, 3));
  if (month == std::string_view::npos || month % 3 != 0) return std::nullopt;
  clock.month = static_cast<int>(month / 3 + 1);
  text.remove_prefix(3);
  if (!take(text, '/')) return std::nullopt;
  clock.year = take_digits(text, 4);
  if (!take(text, ':')) return std::nullopt;
  return on_day(clock, text);
}

std::string_view target_of(std::string_view request) {
  const std::size_t method_end = request.find(' ');
  if (method_end == std::string_view::npos || method_end == 0) return {};
  const std::size_t version = request.rfind(" HTTP/");
  if (version == std::string_view::npos || version <= method_end) return {};
  return request.substr(method_end + 1, version - method_end - 1);
}

std::string_view method_of(std::string_view request) {
  return target_of(request).empty() ? std::string_view() : request.substr(0, request.find(' '));
}

namespace {

// Empty: it has none.
std::string_view normal_path_of(std::string_view target, std::string& into) {
  if (const std::size_t scheme = target.find("://");
      !target.starts_with('/') && scheme != std::string_view::npos)
    target = target.substr(std::min(target.find('/', scheme + 3), target.size()));
  const std::string_view path = target.substr(0, target.find_first_of("?#"));
  if (!path.empty() && proxy::wire::is_normal_path(path)) return path;
  if (!proxy::wire::normalise_path(path, into)) return {};
  return into;
}

}  // namespace

void take_path(AccessEntry& entry, std::string_view target, std::string& into) {
  entry.path = normal_path_of(target, into);
  if (!entry.path.empty()) return;
  entry.path = "/";
  is_no_work(entry);
}

void judge(AccessEntry& entry, int status, Answerer answerer) {
  entry.status = status;
  entry.verdict = "admitted";
  entry.reason = "-";
  if (status == 499) return was_left(entry);
  if (answerer == Answerer::service) return;
  if (status == 502) {
    entry.reason = "upstream_broken";
  } else if (status == 504) {
    entry.reason = "upstream_timeout";
  } else if (status == 429 || status == 503) {  // by whatever limit
    entry.verdict = "rejected";
    entry.reason = "shed";
  } else if (answerer == Answerer::proxy) {
    is_no_work(entry);
  }
}

void was_left(AccessEntry& entry) {
  entry.verdict = "abandoned";
  entry.reason = "-";
}

void is_no_work(AccessEntry& entry) {
  entry.verdict = "operator";
  entry.reason = "-";
}

std::string shown(std::string_view text) {
  constexpr std::size_t most = 60;
  return conf::printable(text.substr(0, most)) + (text.size() > most ? "..." : "");
}

std::unexpected<std::string> is_not(std::string_view field, std::string_view value) {
  return std::unexpected(fmt::format("{} is \"{}\"", field, shown(value)));
}

}  // namespace classgate::planning
