#include "proxy/wire/lines.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

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
  while (size < text.size() && is_token_char(text[size])) ++size;
  return size;
}

std::string_view trim_blanks(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

namespace {

// The highest bit of each byte that must not be in a field's text: controls but the tab, and DEL.
// Exact for each byte: no sum carries into the next.
std::uint64_t wrong_bytes(std::uint64_t text) {
  constexpr std::uint64_t each = 0x0101010101010101;
  constexpr std::uint64_t low = 0x7f * each;
  const auto is_zero = [](std::uint64_t x) { return ~(((x & low) + low) | x); };
  const std::uint64_t is_control = ~(((text & low) + 0x60 * each) | text);
  return ((is_control & ~is_zero(text ^ '\t' * each)) | is_zero(text ^ low)) & 0x80 * each;
}

std::uint64_t load(const char* from, std::size_t size = 8) {
  std::uint64_t text = 0x2020202020202020;
  std::memcpy(&text, from, size);
  return text;
}

}  // namespace

// Eight bytes at a time; the last eight may be looked at twice.
bool is_field_text(std::string_view text) {
  if (text.empty()) return true;
  if (text.size() < 8) return wrong_bytes(load(text.data(), text.size())) == 0;
  std::uint64_t wrong = 0;
  for (std::size_t at = 0; at + 8 < text.size(); at += 8) wrong |= wrong_bytes(load(&text[at]));
  return (wrong | wrong_bytes(load(text.data() + text.size() - 8))) == 0;
}

const char* read_field_line(std::string_view line, Side side, FieldLine& into) {
  const std::size_t name_size = token_size(line);
  if (name_size == 0)
    return !line.empty() && is_blank(line.front()) ? "it goes on with the line before (obs-fold)"
                                                   : "no field name";
  std::size_t colon_at = name_size;
  while (colon_at < line.size() && is_blank(line[colon_at])) ++colon_at;
  if (colon_at == line.size()) return "no colon";
  if (line[colon_at] != ':') return "a character in the name that none may have";
  if (colon_at != name_size && side == Side::request) return "white space before the colon";
  const std::string_view rest = line.substr(colon_at + 1);
  if (!is_field_text(rest)) return "a control character in the value";
  into.name = line.substr(0, name_size);
  into.value = trim_blanks(rest);
  into.is_plain = colon_at == name_size && rest.size() == into.value.size() + 1 &&
                  !into.value.empty() && rest.front() == ' ';
  return nullptr;
}

}  // namespace classgate::proxy::wire
