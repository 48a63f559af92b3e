#include "proxy/wire/lines.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "proxy/wire/fields.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace classgate::proxy::wire {
namespace {

constexpr auto token_chars = [] {
  std::array<bool, 256> is_one{};
  for (int c = '0'; c <= '9'; ++c) is_one[static_cast<std::size_t>(c)] = true;
  for (int c = 'a'; c <= 'z'; ++c) is_one[static_cast<std::size_t>(c)] = true;
  for (int c = 'A'; c <= 'Z'; ++c) is_one[static_cast<std::size_t>(c)] = true;
  for (const char c : std::string_view("!#$%&'*+-.^_`|~"))
    is_one[static_cast<unsigned char>(c)] = true;
  return is_one;
}();

bool is_blank(char c) { return c == ' ' || c == '\t'; }

}  // namespace

bool is_token_char(char c) { return token_chars[static_cast<unsigned char>(c)]; }

std::size_t token_size(std::string_view text) {
  std::size_t size = 0;
  // Four at a time, with one question.
  const auto at = [&](std::size_t i) -> unsigned { return is_token_char(text[i]) ? 1 : 0; };
  while (text.size() - size >= 4 && (at(size) & at(size + 1) & at(size + 2) & at(size + 3)) != 0)
    size += 4;
  while (size < text.size() && is_token_char(text[size])) ++size;
  return size;
}

std::string_view trim_blanks(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

namespace {

constexpr std::uint64_t each_byte = 0x0101010101010101;
constexpr std::uint64_t high_bits = 0x80 * each_byte;

// The highest bit of each byte that must not be in a field's text: controls but the tab, and DEL.
// Exact for each byte: no sum carries into the next.
std::uint64_t wrong_bytes(std::uint64_t text) {
  constexpr std::uint64_t low = 0x7f * each_byte;
  const auto is_zero = [](std::uint64_t x) { return ~(((x & low) + low) | x); };
  const std::uint64_t is_control = ~(((text & low) + 0x60 * each_byte) | text);
  return ((is_control & ~is_zero(text ^ '\t' * each_byte)) | is_zero(text ^ low)) & high_bits;
}

// Some bit when one of the bytes is a control or DEL, for less work; but a tab is one as well, and
// a difference may carry from a byte that is one to the next.
std::uint64_t maybe_wrong(std::uint64_t text) {
  const std::uint64_t without_del = text ^ 0x7f * each_byte;
  return (((text - 0x20 * each_byte) & ~text) | ((without_del - each_byte) & ~without_del)) &
         high_bits;
}

std::uint64_t load(const char* from, std::size_t size = 8) {
  std::uint64_t text = 0x2020202020202020;
  std::memcpy(&text, from, size);
  return text;
}

// Of eight and more; the last eight may be looked at twice.
template <std::uint64_t (*look)(std::uint64_t)>
std::uint64_t look_at_all(std::string_view text) {
  const char* const last = text.data() + text.size() - 8;
  std::uint64_t seen = look(load(last));
  for (const char* at = text.data(); at < last; at += 8) seen |= look(load(at));
  return seen;
}

}  // namespace

bool read_length(std::string_view text, std::uint64_t& length) {
  if (text.empty() || text.size() > 18) return false;
  length = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    length = 10 * length + static_cast<std::uint64_t>(c - '0');
  }
  return true;
}

bool is_field_text(std::string_view text) {
  if (text.empty()) return true;
  if (text.size() < 8) return wrong_bytes(load(text.data(), text.size())) == 0;
  return look_at_all<maybe_wrong>(text) == 0 || look_at_all<wrong_bytes>(text) == 0;
}

