#include "gateway/history/usage_codec.h"

#include <algorithm>

#include "conf/format.h"
#include "conf/reason.h"

namespace classgate::gateway {
namespace {

constexpr std::uint8_t sparse_registers = 0;
constexpr std::uint8_t all_registers = 1;

void put_leb128(std::vector<std::uint8_t>& to, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) to.push_back(static_cast<std::uint8_t>(value | 0x80));
  to.push_back(static_cast<std::uint8_t>(value));
}

std::optional<std::uint64_t> take_leb128(std::string_view& from) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64 && !from.empty(); shift += 7) {
    const auto byte = static_cast<std::uint8_t>(from.front());
    from.remove_prefix(1);
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return value;
  }
  return std::nullopt;
}

bool take_char(std::string_view& from, char c) {
  if (!from.starts_with(c)) return false;
  from.remove_prefix(1);
  return true;
}

}  // namespace

std::vector<std::uint8_t> bytes_of(const history::QuantileSketch& sketch) {
  const auto& bins = sketch.bins();
  std::vector<std::uint8_t> bytes;
  bytes.reserve(2 * bins.size());
  for (std::size_t i = 0, next_bin = 0; i < bins.size();) {
    std::size_t end = i + 1;
    while (end < bins.size() && bins[end].first == bins[end - 1].first + 1) ++end;
    put_leb128(bytes, bins[i].first - next_bin);
    put_leb128(bytes, end - i);
    for (; i < end; ++i) put_leb128(bytes, bins[i].second);
    next_bin = static_cast<std::size_t>(bins[end - 1].first) + 1;
  }
  return bytes;
}

std::optional<history::QuantileSketch> sketch_of(std::string_view bytes) {
  constexpr std::size_t most = history::QuantileSketch::bins_max;
  history::QuantileSketch sketch;
  std::uint64_t bin = 0;
  while (!bytes.empty()) {
    const auto empty = take_leb128(bytes);
    const auto length = take_leb128(bytes);
    if (!empty || !length || *empty > most || *length == 0 || *length > most) return std::nullopt;
    bin += *empty;
    for (const std::uint64_t end = bin + *length; bin < end; ++bin) {
      const auto times = take_leb128(bytes);
      if (!times || bin >= most || !sketch.append({static_cast<std::uint16_t>(bin), *times}))
        return std::nullopt;
    }
  }
  return sketch;
}

std::vector<std::uint8_t> bytes_of(const history::DistinctCount& distinct) {
  const auto& ranks = distinct.ranks();
  std::vector<std::uint8_t> bytes{sparse_registers};
  std::size_t before = 0;
  for (std::size_t i = 0; i < ranks.size() && bytes.size() <= ranks.size(); ++i) {
    if (ranks[i] == 0) continue;
    put_leb128(bytes, i - before);
    bytes.push_back(ranks[i]);
    before = i;
  }
  if (bytes.size() == 1) return {};
  if (bytes.size() > ranks.size()) {
    bytes.assign(1, all_registers);
    bytes.insert(bytes.end(), ranks.begin(), ranks.end());
  }
  return bytes;
}

std::optional<history::DistinctCount> distinct_of(std::string_view bytes) {
  history::DistinctCount distinct;
  if (bytes.empty()) return distinct;
  const auto form = static_cast<std::uint8_t>(bytes.front());
  bytes.remove_prefix(1);
  if (form == all_registers) {
    if (bytes.size() != history::DistinctCount::registers) return std::nullopt;
    for (std::size_t i = 0; i < bytes.size(); ++i)
      if (!distinct.raise(i, static_cast<std::uint8_t>(bytes[i]))) return std::nullopt;
    return distinct;
  }
  if (form != sparse_registers) return std::nullopt;
  for (std::size_t place = 0; !bytes.empty();) {
    const auto step = take_leb128(bytes);
    if (!step || *step >= history::DistinctCount::registers || bytes.empty()) return std::nullopt;
    place += *step;
    if (!distinct.raise(place, static_cast<std::uint8_t>(bytes.front()))) return std::nullopt;
    bytes.remove_prefix(1);
  }
  return distinct;
}

std::string text_of(const WordCounts& counts) {
  std::string text;
  for (const auto& [word, times] : counts)
    if (times > 0)
      text += fmt::format("{}\"{}\":{}", text.empty() ? "{" : ",", word,
                          std::min<std::uint64_t>(times, INT64_MAX));
  return text.empty() ? text : text + "}";
}

// Only what text_of() makes, so no space, and words without anything that would be escaped.
std::optional<WordCounts> counts_of(std::string_view text) {
  WordCounts counts;
  if (text.empty()) return counts;
  if (!take_char(text, '{')) return std::nullopt;
  do {
    if (!take_char(text, '"')) return std::nullopt;
    const std::size_t end =
        std::min(text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_"), text.size());
    std::string word(text.substr(0, end));
    text.remove_prefix(end);
    if (word.empty() || !take_char(text, '"') || !take_char(text, ':')) return std::nullopt;
    std::uint64_t times = 0;
    const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    if (digits == 0 || digits > 19) return std::nullopt;
    for (const char digit : text.substr(0, digits))
      times = times * 10 + static_cast<std::uint64_t>(digit - '0');
    text.remove_prefix(digits);
    counts.emplace_back(std::move(word), times);
  } while (take_char(text, ','));
  if (text != "}") return std::nullopt;
  return counts;
}

std::string reasons_text(const history::UsageRow& row) {
  WordCounts counts;
  for (const auto& [reason, times] : row.reasons)
    if (reason < conf::reason_texts.size())
      counts.emplace_back(conf::reason_texts[reason].word, times);
  return text_of(counts);
}

std::string failed_by_text(const history::UsageRow& row) {
  WordCounts counts;
  for (std::size_t i = 0; i < row.failed_by.size(); ++i)
    counts.emplace_back(history::failed_by_words[i], row.failed_by[i]);
  return text_of(counts);
}

void add_reasons(history::UsageRow& row, std::string_view text) {
  for (const auto& [word, times] : counts_of(text).value_or(WordCounts()))
    if (const auto reason = conf::reason_from_word(word))
      row.add_reason(static_cast<std::uint8_t>(conf::index_of(*reason)), times);
}

void add_failed_by(history::UsageRow& row, std::string_view text) {
  for (const auto& [word, times] : counts_of(text).value_or(WordCounts()))
    for (std::size_t i = 0; i < row.failed_by.size(); ++i)
      if (history::failed_by_words[i] == word) row.failed_by[i] += times;
}

}  // namespace classgate::gateway
