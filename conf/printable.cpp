#include "conf/printable.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <iterator>

#include "conf/format.h"

namespace classgate::conf {
namespace {

unsigned byte_at(std::string_view text, std::size_t at) {
  return static_cast<unsigned char>(text[at]);
}

int stdout_error = 0;  // of one thread: commands have no other that prints

bool is_plain(char c) { return c >= ' ' && c < 0x7f; }

bool turns_or_breaks_lines(std::uint32_t code) {
  return code == 0x061c || code == 0x200e || code == 0x200f || (code >= 0x2028 && code <= 0x202e) ||
         (code >= 0x2066 && code <= 0x2069);
}

std::string made_printable(std::string_view text, bool keeps_lines) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Character next = first_character(text);
    const std::size_t size = std::max<std::size_t>(next.size, 1);
    if (next.size == 0 || (next.code < 0x80 && !is_plain(text[0])))
      if (keeps_lines && (text[0] == '\n' || text[0] == '\t'))
        out += text[0];
      else if (text[0] == '\n' || text[0] == '\t' || text[0] == '\r')
        out += text[0] == '\n' ? "\\n" : text[0] == '\t' ? "\\t" : "\\r";
      else
        fmt::format_to(std::back_inserter(out), "\\x{:02x}", byte_at(text, 0));
    else if (!is_printable(next))
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", next.code);
    else
      out += text.substr(0, size);
    text.remove_prefix(size);
  }
  return out;
}

}  // namespace

// The shortest form only, no surrogates, at most U+10FFFF (RFC 3629 section 4).
Character first_character(std::string_view text) {
  const unsigned lead = byte_at(text, 0);
  if (lead < 0x80) return {1, lead};
  const std::size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < size) return {};
  std::uint32_t code = lead & (0x7fU >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte_at(text, i) & 0xc0) != 0x80) return {};
    code = code << 6 | (byte_at(text, i) & 0x3f);
  }
  const bool is_too_long = (size == 3 && code < 0x800) || (size == 4 && code < 0x10000);
  if (is_too_long || (code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff) return {};
  return {size, code};
}

bool is_printable(const Character& character) {
  return character.code < 0x80 ? character.code >= ' ' && character.code < 0x7f
                               : character.code >= 0xa0 && !turns_or_breaks_lines(character.code);
}

std::string printable(std::string_view text) {
  // Nearly all is.
  if (is_plain_text(text)) return std::string(text);
  return made_printable(text, false);
}

std::string printable_lines(std::string_view text) { return made_printable(text, true); }

bool is_plain_text(std::string_view text) { return std::ranges::all_of(text, is_plain); }

bool is_utf8_text(std::string_view text) {
  while (!text.empty()) {
    const Character next = first_character(text);
    if (next.size == 0 || next.code == 0) return false;
    text.remove_prefix(next.size);
  }
  return true;
}

void print(std::FILE* to, std::string_view text) {
  const std::string page = printable_lines(text);
  if (std::fwrite(page.data(), 1, page.size(), to) != page.size() && to == stdout)
    stdout_error = errno;
}

int print_error() { return stdout_error; }

}  // namespace classgate::conf
