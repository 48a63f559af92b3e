#include <doctest/doctest.h>

#include "tests/proxy/parse.h"

namespace classgate::proxy::wire {
namespace {

const std::string chunked_head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

struct Decoded {
  Parser::Progress progress = Parser::Progress::need_more;
  Fault fault = Fault::none;
  std::string body;
  std::size_t consumed = 0;
  std::vector<std::pair<std::string, std::string>> trailers;
  bool operator==(const Decoded&) const = default;
};

// Hands the parts over one after the other, each from memory of its own.
Decoded decode(const std::vector<std::string>& parts, const HeadLimits& limits = roomy) {
  Parser parser;
  parser.begin(Parser::Kind::request, limits);
  REQUIRE(parser.parse_head(chunked_head) == Parser::Progress::done);
  Decoded result;
  for (const std::string& part : parts) {
    result.progress = parser.parse_chunked(part);
    for (const std::string_view span : parser.spans()) result.body += span;
    if (result.progress == Parser::Progress::fault) break;
    result.consumed += parser.consumed();
    if (result.progress == Parser::Progress::done) break;
  }
  result.fault = parser.fault();
  if (result.progress == Parser::Progress::done)
    for (const Parser::Trailer& trailer : parser.trailers())
      result.trailers.emplace_back(trailer.name, trailer.value);
  return result;
}

std::vector<std::string> bytes_of(const std::string& text) {
  std::vector<std::string> bytes;
  for (const char c : text) bytes.emplace_back(1, c);
  return bytes;
}

TEST_CASE("a chunked body means the same wherever the network cuts it") {
  const std::string text =
      "5\r\nhello\r\n0000b;name=value\r\n, world of \r\n1\r\n!\r\n0\r\n"
      "X-Sum: abc\r\nX-Empty:\r\nX-Last: two words\r\n\r\n";
  const Decoded whole = decode({text});
  REQUIRE(whole.progress == Parser::Progress::done);
  CHECK(whole.body == "hello, world of !");
  CHECK(whole.consumed == text.size());
  REQUIRE(whole.trailers.size() == 3);
  CHECK(whole.trailers[0] == std::pair<std::string, std::string>{"X-Sum", "abc"});
  CHECK(whole.trailers[1] == std::pair<std::string, std::string>{"X-Empty", ""});
  CHECK(whole.trailers[2] == std::pair<std::string, std::string>{"X-Last", "two words"});
  for (std::size_t cut = 1; cut < text.size(); ++cut) {
    CAPTURE(cut);
    CHECK(decode({text.substr(0, cut), text.substr(cut)}) == whole);
  }
  CHECK(decode(bytes_of(text)) == whole);
}

TEST_CASE("a chunked body ends with its last CRLF and leaves the next message alone") {
  const Decoded decoded = decode({"3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n"});
  CHECK(decoded.progress == Parser::Progress::done);
  CHECK(decoded.consumed == std::string("3\r\nabc\r\n0\r\n\r\n").size());
}

TEST_CASE("chunks of an upgradeable request are decoded all the same") {
  Parser parser;
  parser.begin(Parser::Kind::request, roomy);
  const std::string head =
      "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
      "Transfer-Encoding: chunked\r\n\r\n";
  REQUIRE(parser.parse_head(head) == Parser::Progress::done);
  const std::string body = "3\r\nabc\r\n0\r\n\r\n";
  CHECK(parser.parse_chunked(body) == Parser::Progress::done);
  REQUIRE(parser.spans().size() == 1);
  CHECK(parser.spans()[0] == "abc");
}

TEST_CASE("several chunk extensions are passed over, with white space around them") {
  const std::string text =
      "1;a=b;c\r\nx\r\n1 \t; a = \"d;\te\" ;f\t=\tg\t\r\ny\r\n0;h;i=\"\"\r\n\r\n";
  const Decoded whole = decode({text});
  REQUIRE(whole.progress == Parser::Progress::done);
  CHECK(whole.body == "xy");
  CHECK(whole.consumed == text.size());
  CHECK(decode(bytes_of(text)) == whole);
}

TEST_CASE("a chunked body that could be read in two ways is refused") {
  const std::string nul_trailer("0\r\nX: a\0b\r\n\r\n", 14);
  for (const std::string& text : {
           std::string("x\r\n"),
           std::string("-1\r\n"),
           std::string("+1\r\na\r\n"),
           std::string("0x1\r\na\r\n"),
           std::string(" 1\r\na\r\n"),
           std::string("1 \r\na\r\n"),
           std::string("1\t\r\na\r\n"),
           std::string("1 2;a\r\na\r\n"),
           std::string("1;a\rb\r\na\r\n"),
           std::string("1;a\x7f\r\na\r\n"),
           std::string("1;a\x01\r\na\r\n"),
           std::string("0\r\nContent-Length: 1\r\n\r\n"),
           std::string("0\r\nTransfer-Encoding: chunked\r\n\r\n"),
           std::string("\r\n"),
           std::string(";a\r\n"),
           std::string("1\na\r\n0\r\n\r\n"),
           std::string("1\r\na\n0\r\n\r\n"),
           std::string("1\r\nab\r\n0\r\n\r\n"),
           std::string("1\rXa\r\n"),
           std::string("2;a\nX\r\n"),
           std::string("2;a\rX\r\n"),
           std::string("fffffffffffffffff\r\n"),
           std::string("10000000000000000\r\n"),
           std::string("0\r\n\n"),
           std::string("0\n\r\n"),
           std::string("0\r\nX: a\nY: b\r\n\r\n"),
           std::string("0\r\nX: a\rb\r\n\r\n"),
           std::string("0\r\nX: a\r\n folded\r\n\r\n"),
           std::string("0\r\n X: a\r\n\r\n"),
           std::string("0\r\nX : a\r\n\r\n"),
           std::string("0\r\n: a\r\n\r\n"),
           std::string("0\r\nX: a\r\n: b\r\n\r\n"),
           std::string("0\r\nX: a\r\n\n"),
           std::string("0\r\nno colon\r\n\r\n"),
           nul_trailer,
       }) {
    CAPTURE(text);
    CHECK(decode({text}).progress == Parser::Progress::fault);
    CHECK(decode({text}).fault == Fault::malformed);
    CHECK(decode(bytes_of(text)).progress == Parser::Progress::fault);
  }
}

TEST_CASE("trailers are held to the limits of a head") {
  const HeadLimits tight{.header_bytes = 100, .header_count = 3, .target_bytes = 50};
  CHECK(decode({"0\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n"}, tight).progress == Parser::Progress::done);
  CHECK(decode({"0\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n"}, tight).fault ==
        Fault::header_too_large);
  CHECK(decode({"0\r\nA: " + std::string(100, 'a')}, tight).fault == Fault::header_too_large);
}

}  // namespace
}  // namespace classgate::proxy::wire
