#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace classgate::proxy::wire {

// The grammar of single lines (RFC 9110 sections 5.5, 5.6.2; RFC 9112 sections 2 to 5). A line is
// given without its CRLF. Any thread.

bool is_token_char(char c);
// How many of these `text` begins with.
std::size_t token_size(std::string_view text);
std::string_view trim_blanks(std::string_view text);
// No control character but tabs: no NUL, CR, LF, DEL.
bool is_field_text(std::string_view text);
// What a Content-Length says: nothing but digits, so few that they fit.
bool read_length(std::string_view text, std::uint64_t& length);

enum class Side : std::uint8_t { request, answer };

// "name: value", with white space around the value that says nothing.
struct FieldLine {
  std::string_view name;
  std::string_view value;
  bool is_plain = false;  // a colon, a space and the value, nothing else
};
// Null, or what is wrong, for an operator. White space before the colon is removed from an answer's
// line, and wrong in a request's (RFC 9112 section 5.1).
// The bytes behind the line, up to `end`, may be looked at with it; they change nothing.
const char* read_field_line(std::string_view line, Side side, FieldLine& into, const char* end);
inline const char* read_field_line(std::string_view line, Side side, FieldLine& into) {
  return read_field_line(line, side, into, line.data() + line.size());
}

// A field line as most are, with its CRLF: a name of letters, digits and '-', a colon, a space, and
// a value of printable ASCII without a blank at its ends. Sizes of 0: `at` does not begin one, or
// too few bytes follow before `end` to tell so fast; then read_field_line() tells.
struct PlainLine {
  std::size_t name_size = 0;
  std::size_t value_size = 0;
  static constexpr std::size_t between = 2;  // colon and space; as much as its end has
  std::size_t size() const { return name_size + between + value_size + between; }
};
PlainLine read_plain_line(const char* at, const char* end);

// Of the head of a request that nobody can read, or of which not all has come: the value of the one
// line that has this name, as far as its lines are whole; empty: there is none, or more. Good for
// nothing that anybody is let in by.
std::string_view value_in_unread_head(std::string_view text, std::string_view name);

}  // namespace classgate::proxy::wire
