#include "proxy/wire/lines.h"

#include <algorithm>
#include <array>

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

// Without an early end: the compiler looks at many bytes at a time.
bool is_field_text(std::string_view text) {
  unsigned is_wrong = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    is_wrong |= static_cast<unsigned>(byte < 0x20) & static_cast<unsigned>(byte != '\t');
    is_wrong |= static_cast<unsigned>(byte == 0x7f);
  }
  return is_wrong == 0;
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
