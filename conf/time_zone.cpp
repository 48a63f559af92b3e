#include "conf/time_zone.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "conf/format.h"
#include "conf/text_file.h"

namespace classgate::conf {
namespace {

using std::chrono::days;
using std::chrono::seconds;
using std::chrono::sys_days;
using std::chrono::sys_seconds;

// Rules are written out until then; nobody's quota is counted so far ahead.
constexpr int last_year = 2100;

// Reads big-endian numbers; `is_good` is false once it has come to the end too early.
class ZoneFile {
 public:
  explicit ZoneFile(std::string_view text) : text_(text) {}
  bool is_good() const { return is_good_; }
  std::string_view take(std::size_t count) {
    is_good_ = is_good_ && count <= text_.size();
    if (!is_good_) return {};
    const std::string_view taken = text_.substr(0, count);
    text_.remove_prefix(count);
    return taken;
  }
  std::int64_t number(std::size_t size) {
    std::uint64_t value = 0;
    const std::string_view bytes = take(size);
    for (const char c : bytes) value = value << 8 | static_cast<unsigned char>(c);
    const auto shift = static_cast<unsigned>(64 - 8 * size);
    return static_cast<std::int64_t>(value << shift) >> shift;
  }
  std::string_view rest() const { return text_; }

 private:
  std::string_view text_;
  bool is_good_ = true;
};

struct Counts {
  std::size_t is_utc, is_standard, leaps, times, types, characters;
  std::size_t bytes(std::size_t time_size) const {
    return times * (time_size + 1) + types * 6 + characters + leaps * (time_size + 4) +
           is_standard + is_utc;
  }
};

// RFC 9636 section 3.1. Version 1 has no footer and 32 bits; those of today have both.
std::optional<Counts> read_header(ZoneFile& from) {
  if (from.take(4) != "TZif") return std::nullopt;
  const std::string_view version = from.take(1);
  from.take(15);
  const auto count = [&] { return static_cast<std::size_t>(from.number(4)) & 0xffffffff; };
  Counts counts{};
  counts.is_utc = count();
  counts.is_standard = count();
  counts.leaps = count();
  counts.times = count();
  counts.types = count();
  counts.characters = count();
  constexpr std::size_t most = 100'000;
  const bool is_sane = counts.times < most && counts.types > 0 && counts.types <= 256 &&
                       counts.leaps < most && counts.characters < most &&
                       counts.is_standard <= 256 && counts.is_utc <= 256;
  if (!from.is_good() || version.empty() || version[0] < '2' || !is_sane) return std::nullopt;
  return counts;
}

// The parts of a TZ string (POSIX.1-2024 section 8.3, RFC 9636 section 3.3.1).
class RuleText {
 public:
  explicit RuleText(std::string_view text) : text_(text) {}
  bool is_good() const { return is_good_; }
  bool is_at_end() const { return text_.empty(); }
  bool take(char c) {
    if (!text_.starts_with(c)) return false;
    text_.remove_prefix(1);
    return true;
  }
  void name() {
    const auto is_letter = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); };
    const bool is_quoted = take('<');
    std::size_t size = 0;
    while (size < text_.size() && (is_quoted ? text_[size] != '>' : is_letter(text_[size]))) ++size;
    is_good_ = is_good_ && size >= 3;
    text_.remove_prefix(size);
    if (is_quoted) is_good_ = take('>') && is_good_;
  }
  int number() {
    int value = 0;
    const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), value);
    is_good_ = is_good_ && error == std::errc{} && value >= 0;
    if (error == std::errc{}) text_.remove_prefix(static_cast<std::size_t>(end - text_.data()));
    return value;
  }
  // "[+-]h[h][:mm[:ss]]"
  seconds time() {
    const bool is_negative = take('-');
    if (!is_negative) take('+');
    int total = number() * 3600;
    if (take(':')) total += number() * 60;
    if (take(':')) total += number();
    return seconds(is_negative ? -total : total);
  }

 private:
  std::string_view text_;
  bool is_good_ = true;
};

// When in a year the clock is changed: "Mm.w.d", "Jn" or "n", and the time of the day.
struct YearlyRule {
  enum class Kind : std::uint8_t { month_week_day, without_leap_day, with_leap_day };
  Kind kind = Kind::month_week_day;
  int month = 0, week = 0, day = 0;
  seconds time{7200};

