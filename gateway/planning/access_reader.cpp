#include "gateway/planning/access_reader.h"

#include <array>
#include <chrono>
#include <optional>

#include "conf/format.h"
#include "gateway/planning/log_fields.h"

namespace classgate::planning {
namespace {

constexpr std::size_t npos = std::string_view::npos;

// The fields without which a line is of no use, as bits of seen_.
enum Needed : unsigned {
  time_seen = 1,
  client_seen = 2,
  path_seen = 4,
  verdict_seen = 8,
  total_seen = 16,
  upstream_seen = 32,
  since_seen = 64,  // of one that stands for many
};
constexpr std::array needed_names{"time",     "client",      "path", "verdict",
                                  "total_ms", "upstream_ms", "since"};
constexpr unsigned needed_of_one =
    time_seen | client_seen | path_seen | verdict_seen | total_seen | upstream_seen;
constexpr unsigned needed_of_many = time_seen | client_seen | path_seen | verdict_seen | since_seen;

bool take_digits(std::string_view text, std::size_t at, std::size_t count, std::int64_t& value) {
  value = 0;
  for (std::size_t i = at; i < at + count; ++i) {
    if (text[i] < '0' || text[i] > '9') return false;
    value = value * 10 + (text[i] - '0');
  }
  return true;
}

// "12.034" milliseconds, to the nanosecond; AccessEntry::duration_max at most.
bool take_milliseconds(std::string_view text, Duration& into) {
  constexpr std::int64_t most =
      std::chrono::duration_cast<std::chrono::milliseconds>(AccessEntry::duration_max).count();
  std::int64_t whole = 0, part = 0, scale = 1'000'000;
  std::size_t i = 0;
  for (; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i) {
    whole = whole * 10 + (text[i] - '0');
    if (whole >= most) return false;
  }
  if (i == 0) return false;
  if (i < text.size() && text[i] == '.')
    for (++i; i < text.size() && text[i] >= '0' && text[i] <= '9' && scale > 1; ++i) {
      part = part * 10 + (text[i] - '0');
      scale /= 10;
    }
  if (i != text.size()) return false;
  into = Duration(whole * 1'000'000 + part * scale);
  return true;
}

bool take_number(std::string_view text, std::uint64_t most, std::uint64_t& into) {
  into = 0;
  if (text.empty()) return false;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    into = into * 10 + static_cast<std::uint64_t>(c - '0');
    if (into > most) return false;
  }
  return true;
}

// A hexadecimal digit, or 16.
unsigned digit_of(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a') + 10;
  if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A') + 10;
  return 16;
}

// A call of gRPC that failed is 200 to HTTP: what matters here is whether the service did its work,
// and whether it is it that refused it (RESOURCE_EXHAUSTED, UNAVAILABLE).
int http_status_of(int grpc_status) {
  constexpr int resource_exhausted = 8, unavailable = 14;
  if (grpc_status == resource_exhausted) return 429;
  return grpc_status == unavailable ? 503 : 500;
}

struct Escape {
  std::size_t size = 0;  // 0: there is none, or half a surrogate pair
  std::uint32_t code = 0;
};

// "\u1234" at the beginning of a text.
Escape unit_of(std::string_view text) {
  constexpr std::size_t size = 6;
  if (text.size() < size || !text.starts_with("\\u")) return {};
  Escape escape{.size = size};
  for (const char c : text.substr(2, 4)) {
    const unsigned digit = digit_of(c);
    if (digit > 15) return {};
    escape.code = escape.code << 4 | digit;
  }
  return escape;
}

// Also a surrogate pair (RFC 8259 section 7).
Escape escape_of(std::string_view text) {
  const Escape first = unit_of(text);
  if (first.size == 0 || first.code < 0xd800 || first.code > 0xdfff) return first;
  const Escape second = unit_of(text.substr(first.size));
  if (first.code > 0xdbff || second.code < 0xdc00 || second.code > 0xdfff) return {};
  return {.size = first.size + second.size,
          .code = 0x10000 + ((first.code & 0x3ff) << 10 | (second.code & 0x3ff))};
}

void append_utf8(std::string& out, std::uint32_t code) {  // from U+0080
  const int rest = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  const std::uint32_t lead = rest == 1 ? 0xc0 : rest == 2 ? 0xe0 : 0xf0;
  out += static_cast<char>(lead | code >> (6 * rest));
  for (int i = rest - 1; i >= 0; --i) out += static_cast<char>(0x80 | (code >> (6 * i) & 0x3f));
}

// The end of a quoted text that begins at `at`: the place of its closing quote.
std::size_t closing_quote(std::string_view line, std::size_t at) {
  for (std::size_t i = at + 1; i < line.size(); ++i) {
    if (line[i] == '\\')
      ++i;
    else if (line[i] == '"')
      return i;
  }
  return npos;
}

struct Pair {
  std::string_view key;
  std::string_view value;  // without quotes, escapes as written
};

// Takes key=value pairs, or the members of a flat JSON object, one after the other.
class Pairs {
 public:
  explicit Pairs(std::string_view line) : line_(line), is_json_(line.starts_with('{')) {
    if (is_json_) at_ = 1;
  }

