#include "gateway/quoted.h"

#include <algorithm>
#include <cstdint>

#include "conf/printable.h"

namespace classgate::gateway {
namespace {

void append_escape(std::string& out, std::uint32_t code) {  // below U+10000
  constexpr std::string_view hex = "0123456789abcdef";
  out += "\\u";
  for (const int shift : {12, 8, 4, 0}) out += hex[code >> shift & 15];
}

// What is not shown as itself. By the character only where that cannot be taken for a byte.
void append_escaped(std::string& out, std::string_view bytes, std::uint32_t code) {
  if (code >= 0x100) return append_escape(out, code);
  for (const char c : bytes) append_escape(out, static_cast<unsigned char>(c));
}

}  // namespace

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const auto byte = static_cast<unsigned char>(text.front());
    std::size_t size = 1;
    if (byte == '"' || byte == '\\') {
      out += '\\';
      out += text.front();
    } else if (byte >= 0x20 && byte < 0x7f) {
      out += text.front();
    } else {
      const conf::Character character = conf::first_character(text);
      size = std::max<std::size_t>(character.size, 1);
      if (character.size > 0 && conf::is_printable(character))
        out += text.substr(0, size);
      else
        append_escaped(out, text.substr(0, size), character.code);
    }
    text.remove_prefix(size);
  }
  out += '"';
}

}  // namespace classgate::gateway