  static YearlyRule read(RuleText& text) {
    YearlyRule rule;
    if (text.take('M')) {
      rule.month = text.number();
      text.take('.');
      rule.week = text.number();
      text.take('.');
    } else {
      rule.kind = text.take('J') ? Kind::without_leap_day : Kind::with_leap_day;
    }
    rule.day = text.number();
    if (text.take('/')) rule.time = text.time();
    return rule;
  }
  bool is_sane() const {
    if (kind != Kind::month_week_day) return day <= 366;
    return month >= 1 && month <= 12 && week >= 1 && week <= 5 && day <= 6;
  }
  // By the clock there, as if it was UTC.
  sys_seconds in(int year) const {
    using namespace std::chrono;
    const auto y = std::chrono::year(year);
    sys_days date = y / January / 1;
    if (kind == Kind::month_week_day) {
      const auto m = std::chrono::month(static_cast<unsigned>(month));
      const auto weekday = std::chrono::weekday(static_cast<unsigned>(day));
      date = week == 5 ? sys_days(y / m / weekday[last])
                       : sys_days(y / m / weekday[static_cast<unsigned>(week)]);
    } else if (kind == Kind::without_leap_day) {
      const bool is_behind = y.is_leap() && day >= 60;  // 29 February has no number
      date += days(day - 1 + (is_behind ? 1 : 0));
    } else {
      date += days(day);
    }
    return date + time;
  }
};

bool is_zone_name(const std::string& name) {
  const auto is_fine = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '+' || c == '/';
  };
  return !name.empty() && name.size() <= 64 && std::ranges::all_of(name, is_fine) &&
         !name.starts_with('/') && !name.ends_with('/') && !name.contains("//");
}

sys_days date_of(sys_seconds local) { return std::chrono::floor<days>(local); }

}  // namespace

// What holds behind the last change that is written out.
bool TimeZone::read_footer(std::string_view line, TimeZone& into) {
  if (line.empty()) return true;  // nothing is known
  RuleText text(line);
  text.name();
  const seconds standard = -text.time();  // west is positive there
  if (!text.is_good()) return false;
  if (text.is_at_end()) {
    if (into.changes_.empty()) into.first_offset_ = standard;
    return true;
  }
  text.name();
  seconds summer = standard + std::chrono::hours(1);
  if (!text.take(',')) {
    summer = -text.time();
    if (!text.take(',')) return false;
  }
  const YearlyRule begin = YearlyRule::read(text);
  if (!text.take(',')) return false;
  const YearlyRule end = YearlyRule::read(text);
  if (!text.is_good() || !text.is_at_end() || !begin.is_sane() || !end.is_sane()) return false;
  const auto last = into.changes_.empty() ? sys_seconds{} : into.changes_.back().at;
  const std::chrono::year_month_day date(date_of(last));
  std::vector<Change> more;
  for (int year = static_cast<int>(date.year()); year <= last_year; ++year) {
    more.push_back({begin.in(year)-standard, summer});
    more.push_back({end.in(year)-summer, standard});
  }
  std::ranges::sort(more, {}, &Change::at);
  std::erase_if(more, [&](const Change& change) { return change.at <= last; });
  into.changes_.insert(into.changes_.end(), more.begin(), more.end());
  return true;
}

