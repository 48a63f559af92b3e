#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace classgate::conf {

struct Character {
  std::size_t size = 0;  // in bytes
  std::uint32_t code = 0;
};
// The first of a text that is not empty, in UTF-8 (RFC 3629). Size 0: its first byte is part of
// none.
Character first_character(std::string_view text);
// It is no control character, and turns or breaks no line.
bool is_printable(const Character& character);

// Text that somebody else wrote (names of files and servers, fields, paths, values, DNS), made fit
// for a log, a metric, a page or a terminal: valid UTF-8 (RFC 3629) without control characters
// (C0, DEL, C1) and without those that turn or break lines (U+2028, U+2029, bidirectional
// controls). What is unfit becomes \n, \t, \r, \xHH (a byte) or \uHHHH (a character); everything
// else stays, so that doing it twice changes nothing. Any thread.
std::string printable(std::string_view text);
// As printable(), but line feeds and tabs stay: for a page of several lines.
std::string printable_lines(std::string_view text);
// Whether it is ASCII that can be printed: printable() leaves it as it is.
bool is_plain_text(std::string_view text);
// Whether the text is valid UTF-8 without NUL.
bool is_utf8_text(std::string_view text);

// To a terminal, or wherever the stream goes: printable_lines(). What can't be written ferror(3)
// tells; nothing is thrown, also where standard error is full.
void print(std::FILE* to, std::string_view text);
// Why the last of these that did not go to standard output whole did not: errno, or 0.
int print_error();

}  // namespace classgate::conf
