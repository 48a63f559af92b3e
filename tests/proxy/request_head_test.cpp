#include <doctest/doctest.h>

#include <random>
#include <string>

#include "proxy/wire/lines.h"
#include "tests/proxy/parse.h"

namespace classgate::proxy::wire {
namespace {

constexpr auto request = Parser::Kind::request;

std::string get_with(std::string_view fields) {
  return "GET / HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n";
}
std::string post_with(std::string_view fields) {
  return "POST / HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n";
}

TEST_CASE("a request head means the same wherever the network cuts it") {
  const std::string text =
      "\r\nPOST /v1/classify?a=b HTTP/1.1\r\nHost: api.example:8080\r\nContent-Length: 12\r\n"
      "X-Empty:\r\nX-Padded: \t two words \t \r\nAccept: text/plain, */*\r\nConnection: close\r\n"
      "\r\n";
  const ParsedHead whole = parse(text);
  REQUIRE(whole.progress == Parser::Progress::done);
  CHECK(whole.size == text.size());
  CHECK(whole.line == "POST /v1/classify?a=b");
  CHECK(whole.host == "api.example:8080");
  CHECK(whole.framing == Framing::length);
  CHECK(whole.length == 12);
  CHECK(whole.wants_close);
  REQUIRE(whole.fields.size() == 6);
  CHECK(whole.fields[2] == std::pair<std::string, std::string>{"X-Empty", ""});
  CHECK(whole.fields[3] == std::pair<std::string, std::string>{"X-Padded", "two words"});
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    CAPTURE(cut);
    CHECK(parse_cut(text, cut, request) == whole);
  }
  CHECK(parse_bytewise(text, request) == whole);
}

// Lines of few kinds of bytes, so that all that can be wrong with one comes often, each followed by
// more or less. Seeded: the same ones each time.
TEST_CASE("a line that is read at a glance is read as it is byte by byte") {
  constexpr std::string_view bytes("aZ9-x_:: \t\r\n\x01\x7f\x80\xff~!", 18);
  std::mt19937 random(7);
  const auto some = [&random](std::size_t most) { return std::size_t{random()} % (most + 1); };
  const auto text_of = [&](std::size_t size, std::size_t kinds) {
    std::string text;
    for (std::size_t i = 0; i < size; ++i) text += bytes[some(kinds - 1)];
    return text;
  };
  int at_a_glance = 0;
  for (int i = 0; i < 200'000; ++i) {
    // Mostly right, with one byte of any kind somewhere.
    std::string text = text_of(1 + some(33), 5) + ": " + text_of(1 + some(40), 5) + "\r\n";
    if (some(1) == 0) text[some(text.size() - 1)] = bytes[some(bytes.size() - 1)];
    text += text_of(some(40), bytes.size());
    const PlainLine plain = read_plain_line(text.data(), text.data() + text.size());
    if (plain.name_size == 0) continue;
    ++at_a_glance;
    CAPTURE(text);
    const std::size_t end = text.find('\n');
    REQUIRE(plain.size() == end + 1);
    FieldLine line;
    REQUIRE(text[end - 1] == '\r');
    REQUIRE(read_field_line({text.data(), end - 1}, Side::request, line) == nullptr);
    REQUIRE(line.name == text.substr(0, plain.name_size));
    REQUIRE(line.value == text.substr(plain.name_size + 2, plain.value_size));
    REQUIRE(line.is_plain);
  }
#ifdef __SSE2__
  CHECK(at_a_glance > 20'000);
#endif
}

TEST_CASE("limits of fields are the same for lines that are read at a glance") {
  std::string text = "GET / HTTP/1.1\r\nHost: a.example\r\n";
  for (int i = 0; i < 20; ++i) text += "X-Some-Field: some value\r\n";
  text += "\r\n";
  const std::string followed = text + std::string(64, 'x');
  HeadLimits limits = roomy;
  limits.header_count = 21;
  limits.header_bytes = text.size();
  CHECK(parse(followed, request, limits).progress == Parser::Progress::done);
  limits.header_count = 20;
  CHECK(parse(followed, request, limits).fault == Fault::header_too_large);
  limits.header_count = 21;
  limits.header_bytes = text.size() - 1;
  CHECK(parse(followed, request, limits).fault == Fault::header_too_large);
}

TEST_CASE("of a head that nobody can read the one whole line with a name is found, and no other") {
  const auto origin = [](std::string_view text) { return value_in_unread_head(text, "origin"); };
  CHECK(origin("GET / HTTP/1.1\r\nHost: a\r\nORIGIN:  https://a \r\n\r\n") == "https://a");
  CHECK(origin("\r\nGET / HTTP/9.9\r\nX Y: 1\r\nOrigin: https://a\n") == "https://a");
  CHECK(origin("GET / HTTP/1.1\r\nOrigin: https://a").empty());          // more of it may come
  CHECK(origin("GET / HTTP/1.1\r\n\r\nOrigin: https://a\r\n").empty());  // of its body
  CHECK(origin("GET / HTTP/1.1\r\nOrigin: a\r\nOrigin: b\r\n\r\n").empty());
  CHECK(origin("Origin: https://a\r\n\r\n").empty());  // where the request line should be
  CHECK(origin("GET / HTTP/1.1\r\nOrigin : https://a\r\n\r\n").empty());
  CHECK(origin("").empty());
}

TEST_CASE("a head ends where its empty line ends, whatever follows") {
  const std::string head = post_with("Content-Length: 5\r\n");
  CHECK(parse(head + "hello" + head).size == head.size());
}

TEST_CASE("an unfinished head needs more") {
  CHECK(parse("GET / HTTP/1.1\r\nHost: a\r\n").progress == Parser::Progress::need_more);
  CHECK(parse("").progress == Parser::Progress::need_more);
}

TEST_CASE("framing and connection options are read as RFC 9112 says") {
  CHECK(parse(get_with("")).framing == Framing::none);
  CHECK(parse(post_with("Content-Length: 0\r\n")).framing == Framing::none);
  CHECK(parse(post_with("Content-Length: 007\r\n")).length == 7);
  CHECK(parse(post_with("Transfer-Encoding: chunked\r\n")).framing == Framing::chunked);
  CHECK(parse(post_with("Transfer-Encoding: CHUNKED \r\n")).framing == Framing::chunked);
  CHECK_FALSE(parse(get_with("")).wants_close);
  CHECK(parse(get_with("Connection: keep-alive, Close\r\n")).wants_close);
  CHECK(parse("GET / HTTP/1.0\r\n\r\n").wants_close);
  CHECK_FALSE(parse("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").wants_close);
}

TEST_CASE("an upgrade that is offered changes nothing about where the body ends") {
  const ParsedHead head = parse(
      post_with("Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n"));
  CHECK(head.progress == Parser::Progress::done);
  CHECK(head.framing == Framing::chunked);
}

TEST_CASE("a head that could be read in two ways is refused") {
  std::string many_options;
  for (int n = 0; n < 32; ++n) many_options += ",o" + std::to_string(n);
  struct Row {
    std::string what;
    std::string text;
    Fault fault;
  };
  using namespace std::string_literals;
  const std::string nul = "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"s;
  const std::vector<Row> rows{
      {"a length and chunks", post_with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
       Fault::malformed},
      {"chunks and a length", post_with("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
       Fault::malformed},
      {"two lengths", post_with("Content-Length: 5\r\nContent-Length: 6\r\n"), Fault::malformed},
      {"the same length twice", post_with("Content-Length: 5\r\nContent-Length: 5\r\n"),
       Fault::malformed},
      {"a list of lengths", post_with("Content-Length: 5, 5\r\n"), Fault::malformed},
      {"a signed length", post_with("Content-Length: +5\r\n"), Fault::malformed},
      {"a negative length", post_with("Content-Length: -5\r\n"), Fault::malformed},
      {"a hexadecimal length", post_with("Content-Length: 0x5\r\n"), Fault::malformed},
      {"an empty length", post_with("Content-Length:\r\n"), Fault::malformed},
      {"a length with a blank inside", post_with("Content-Length: 1 2\r\n"), Fault::malformed},
      {"a length beyond 64 bits", post_with("Content-Length: 18446744073709551617\r\n"),
       Fault::malformed},
      {"gzip as transfer coding", post_with("Transfer-Encoding: gzip\r\n"), Fault::malformed},
      {"gzip, then chunked", post_with("Transfer-Encoding: gzip, chunked\r\n"),
       Fault::unknown_coding},
      {"identity", post_with("Transfer-Encoding: identity\r\n"), Fault::malformed},
      {"chunked twice", post_with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
       Fault::malformed},
      {"chunks in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
       Fault::malformed},
      {"a bare LF after a field", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", Fault::malformed},
      {"a bare LF after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", Fault::malformed},
      {"a bare LF as the empty line", "GET / HTTP/1.1\r\nHost: a\r\n\n", Fault::malformed},
      {"a bare LF before the request line", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
       Fault::malformed},
      {"a bare CR in a value", get_with("X: a\rb\r\n"), Fault::malformed},
      {"a folded field", get_with("X: a\r\n b\r\n"), Fault::malformed},
      {"a field line that begins with a blank", "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
       Fault::malformed},
      {"a blank before the colon", get_with("X : a\r\n"), Fault::malformed},
      {"a blank before the colon of a length", post_with("Content-Length : 5\r\n"),
       Fault::malformed},
      {"a field without a name", get_with(": a\r\n"), Fault::malformed},
      {"a first field without a name", "GET / HTTP/1.1\r\n: a\r\nHost: a\r\n\r\n",
       Fault::malformed},
      {"a field without a colon", get_with("X\r\n"), Fault::malformed},
      {"a NUL", nul, Fault::malformed},
      {"no Host", "GET / HTTP/1.1\r\n\r\n", Fault::malformed},
      {"two Hosts", get_with("Host: b\r\n"), Fault::malformed},
      {"HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", Fault::unsupported_version},
      {"the HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Fault::malformed},
      {"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", Fault::unsupported_version},
      {"HTTP/0.9", "GET /\r\n\r\n", Fault::malformed},
      {"another protocol", "DESCRIBE / RTSP/1.0\r\nHost: a\r\n\r\n", Fault::malformed},
      {"one more protocol", "SOURCE / ICE/1.0\r\nHost: a\r\n\r\n", Fault::malformed},
      {"too many connection options", get_with("Connection: a" + many_options + "\r\n"),
       Fault::malformed},
      {"no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", Fault::malformed},
      {"a method of 65 characters", std::string(65, 'M') + " / HTTP/1.1\r\nHost: a\r\n\r\n",
       Fault::unknown_method},
      {"a method that is no token", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", Fault::malformed},
      {"a tab behind the method", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", Fault::malformed},
      {"two spaces behind the method", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Fault::malformed},
      {"a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Fault::malformed},
      {"a tab before the colon of a coding",
       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n", Fault::malformed},
      {"an unknown method of another protocol", "BREW / HTCPCP/1.0\r\nHost: a\r\n\r\n",
       Fault::malformed},
      {"TLS where HTTP is expected", std::string("\x16\x03\x01\x02\x00\x01", 6), Fault::malformed},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    const ParsedHead head = parse(row.text);
    CHECK(head.progress == Parser::Progress::fault);
    CHECK(head.fault == row.fault);
    CHECK(parse_bytewise(row.text, request).fault == row.fault);
  }
}

TEST_CASE("any token is a method, in the case that it has") {
  // Those of the IANA registry that a parser's own list lacks; CONNECT and the rest are tokens too.
  for (const std::string method :
       {"GET", "QUERY", "PATCH", "PROPFIND", "BASELINE-CONTROL", "CHECKIN", "LABEL",
        "MKREDIRECTREF", "MKWORKSPACE", "ORDERPATCH", "UNCHECKOUT", "UPDATE", "UPDATEREDIRECTREF",
        "VERSION-CONTROL", "get", "BREW", "M!#$%&'*+-.^_`|~9", "CONNECT", "PRIOR"}) {
    CAPTURE(method);
    const std::string text = method + " /x HTTP/1.1\r\nHost: a\r\n\r\n";
    CHECK(parse(text).line == method + " /x");
    CHECK(parse_bytewise(text, request).line == method + " /x");
  }
  CHECK(parse(std::string(64, 'M') + " / HTTP/1.1\r\nHost: a\r\n\r\n").fault == Fault::none);
  CHECK(parse(std::string(65, 'M')).fault == Fault::unknown_method);
}

TEST_CASE("tabs around a value say as little as spaces, where the body ends too") {
  CHECK(parse(post_with("Content-Length:\t5\t\r\n")).length == 5);
  CHECK(parse(post_with("Content-Length: \t 5 \t \r\n")).length == 5);
  CHECK(parse(post_with("Transfer-Encoding:\tchunked\t\r\n")).framing == Framing::chunked);
  CHECK(parse(get_with("Connection:\tclose\t\r\n")).wants_close);
  CHECK(parse("GET / HTTP/1.1\r\nHost:\ta\t\r\n\r\n").host == "a");
}

TEST_CASE("a head that is too large is refused before it is complete") {
  const HeadLimits tight{.header_bytes = 200, .header_count = 5, .target_bytes = 50};
  SUBCASE("too many fields") {
    CHECK(parse(get_with("A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n"), request, tight).fault == Fault::none);
    CHECK(parse(get_with("A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: 5\r\n"), request, tight).fault ==
          Fault::header_too_large);
  }
  SUBCASE("too many bytes") {
    const std::string exact = get_with("X: " + std::string(200 - 32, 'a') + "\r\n");
    REQUIRE(exact.size() == 200);
    CHECK(parse(exact, request, tight).progress == Parser::Progress::done);
    const std::string larger = get_with("X: " + std::string(200 - 31, 'a') + "\r\n");
    CHECK(parse(larger, request, tight).fault == Fault::header_too_large);
    CHECK(parse(larger.substr(0, 200), request, tight).fault == Fault::header_too_large);
  }
  SUBCASE("too long a target") {
    const auto with_target = [](std::size_t size) {
      return "GET /" + std::string(size - 1, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n";
    };
    CHECK(parse(with_target(50), request, tight).progress == Parser::Progress::done);
    CHECK(parse(with_target(51), request, tight).fault == Fault::target_too_long);
    CHECK(parse("GET /" + std::string(50, 'a'), request, tight).fault == Fault::target_too_long);
  }
}

TEST_CASE("a parser that has read many fields keeps to a limit that was lowered since") {
  const auto head_of = [](int fields) {
    std::string text = "GET / HTTP/1.1\r\nHost: a\r\n";
    for (int i = 1; i < fields; ++i) text += "A: b\r\n";
    return text + "\r\n";
  };
  Parser parser;
  parser.begin(Parser::Kind::request, roomy);
  CHECK(parser.parse_head(head_of(100)) == Parser::Progress::done);
  HeadLimits fewer = roomy;
  fewer.header_count = 20;
  parser.begin(Parser::Kind::request, fewer);
  CHECK(parser.parse_head(head_of(21)) == Parser::Progress::fault);
  CHECK(parser.fault() == Fault::header_too_large);
  parser.begin(Parser::Kind::request, fewer);
  CHECK(parser.parse_head(head_of(20)) == Parser::Progress::done);
  CHECK(parser.head().fields.size() == 20);
  parser.begin(Parser::Kind::request, roomy);
  CHECK(parser.parse_head(head_of(101)) == Parser::Progress::fault);
}

TEST_CASE("expectations: 100-continue is known, in HTTP/1.0 it is ignored, others are noted") {
  Parser parser;
  const auto head_of = [&](const std::string& text) -> const Head& {
    parser.begin(request, roomy);
    REQUIRE(parser.parse_head(text) == Parser::Progress::done);
    return parser.head();
  };
  const std::string continued = post_with("Content-Length: 5\r\nExpect: 100-Continue\r\n");
  CHECK(head_of(continued).expects_continue);
  CHECK_FALSE(parser.head().expects_other);
  const std::string other = post_with("Content-Length: 5\r\nExpect: a-miracle\r\n");
  CHECK(head_of(other).expects_other);
  const std::string old =
      "POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
  CHECK_FALSE(head_of(old).expects_continue);
}

}  // namespace
}  // namespace classgate::proxy::wire
