#include "gateway/clients/base64.h"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

namespace classgate::gateway {
namespace {

std::string bytes_in(std::string_view text, const Base64Digits& digits) {
  std::string bytes;
  const bool is_whole = each_base64_byte(text, digits, [&bytes](char byte) {
    bytes += byte;
    return true;
  });
  return is_whole ? bytes : bytes + "...";
}

TEST_CASE("text in base64 is read in its own alphabet, and in the one way it is written") {
  CHECK(bytes_in("", base64) == "");
  CHECK(bytes_in("Zm9vYmFy", base64) == "foobar");  // RFC 4648 section 10
  CHECK(bytes_in("Zm9vYmE", base64) == "fooba");
  CHECK(bytes_in("Zm9vYg", base64) == "foob");
  CHECK(bytes_in("+/+/", base64) == "\xfb\xff\xbf");
  CHECK(bytes_in("-_-_", base64url) == "\xfb\xff\xbf");
  CHECK(bytes_in("-_-_", base64) == "...");
  CHECK(bytes_in("+/+/", base64url) == "...");
  CHECK(bytes_in("Zm9vYg==", base64) == "foob...");  // padding
  CHECK(bytes_in("Zm9vYh", base64) == "foob...");    // bits that mean nothing
  CHECK(bytes_in("Zm9vA", base64) == "foo...");      // no whole byte
  CHECK(bytes_in("Zm9v Yg", base64) == "foo...");
  CHECK(bytes_in(std::string_view("Zm9v\0YmFy", 9), base64) == "foo...");
  CHECK(bytes_in("Zm9v\xff", base64) == "foo...");
}

TEST_CASE("who takes bytes of base64 ends it") {
  std::string taken;
  CHECK_FALSE(each_base64_byte("YTpi***", base64, [&taken](char byte) {
    taken += byte;
    return byte != ':';
  }));
  CHECK(taken == "a:");
}

}  // namespace
}  // namespace classgate::gateway
