#include "conf/printable.h"

#include <doctest/doctest.h>

#include <algorithm>

namespace classgate::conf {
namespace {

bool has_control(std::string_view text) {
  return std::ranges::any_of(
      text, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; });
}

TEST_CASE("every byte, and every pair of bytes, is made printable, and once is enough") {
  for (int first = 0; first < 256; ++first)
    for (int second = 0; second < 256; ++second) {
      const std::string text{'a', static_cast<char>(first), static_cast<char>(second), 'z'};
      const std::string shown = printable(text);
      CAPTURE(first);
      CAPTURE(second);
      REQUIRE(is_utf8_text(shown));
      REQUIRE_FALSE(has_control(shown));
      REQUIRE_FALSE((shown.contains("\xc2\x80") || shown.contains("\xc2\x9b")));
      REQUIRE(printable(shown) == shown);
    }
}

TEST_CASE("what is fit stays as it is") {
  for (const std::string text :
       {"", "plain \\ \"text\"", "caf\xc3\xa9", "\xe6\xbc\xa2", "\xf0\x9f\x99\x82"}) {
    CHECK(printable(text) == text);
    CHECK(printable_lines(text) == text);
    CHECK(is_utf8_text(text));
  }
}

TEST_CASE("what is unfit is named") {
  CHECK(printable("caf\xe9.conf") == "caf\\xe9.conf");
  CHECK(printable("\x1b[31m\a\x7f") == "\\x1b[31m\\x07\\x7f");
  CHECK(printable("a\nb\tc\r") == "a\\nb\\tc\\r");
  CHECK(printable_lines("a\nb\tc\r") == "a\nb\tc\\r");
  CHECK(printable(std::string_view("\0", 1)) == "\\x00");
  CHECK(printable("\xc2\x9b"
                  "31m") == "\\u009b31m");  // CSI in one character
  CHECK(printable("\xe2\x80\xae"
                  "fdp.exe") == "\\u202efdp.exe");  // turns what follows round
}

TEST_CASE("only the shortest form of a character that exists is UTF-8 (RFC 3629)") {
  for (const std::string_view wrong :
       {"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf5",
        "\x80", "\xc3", "\xe2\x82", "\xf0\x9f\x99"}) {
    CAPTURE(wrong);
    CHECK_FALSE(is_utf8_text(wrong));
    CHECK(is_utf8_text(printable(wrong)));
  }
  CHECK_FALSE(is_utf8_text(std::string_view("a\0b", 3)));
}

}  // namespace
}  // namespace classgate::conf
