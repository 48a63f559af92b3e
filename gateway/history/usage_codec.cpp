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

// What goes up and down by little has a small number: 0, -1, 1, -2, 2 are 0, 1, 2, 3, 4.
// Differences are those of 64 bits, which wrap.
std::uint64_t folded_difference(std::uint64_t difference) {
  return (difference << 1) ^ (difference >> 63 != 0 ? ~std::uint64_t{0} : 0);
}
std::uint64_t unfolded_difference(std::uint64_t number) {
  return (number >> 1) ^ ((number & 1) != 0 ? ~std::uint64_t{0} : 0);
}

// Numbers of four bits each, of which three count, the lowest first, and the highest says that
// there is more. Half a byte that is left over says so, and nothing is behind it.
class NibbleWriter {
 public:
  void put(std::uint64_t value) {
    for (; value >= more; value >>= 3) add(static_cast<std::uint8_t>((value & 7) | more));
    add(static_cast<std::uint8_t>(value));
  }
  std::vector<std::uint8_t> take() {
    if (is_half_) add(more);
    return std::move(bytes_);
  }

 private:
  static constexpr std::uint8_t more = 8;
  void add(std::uint8_t nibble) {
    if (is_half_)
      bytes_.back() = static_cast<std::uint8_t>(bytes_.back() | nibble << 4);
    else
      bytes_.push_back(nibble);
    is_half_ = !is_half_;
  }
  std::vector<std::uint8_t> bytes_;
  bool is_half_ = false;
};

class NibbleReader {
 public:
  explicit NibbleReader(std::string_view bytes) : bytes_(bytes) {}
  bool is_at_end() const {
    const std::size_t left = 2 * bytes_.size() - next_;
    return left == 0 || (left == 1 && nibble_at(next_) == 8);
  }
  std::optional<std::uint64_t> take() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && next_ < 2 * bytes_.size(); shift += 3) {
      const std::uint8_t nibble = nibble_at(next_++);
      value |= static_cast<std::uint64_t>(nibble & 7) << shift;
      if ((nibble & 8) == 0) return value;
    }
    return std::nullopt;
  }

 private:
  std::uint8_t nibble_at(std::size_t place) const {
    const auto byte = static_cast<std::uint8_t>(bytes_[place / 2]);
    return static_cast<std::uint8_t>(place % 2 == 0 ? byte & 15 : byte >> 4);
  }
  std::string_view bytes_;
  std::size_t next_ = 0;
};

bool take_char(std::string_view& from, char c) {
  if (!from.starts_with(c)) return false;
  from.remove_prefix(1);
  return true;
}

}  // namespace

std::vector<std::uint8_t> bytes_of(const history::QuantileSketch& sketch) {
  const auto& bins = sketch.bins();
  NibbleWriter to;
  for (std::size_t i = 0, next_bin = 0; i < bins.size();) {
    std::size_t end = i + 1;
    while (end < bins.size() && bins[end].first == bins[end - 1].first + 1) ++end;
    to.put(bins[i].first - next_bin);
    to.put(end - i);
    for (std::uint64_t before = 0; i < end; before = bins[i++].second)
      to.put(folded_difference(bins[i].second - before));
    next_bin = static_cast<std::size_t>(bins[end - 1].first) + 1;
  }
  return to.take();
}

std::optional<history::QuantileSketch> sketch_of(std::string_view bytes) {
  constexpr std::size_t most = history::QuantileSketch::bins_max;
  history::QuantileSketch sketch;
  NibbleReader from(bytes);
  std::uint64_t bin = 0;
  while (!from.is_at_end()) {
    const auto empty = from.take();
    const auto length = from.take();
    if (!empty || !length || *empty > most || *length == 0 || *length > most) return std::nullopt;
    bin += *empty;
    std::uint64_t times = 0;
    for (const std::uint64_t end = bin + *length; bin < end; ++bin) {
      const auto step = from.take();
      if (!step || bin >= most) return std::nullopt;
      times += unfolded_difference(*step);
      if (!sketch.append({static_cast<std::uint16_t>(bin), times})) return std::nullopt;
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