namespace {

// The same with sixteen bytes at a time, where so many may be read: a short text is one look at it
// and what comes behind.
#ifdef __SSE2__
constexpr std::ptrdiff_t at_once = sizeof(__m128i);

__m128i all(char c) { return _mm_set1_epi8(c); }
__m128i load_16(const char* from) {
  __m128i bytes;
  std::memcpy(&bytes, from, sizeof bytes);
  return bytes;
}
// Which of them are from `first` on at most `last - first` further.
__m128i between(__m128i bytes, char first, char last) {
  const __m128i above = _mm_sub_epi8(bytes, all(first));
  return _mm_cmpeq_epi8(_mm_min_epu8(above, all(static_cast<char>(last - first))), above);
}
unsigned bits(__m128i bytes) { return static_cast<unsigned>(_mm_movemask_epi8(bytes)); }

// A bit for each letter, digit and '-', which most names are made of.
unsigned letters_of_names(const char* at) {
  const __m128i bytes = load_16(at);
  const __m128i small = _mm_or_si128(bytes, all(0x20));
  return bits(_mm_or_si128(_mm_or_si128(between(small, 'a', 'z'), between(bytes, '0', '9')),
                           _mm_cmpeq_epi8(bytes, all('-'))));
}

// A bit for each that must not be in a field's text.
unsigned wrong_in_field(const char* at) {
  const __m128i bytes = load_16(at);
  const __m128i is_control =
      _mm_andnot_si128(_mm_cmpeq_epi8(bytes, all('\t')), between(bytes, 0x00, 0x1f));
  return bits(_mm_or_si128(is_control, _mm_cmpeq_epi8(bytes, all(0x7f))));
}

// A bit for each that is no printable ASCII: a control, DEL, or beyond.
unsigned not_printable(const char* at) {
  return bits(_mm_cmplt_epi8(_mm_add_epi8(load_16(at), all(1)), all(0x21)));
}

std::size_t token_size(std::string_view text, const char* end) {
  std::size_t size = 0;
  while (end - (text.data() + size) >= at_once) {
    const auto letters =
        static_cast<std::size_t>(std::countr_one(letters_of_names(text.data() + size)));
    size += letters;
    if (size >= text.size()) return text.size();
    if (letters < at_once) break;
  }
  return is_token_char(text[size]) ? size + wire::token_size(text.substr(size)) : size;
}

bool is_field_text(std::string_view text, const char* end) {
  const char* at = text.data();
  const char* const text_end = at + text.size();
  for (; at < text_end; at += at_once) {
    if (end - at < at_once) return wire::is_field_text({at, text_end});
    unsigned wrong = wrong_in_field(at);
    if (text_end - at < at_once) wrong &= (1U << (text_end - at)) - 1;
    if (wrong != 0) return false;
  }
  return true;
}

PlainLine find_plain_line(const char* line, const char* end) {
  const char* at = line;
  for (std::ptrdiff_t letters = at_once; letters == at_once; at += letters) {
    if (end - at < at_once) return {};
    letters = std::countr_one(letters_of_names(at));
  }
  const auto name_size = static_cast<std::size_t>(at - line);
  if (end - at < at_once + 2 || name_size == 0 || at[0] != ':' || at[1] != ' ') return {};
  const char* const value = at += 2;
  unsigned others = not_printable(at);
  while (others == 0) {
    at += at_once;
    if (end - at < at_once) return {};
    others = not_printable(at);
  }
  at += std::countr_zero(others);
  if (at == value || value[0] == ' ' || at[-1] == ' ') return {};
  if (end - at < 2 || at[0] != '\r' || at[1] != '\n') return {};
  return {name_size, static_cast<std::size_t>(at - value)};
}
#else
PlainLine find_plain_line(const char*, const char*) { return {}; }
std::size_t token_size(std::string_view text, const char*) { return wire::token_size(text); }
bool is_field_text(std::string_view text, const char*) { return wire::is_field_text(text); }
#endif

}  // namespace

PlainLine read_plain_line(const char* at, const char* end) { return find_plain_line(at, end); }

const char* read_field_line(std::string_view line, Side side, FieldLine& into, const char* end) {
  const std::size_t name_size = line.empty() ? 0 : token_size(line, end);
  if (name_size == 0)
    return !line.empty() && is_blank(line.front()) ? "it goes on with the line before (obs-fold)"
                                                   : "no field name";
  std::size_t colon_at = name_size;
  while (colon_at < line.size() && is_blank(line[colon_at])) ++colon_at;
  if (colon_at == line.size()) return "no colon";
  if (line[colon_at] != ':') return "a character in the name that none may have";
  if (colon_at != name_size && side == Side::request) return "white space before the colon";
  const std::string_view rest = line.substr(colon_at + 1);
  if (!is_field_text(rest, end)) return "a control character in the value";
  into.name = line.substr(0, name_size);
  into.value = trim_blanks(rest);
  into.is_plain = colon_at == name_size && rest.size() == into.value.size() + 1 &&
                  !into.value.empty() && rest.front() == ' ';
  return nullptr;
}

std::string_view value_in_unread_head(std::string_view text, std::string_view name) {
  std::string_view value;
  bool is_there = false;
  bool is_first = true;  // that of the request
  for (std::size_t end; (end = text.find('\n')) != std::string_view::npos;) {
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) {
      if (is_first) continue;  // before a request they mean nothing
      break;
    }
    if (std::exchange(is_first, false)) continue;
    FieldLine field;
    if (read_field_line(line, Side::request, field) != nullptr || !equal_names(field.name, name))
      continue;
    if (is_there) return {};
    is_there = true;
    value = field.value;
  }
  return value;
}

}  // namespace classgate::proxy::wire
