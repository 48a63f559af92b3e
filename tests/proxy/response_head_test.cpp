#include <doctest/doctest.h>

#include "tests/proxy/parse.h"

namespace classgate::proxy::wire {
namespace {

constexpr auto response = Parser::Kind::response;

TEST_CASE("an answer's head means the same wherever the network cuts it") {
  const std::string text =
      "HTTP/1.1 404 Not Here at All\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n"
      "X-Empty: \r\nConnection: close\r\n\r\n";
  const ParsedHead whole = parse(text, response);
  REQUIRE(whole.progress == Parser::Progress::done);
  CHECK(whole.line == "404 Not Here at All");
  CHECK(whole.framing == Framing::length);
  CHECK(whole.length == 3);
  CHECK(whole.wants_close);
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    CAPTURE(cut);
    CHECK(parse_cut(text, cut, response) == whole);
  }
  CHECK(parse_bytewise(text, response) == whole);
}

TEST_CASE("an answer without a length goes on until its connection closes") {
  CHECK(parse("HTTP/1.1 200 OK\r\n\r\n", response).framing == Framing::until_close);
  CHECK(parse("HTTP/1.1 200\r\n\r\n", response).line == "200 ");
  CHECK(parse("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", response).wants_close);
}

TEST_CASE("what has no body by definition has none, whatever it says") {
  Parser parser;
  const auto framing_of = [&](const std::string& text, bool request_was_head) {
    parser.begin(response, roomy);
    REQUIRE(parser.parse_head(text) == Parser::Progress::done);
    return response_framing(parser.head(), request_was_head);
  };
  CHECK(framing_of("HTTP/1.1 204 No Content\r\n\r\n", false) == Framing::none);
  CHECK(framing_of("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false) ==
        Framing::none);
  CHECK(framing_of("HTTP/1.1 103 Early Hints\r\n\r\n", false) == Framing::none);
  CHECK(framing_of("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true) == Framing::none);
  CHECK(framing_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true) == Framing::none);
  CHECK(framing_of("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", false) == Framing::length);
}

TEST_CASE("white space before the colon of an answer's field is removed") {
  const std::string text =
      "HTTP/1.1 200 OK\r\nContent-Length : 3\r\nX \t: a\r\nTransfer\t: b\r\n\r\n";
  const ParsedHead head = parse(text, response);
  REQUIRE(head.progress == Parser::Progress::done);
  CHECK(head.length == 3);
  CHECK(head.framing == Framing::length);
  CHECK(head.fields[1] == std::pair<std::string, std::string>{"X", "a"});
  CHECK(head.fields[2] == std::pair<std::string, std::string>{"Transfer", "b"});
  CHECK(parse_bytewise(text, response) == head);
  CHECK(parse("HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n", response).framing ==
        Framing::chunked);
}

TEST_CASE("what is wrong with an answer is told with its line") {
  const auto why = [](const std::string& text) {
    Parser parser;
    parser.begin(response, roomy);
    REQUIRE(parser.parse_head(text) == Parser::Progress::fault);
    return parser.why();
  };
  CHECK(why("HTTP/1.1 200 OK\r\nA: b\r\nX Y: 1\r\n\r\n") ==
        "line 3 \"X Y: 1\": a character in the name that none may have");
  CHECK(why("HTTP/1.1 OK\r\n\r\n") == "line 1 \"HTTP/1.1 OK\": it is no status line");
  CHECK(why("HTTP/1.1 200 OK\r\nA: \x1b[2J\r\n\r\n") ==
        "line 2 \"A: \\x1b[2J\": a control character in the value");
  CHECK(why("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n") ==
        "more than one Content-Length");
  const std::string long_line(10'000, 'x');
  CHECK(why("HTTP/1.1 200 OK\r\n" + long_line + "\r\n\r\n").size() < 200);
}

TEST_CASE("nonsense instead of an answer is a fault") {
  for (const std::string text : {
           "hello\r\n\r\n",
           "HTTP/1.1 99 Low\r\n\r\n",
           "HTTP/1.1 600 High\r\n\r\n",
           "HTTP/1.1 2000 Long\r\n\r\n",
           "HTTP/1.1 abc\r\n\r\n",
           "HTTP/2.0 200 OK\r\n\r\n",
           "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
           "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
           "HTTP/1.1 200 OK\r\nContent-Length: nine\r\n\r\n",
           "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
           "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n",
           "HTTP/1.1 200 OK\nX: a\n\n",
           "HTTP/1.1 200 O\rK\r\n\r\n",
       }) {
    CAPTURE(text);
    CHECK(parse(text, response).progress == Parser::Progress::fault);
    CHECK(parse_bytewise(text, response).progress == Parser::Progress::fault);
  }
}

}  // namespace
}  // namespace classgate::proxy::wire
