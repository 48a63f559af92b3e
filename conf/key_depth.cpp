#include "conf/key_depth.h"

namespace classgate::conf {
namespace {

// Behind a string that begins here; one that does not end takes its line, or with three quotes all.
std::size_t behind_string(std::string_view text, std::size_t at) {
  const char quote = text[at];
  const bool is_basic = quote == '"';
  const std::string_view three = text.substr(at, 3);
  const bool is_long = three.size() == 3 && three[1] == quote && three[2] == quote;
  at += is_long ? 3 : 1;
  while (at < text.size()) {
    if (is_basic && text[at] == '\\') {
      at += 2;
    } else if (!is_long && text[at] == '\n') {
      return at;
    } else if (text[at] != quote) {
      ++at;
    } else if (!is_long) {
      return at + 1;
    } else if (text.substr(at, 3) == three) {
      return at + 3;
    } else {
      ++at;
    }
  }
  return text.size();
}

bool is_of_key(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_' || c == ' ' || c == '\t' || static_cast<unsigned char>(c) >= 0x80;
}

}  // namespace

std::optional<std::uint32_t> line_of_deep_key(std::string_view text) {
  std::uint32_t line = 1;
  std::size_t parts = 1;
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c == '"' || c == '\'') {
      const std::size_t end = behind_string(text, at);
      for (; at < end && at < text.size(); ++at) line += text[at] == '\n' ? 1U : 0U;
      continue;
    }
    if (c == '#') {
      at = text.find('\n', at);
      if (at == std::string_view::npos) break;
      continue;
    }
    if (c == '.') {
      if (++parts > key_parts_max) return line;
    } else if (!is_of_key(c)) {
      parts = 1;
      line += c == '\n' ? 1U : 0U;
    }
    ++at;
  }
  return std::nullopt;
}

}  // namespace classgate::conf