  bool is_at_end() {
    skip_spaces();
    if (is_json_) return at_ + 1 == line_.size() && line_[at_] == '}';
    return at_ == line_.size();
  }

  std::optional<Pair> take() {
    skip_spaces();
    Pair pair;
    if (is_json_) {
      if (at_ >= line_.size() || line_[at_] != '"') return std::nullopt;
      const std::size_t end = closing_quote(line_, at_);
      if (end == npos || end + 1 >= line_.size() || line_[end + 1] != ':') return std::nullopt;
      pair.key = line_.substr(at_ + 1, end - at_ - 1);
      at_ = end + 2;
      skip_spaces();
    } else {
      const std::size_t equals = line_.find('=', at_);
      if (equals == npos) return std::nullopt;
      pair.key = line_.substr(at_, equals - at_);
      at_ = equals + 1;
    }
    if (at_ < line_.size() && line_[at_] == '"') {
      const std::size_t end = closing_quote(line_, at_);
      if (end == npos) return std::nullopt;
      pair.value = line_.substr(at_ + 1, end - at_ - 1);
      at_ = end + 1;
    } else {
      std::size_t end = is_json_ ? line_.find_first_of(",}", at_) : line_.find(' ', at_);
      if (end == npos) {
        if (is_json_) return std::nullopt;
        end = line_.size();
      }
      pair.value = line_.substr(at_, end - at_);
      at_ = end;
    }
    if (is_json_) {
      skip_spaces();
      if (at_ < line_.size() && line_[at_] == ',')
        ++at_;
      else if (at_ >= line_.size() || line_[at_] != '}')
        return std::nullopt;
    } else if (at_ < line_.size() && line_[at_] != ' ') {
      return std::nullopt;
    }
    return pair;
  }

 private:
  void skip_spaces() {
    while (at_ < line_.size() && line_[at_] == ' ') ++at_;
  }
  std::string_view line_;
  bool is_json_;
  std::size_t at_ = 0;
};

}  // namespace

std::expected<AccessEntry, std::string> AccessReader::read(std::string_view line) {
  AccessEntry entry;
  seen_ = 0;
  address_ = {};
  grpc_status_ = 0;
  Pairs pairs(line);
  while (!pairs.is_at_end()) {
    const auto pair = pairs.take();
    if (!pair) return std::unexpected(std::string("is no line of an access log"));
    if (!take(entry, pair->key, pair->value))
      return std::unexpected(fmt::format("{} is \"{}\"", shown(pair->key), shown(pair->value)));
  }
  const unsigned needed = entry.is_rolled_up() ? needed_of_many : needed_of_one;
  for (std::size_t i = 0; i < needed_names.size(); ++i)
    if ((needed & ~seen_ & (1U << i)) != 0)
      return std::unexpected(fmt::format("has no {}", needed_names[i]));
  if (grpc_status_ != 0 && entry.status == 200) entry.status = http_status_of(grpc_status_);
  if (entry.client == "-" && !address_.empty()) {
    entry.client = address_;
    entry.is_by_address = true;
  }
  if (entry.is_rolled_up() && (entry.since_ns > entry.time_ns ||
                               entry.time_ns - entry.since_ns > AccessEntry::span_max.count()))
    return std::unexpected(std::string("since is not shortly before time"));
  return entry;
}