std::expected<TimeZone, std::string> TimeZone::read(std::string_view file) {
  const auto bad = [] { return std::unexpected(std::string("is no file of a time zone (TZif)")); };
  ZoneFile bytes(file);
  const auto old = read_header(bytes);
  if (!old) return bad();
  bytes.take(old->bytes(4));
  const auto counts = read_header(bytes);
  if (!counts) return bad();
  TimeZone zone;
  std::vector<std::int64_t> times(counts->times);
  for (std::int64_t& time : times) time = bytes.number(8);
  const std::string_view kind_of_each = bytes.take(counts->times);
  std::vector<seconds> offsets(counts->types);
  for (seconds& offset : offsets) {
    offset = seconds(bytes.number(4));
    bytes.take(2);
  }
  bytes.take(counts->characters + counts->leaps * 12 + counts->is_standard + counts->is_utc);
  if (!bytes.is_good()) return bad();
  constexpr seconds most = std::chrono::hours(26);
  if (std::ranges::any_of(offsets, [&](seconds s) { return s > most || s < -most; })) return bad();
  zone.first_offset_ = offsets[0];
  for (std::size_t i = 0; i < times.size(); ++i) {
    const auto kind = static_cast<unsigned char>(kind_of_each[i]);
    if (kind >= offsets.size() || (i > 0 && times[i] <= times[i - 1])) return bad();
    // Before the year 1, or as far behind: marks, no changes.
    constexpr std::int64_t farthest = 62'135'596'800;
    if (times[i] < -farthest || times[i] > farthest) continue;
    zone.changes_.push_back({sys_seconds(seconds(times[i])), offsets[kind]});
  }
  std::string_view footer = bytes.rest();
  if (!footer.starts_with('\n') || footer.find('\n', 1) == std::string_view::npos) return bad();
  footer = footer.substr(1, footer.find('\n', 1) - 1);
  if (!read_footer(footer, zone)) return bad();
  return zone;
}

std::expected<std::shared_ptr<const TimeZone>, std::string> TimeZone::load(
    const std::string& name) {
  if (name == "UTC") return std::make_shared<const TimeZone>();
  constexpr std::string_view advice =
      "write one as in \"Europe/Berlin\" (timedatectl list-timezones)";
  if (!is_zone_name(name))
    return std::unexpected(fmt::format("\"{}\" is no name of a time zone: {}", name, advice));
  auto text = read_text_file(fmt::format("{}/{}", folder, name));
  if (!text)
    return std::unexpected(
        fmt::format("\"{}\" is no time zone of this system ({}/{}: {}): {}, or install tzdata",
                    name, folder, name, text.error(), advice));
  auto zone = read(*text);
  if (!zone)
    return std::unexpected(fmt::format("\"{}\": {}/{} {}", name, folder, name, zone.error()));
  return std::make_shared<const TimeZone>(std::move(*zone));
}

seconds TimeZone::offset_at(sys_seconds time) const {
  const auto next = std::ranges::upper_bound(changes_, time, {}, &Change::at);
  return next == changes_.begin() ? first_offset_ : std::prev(next)->offset;
}

// The first moment at which the clock shows this date, or a later one.
sys_seconds TimeZone::begin_of(sys_days date) const {
  constexpr seconds around = std::chrono::hours(50);  // more than any two offsets differ by
  sys_seconds from = date - around;
  for (;;) {
    const auto next = std::ranges::upper_bound(changes_, from, {}, &Change::at);
    const seconds offset = offset_at(from);
    const sys_seconds begin = std::max(from, sys_seconds(date - offset));
    if (next == changes_.end() || begin < next->at) return begin;
    from = next->at;
  }
}

CalendarPeriod TimeZone::day_of(sys_seconds time) const {
  sys_days date = date_of(time + offset_at(time));
  // It may show yesterday's date for a second time.
  while (begin_of(date + days(1)) <= time) date += days(1);
  return {date.time_since_epoch().count(), begin_of(date), begin_of(date + days(1))};
}

CalendarPeriod TimeZone::month_of(sys_seconds time) const {
  using namespace std::chrono;
  const sys_days today{days(day_of(time).number)};
  const year_month_day date(today);
  const year_month month = date.year() / date.month();
  const auto first_of = [](year_month m) { return sys_days(m / std::chrono::day(1)); };
  const auto number = (static_cast<int>(date.year()) - 1970) * 12 +
                      static_cast<int>(static_cast<unsigned>(date.month())) - 1;
  return {number, begin_of(first_of(month)), begin_of(first_of(month + months(1)))};
}

std::string TimeZone::text_of(sys_seconds time) const {
  const seconds offset = offset_at(time);
  const sys_seconds local = time + offset;
  const std::chrono::year_month_day date(date_of(local));
  const std::chrono::hh_mm_ss clock(local - date_of(local));
  const auto minutes = std::abs(offset.count()) / 60;
  const std::string zone = offset.count() == 0
                               ? "Z"
                               : fmt::format("{}{:02}:{:02}", offset.count() < 0 ? '-' : '+',
                                             minutes / 60, minutes % 60);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     clock.hours().count(), clock.minutes().count(), clock.seconds().count(), zone);
}

}  // namespace classgate::conf
