#include "gateway/ops/pattern_text.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <concepts>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "conf/format.h"
#include "conf/sha256.h"
#include "gateway/ops/memo_text.h"
#include "gateway/server.h"

namespace classgate::gateway {

using admission::ClientPatterns;
using admission::PatternMemo;
using admission::UsageWeek;

namespace {

constexpr std::string_view pattern_head = "classgate patterns ";
constexpr std::size_t hash_digits = 64;

template <std::unsigned_integral Number>
void put_pattern_number(std::string& to, Number number) {
  for (std::size_t i = 0; i < sizeof number; ++i)
    to += static_cast<char>(static_cast<unsigned char>(number >> (8 * i)));
}

template <std::unsigned_integral Number>
std::optional<Number> take_pattern_number(std::string_view& from) {
  if (from.size() < sizeof(Number)) return std::nullopt;
  Number number = 0;
  for (std::size_t i = 0; i < sizeof number; ++i)
    number = static_cast<Number>(number | Number{static_cast<unsigned char>(from[i])} << (8 * i));
  from.remove_prefix(sizeof number);
  return number;
}

std::int64_t pattern_milliseconds(admission::Duration duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

void put_kept_client(std::string& to, const ClientPatterns::Kept& client) {
  put_pattern_number(to, client.id);
  put_pattern_number(to, std::bit_cast<std::uint32_t>(client.tokens));
  put_pattern_number(to, std::bit_cast<std::uint32_t>(client.week.used()));
  const std::size_t hours = client.week.hours_over();
  put_pattern_number(to, static_cast<std::uint8_t>(hours));
  const std::size_t marks = to.size();
  to.append((hours + 7) / 8, '\0');
  for (std::size_t ago = 1; ago <= hours; ++ago) {
    const std::uint16_t hour = client.week.packed_ago(ago);
    if (hour == 0) continue;
    char& mark = to[marks + (ago - 1) / 8];
    mark = static_cast<char>(static_cast<unsigned char>(mark) | 1U << (ago - 1) % 8);
    put_pattern_number(to, hour);
  }
}

std::optional<ClientPatterns::Kept> take_kept_client(std::string_view& from, UsageWeek::Hour hour) {
  const auto id = take_pattern_number<std::uint64_t>(from);
  const auto tokens = take_pattern_number<std::uint32_t>(from);
  const auto used = take_pattern_number<std::uint32_t>(from);
  const auto hours = take_pattern_number<std::uint8_t>(from);
  if (!id || *id == 0 || !tokens || !used || !hours) return std::nullopt;
  const std::size_t bytes = (std::size_t{*hours} + 7) / 8;
  if (*hours >= UsageWeek::kept || from.size() < bytes) return std::nullopt;
  const std::string_view marks = from.substr(0, bytes);
  from.remove_prefix(bytes);
  std::array<std::uint16_t, UsageWeek::kept> ago{};
  for (std::size_t i = 0; i < *hours; ++i) {
    if ((static_cast<unsigned char>(marks[i / 8]) >> i % 8 & 1U) == 0) continue;
    const auto value = take_pattern_number<std::uint16_t>(from);
    if (!value) return std::nullopt;
    ago[i] = *value;
  }
  const auto week =
      UsageWeek::restored(hour, std::bit_cast<float>(*used), std::span(ago).first(*hours));
  const auto in_bucket = std::bit_cast<float>(*tokens);
  if (!week || !std::isfinite(in_bucket) || in_bucket < 0) return std::nullopt;
  return ClientPatterns::Kept{.id = *id, .week = *week, .tokens = in_bucket};
}

// version, ids_of, when it was written (Unix time), how far the hour was, learning, silent, count;
// times in milliseconds.
using PatternNumbers = std::array<std::uint64_t, 7>;
std::optional<PatternNumbers> numbers_of_head(std::string_view line) {
  if (!line.starts_with(pattern_head)) return std::nullopt;
  line.remove_prefix(pattern_head.size());
  PatternNumbers numbers{};
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const auto [stop, error] = std::from_chars(line.data(), line.data() + line.size(), numbers[i]);
    const auto length = static_cast<std::size_t>(stop - line.data());
    if (error != std::errc{}) return std::nullopt;
    line.remove_prefix(length);
    if (i + 1 < numbers.size() && !line.starts_with(' ')) return std::nullopt;
    if (i + 1 < numbers.size()) line.remove_prefix(1);
  }
  if (!line.empty()) return std::nullopt;
  return numbers;
}

}  // namespace

std::string pattern_text(const PatternMemo& memo, std::uint64_t ids_of, const PatternClock& now) {
  const auto into_hour = memo.at.time_since_epoch() -
                         std::chrono::floor<std::chrono::hours>(memo.at.time_since_epoch());
  const auto written = std::chrono::duration_cast<std::chrono::milliseconds>(
      (now.wall - (now.steady - memo.at)).time_since_epoch());
  std::string text = fmt::format(
      "{}{} {} {} {} {} {} {}\n", pattern_head, pattern_version, ids_of,
      std::max<std::int64_t>(written.count(), 0), pattern_milliseconds(into_hour),
      pattern_milliseconds(memo.learning), pattern_milliseconds(memo.silent), memo.clients.size());
  for (const ClientPatterns::Kept& client : memo.clients) {
    if (text.size() + 1000 > pattern_bytes_max) break;
    put_kept_client(text, client);
  }
  return text + conf::hex_of(conf::sha256(text));
}

std::expected<PatternMemo, std::string> read_pattern_text(std::string_view text,
                                                          std::uint64_t ids_of,
                                                          const PatternClock& now) {
  if (text.size() > pattern_bytes_max)
    return std::unexpected(fmt::format("it is larger than {} bytes", pattern_bytes_max));
  if (!text.starts_with(pattern_head)) return std::unexpected("it is none of ours");
  const std::size_t line = text.find('\n');
  const auto numbers = line < 300 ? numbers_of_head(text.substr(0, line)) : std::nullopt;
  if (!numbers) return std::unexpected("its first line is not as it should be");
  const auto [version, ids, written_ms, into_hour_ms, learning_ms, silent_ms, count] = *numbers;
  if (version != pattern_version)
    return std::unexpected(
        fmt::format("it is of version {}, and {} is known here", version, pattern_version));
  if (text.size() < line + 1 + hash_digits ||
      conf::hex_of(conf::sha256(text.substr(0, text.size() - hash_digits))) !=
          text.substr(text.size() - hash_digits))
    return std::unexpected("it is damaged: its checksum is another");
  if (ids != ids_of)
    return std::unexpected("its clients have ids by another key than clients.secret has now");
  constexpr std::uint64_t most_ms = 1ULL << 42;  // 139 years
  for (const std::uint64_t time : {written_ms, into_hour_ms, learning_ms, silent_ms})
    if (time > most_ms) return std::unexpected("it tells of a time that is none");
  using std::chrono::milliseconds;
  const auto written = std::chrono::system_clock::time_point(milliseconds(written_ms));
  const auto passed = std::max(std::chrono::duration_cast<admission::Duration>(now.wall - written),
                               admission::Duration::zero());
  // The hour that ran then, as one of this clock; not one that is still to come.
  const auto begun = now.steady - passed - milliseconds(into_hour_ms);
  const auto nearest =
      admission::Time(std::chrono::round<std::chrono::hours>(begun.time_since_epoch()));
  constexpr auto long_ago = std::chrono::hours(UsageWeek::kept);
  const admission::Time at = std::max(std::min(nearest + milliseconds(into_hour_ms), now.steady),
                                      admission::Time(-long_ago));
  // What is no hour is told of the moment itself.
  const admission::Duration moved = at - (now.steady - passed);
  PatternMemo memo{.at = at,
                   .learning = milliseconds(learning_ms) + moved,
                   .silent = milliseconds(silent_ms) + moved};
  const bool is_full_by_now = passed >= std::chrono::seconds(300);
  const UsageWeek::Hour hour = UsageWeek::hour_of(memo.at);
  std::string_view rest = text.substr(line + 1, text.size() - line - 1 - hash_digits);
  memo.clients.reserve(std::min<std::size_t>({count, rest.size() / 17, PatternMemo::clients_max}));
  while (!rest.empty()) {
    auto client = take_kept_client(rest, hour);
    if (!client) return std::unexpected("a client of it is not as it should be");
    if (memo.clients.size() == PatternMemo::clients_max) break;
    if (is_full_by_now) client->tokens = std::numeric_limits<float>::max();
    memo.clients.push_back(*client);
  }
  return memo;
}

std::string patterns_of(const Server& server) {
  const PatternClock now = PatternClock::now();
  const PatternMemo memo = server.shared().gate.patterns(now.steady);
  return memo.places == 0 ? std::string() : pattern_text(memo, sign_of_ids(server), now);
}

std::expected<std::size_t, std::string> take_up_patterns(Server& server, std::string_view text) {
  const PatternClock now = PatternClock::now();
  const auto read = read_pattern_text(text, sign_of_ids(server), now);
  if (!read) return std::unexpected(read.error());
  server.take_up(*read, now.steady);
  return read->clients.size();
}

}  // namespace classgate::gateway