bool AccessReader::take(AccessEntry& entry, std::string_view key, std::string_view value) {
  if (key.empty()) return false;
  std::uint64_t number = 0;
  switch (key.front()) {
    case 'a':
      if (key == "address") address_ = value;
      return true;
    case 't':
      if (key == "time") {
        seen_ |= time_seen;
        return take_time(value, entry.time_ns);
      }
      if (key == "total_ms") {
        seen_ |= total_seen;
        return take_milliseconds(value, entry.total);
      }
      return true;
    case 'c':
      if (key == "cost") {
        if (!take_number(value, AccessEntry::cost_max, number)) return false;
        entry.cost = static_cast<std::uint32_t>(number);
      }
      if (key != "client") return true;
      seen_ |= client_seen;
      entry.client = value;
      return true;
    case 'p':
      if (key == "path") {
        seen_ |= path_seen;
        entry.path = unquote(value, path_);
      } else if (key == "plan") {
        entry.plan = unquote(value, plan_);
      } else if (key == "priority") {
        if (!take_number(value, 5, number)) return false;
        entry.priority = static_cast<int>(number);
      }
      return true;
    case 'g':
      if (key != "grpc_status" || value == "-") return true;
      if (!take_number(value, 16, number)) return false;
      grpc_status_ = static_cast<int>(number);
      return true;
    case 'm':
      if (key == "method") entry.method = value;
      return true;
    case 'n':
      if (key == "name") entry.name = unquote(value, name_);
      return true;
    case 'v':
      if (key != "verdict") return true;
      seen_ |= verdict_seen;
      entry.verdict = value;
      return true;
    case 'r':
      if (key == "reason") entry.reason = value;
      if (key == "rolled_up")
        return take_number(value, AccessEntry::rolled_up_max, entry.rolled_up) &&
               entry.rolled_up > 0;
      return true;
    case 's':
      if (key == "status") {
        if (!take_number(value, 999, number)) return false;
        entry.status = static_cast<int>(number);
      }
      if (key != "since") return true;
      seen_ |= since_seen;
      return take_time(value, entry.since_ns);
    case 'd': return key != "deadline_ms" || take_milliseconds(value, entry.deadline);
    case 'u':
      if (key == "upload_ms") return take_milliseconds(value, entry.upload);
      if (key != "upstream_ms") return true;
      seen_ |= upstream_seen;
      return take_milliseconds(value, entry.upstream);
    case 'b':
      return key != "bytes_in" || take_number(value, AccessEntry::bytes_max, entry.bytes_in);
    default: return true;
  }
}

// "2026-11-24T09:30:00.123Z"
bool AccessReader::take_time(std::string_view text, std::int64_t& into) {
  constexpr std::size_t date_size = 16;
  std::int64_t second = 0, millisecond = 0;
  if (text.size() != 24 || text[16] != ':' || text[19] != '.' || text[23] != 'Z' ||
      !take_digits(text, 17, 2, second) || !take_digits(text, 20, 3, millisecond) || second > 60)
    return false;
  if (text.substr(0, date_size) != last_date_) {
    std::int64_t year = 0, month = 0, day = 0, hour = 0, minute = 0;
    if (text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' ||
        !take_digits(text, 0, 4, year) || !take_digits(text, 5, 2, month) ||
        !take_digits(text, 8, 2, day) || !take_digits(text, 11, 2, hour) ||
        !take_digits(text, 14, 2, minute))
      return false;
    const std::chrono::year_month_day date{std::chrono::year(static_cast<int>(year)),
                                           std::chrono::month(static_cast<unsigned>(month)),
                                           std::chrono::day(static_cast<unsigned>(day))};
    if (!date.ok() || hour > 23 || minute > 59 || year < AccessEntry::year_first ||
        year > AccessEntry::year_last)
      return false;
    const auto days = std::chrono::sys_days(date).time_since_epoch();
    last_minute_ns_ =
        std::chrono::nanoseconds(days + std::chrono::hours(hour) + std::chrono::minutes(minute))
            .count();
    last_date_ = text.substr(0, date_size);
  }
  into = last_minute_ns_ + second * 1'000'000'000 + millisecond * 1'000'000;
  return true;
}

// Undoes gateway/quoted.h, and what was written before UTF-8 stayed as it is: then each byte of it
// was \u00XX, which is a byte still.
std::string_view AccessReader::unquote(std::string_view text, std::string& room) {
  if (text.find('\\') == npos) return text;
  room.clear();
  while (!text.empty()) {
    if (const Escape escape = escape_of(text); escape.size > 0) {
      if (escape.code < 0x100)
        room += static_cast<char>(escape.code);
      else
        append_utf8(room, escape.code);
      text.remove_prefix(escape.size);
      continue;
    }
    const bool is_quoted = text.front() == '\\' && text.size() > 1 && !text.starts_with("\\u");
    room += text[is_quoted ? 1 : 0];
    text.remove_prefix(is_quoted ? 2 : 1);
  }
  return room;
}

}  // namespace classgate::planning
