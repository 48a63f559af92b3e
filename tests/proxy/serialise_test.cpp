#include "proxy/wire/serialise.h"

#include <doctest/doctest.h>

#include <iterator>
#include <random>

#include "tests/proxy/parse.h"

namespace classgate::proxy::wire {
namespace {

std::string forwarded_with(const std::string& text, const RequestFacts& facts) {
  Parser parser;
  parser.begin(Parser::Kind::request, roomy);
  REQUIRE(parser.parse_head(text) == Parser::Progress::done);
  std::string out;
  append_request_head(out, parser.head(), facts);
  return out;
}

std::string forwarded(const std::string& text, std::string_view host = "api.example") {
  return forwarded_with(
      text, {.target = "/path", .host = host, .client = "192.0.2.7", .request_id = "id1"});
}

std::string forwarded_for_proxy(const std::string& text, std::string_view proxy) {
  return forwarded_with(text, {.target = "/path",
                               .host = "api.example",
                               .client = proxy,
                               .request_id = "id1",
                               .sender_is_trusted = true});
}

std::string answered(const std::string& text, const AnswerFacts& facts) {
  Parser parser;
  parser.begin(Parser::Kind::response, roomy);
  REQUIRE(parser.parse_head(text) == Parser::Progress::done);
  std::string out;
  append_answer_head(out, parser.head(), facts);
  return out;
}

TEST_CASE("a request is written anew: its own fields, one Host, and who it came from") {
  CHECK(forwarded("GET /x HTTP/1.1\r\nHost: other\r\nAccept: */*\r\nx-token: a b\r\n\r\n") ==
        "GET /path HTTP/1.1\r\n"
        "Host: api.example\r\n"
        "Accept: */*\r\n"
        "x-token: a b\r\n"
        "X-Forwarded-For: 192.0.2.7\r\n"
        "X-Forwarded-Proto: http\r\n"
        "X-Forwarded-Host: api.example\r\n"
        "Via: 1.1 classgate\r\n"
        "X-Request-Id: id1\r\n");
}

TEST_CASE("what belongs to the client's connection, or to framing, does not go on") {
  const std::string out = forwarded(
      "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n"
      "Connection: keep-alive, X-Private\r\nconnection: x-more\r\nX-Private: 1\r\nX-MORE: 2\r\n"
      "Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nUpgrade: h2c\r\n"
      "X-Kept: 3\r\n\r\n");
  CHECK(out ==
        "POST /path HTTP/1.1\r\n"
        "Host: api.example\r\n"
        "X-Kept: 3\r\n"
        "X-Forwarded-For: 192.0.2.7\r\n"
        "X-Forwarded-Proto: http\r\n"
        "X-Forwarded-Host: api.example\r\n"
        "Via: 1.1 classgate\r\n"
        "X-Request-Id: id1\r\n");
}

TEST_CASE("each field that stays is one line, however it was spaced and whatever stood beside it") {
  constexpr unsigned seed = 20261126;
  CAPTURE(seed);
  std::mt19937 random(seed);
  const auto one_of = [&](const auto& choices) { return choices[random() % std::size(choices)]; };
  constexpr std::string_view names[] = {"Accept",  "x-a",        "TE",
                                        "Via-Not", "Keep-Alive", "X-Real-IP"};
  constexpr std::string_view values[] = {"", "1", "a b", "\"x: y\"", "caf\xc3\xa9"};
  constexpr std::string_view before[] = {" ", " ", " ", "", "  ", "\t"};
  constexpr std::string_view behind[] = {"", "", "", " ", "\t "};
  for (int round = 0; round < 2000; ++round) {
    std::string head = "GET /x HTTP/1.1\r\nHost: a\r\n", stay;
    for (std::size_t count = random() % 8; count > 0; --count) {
      const std::string_view name = one_of(names), value = one_of(values);
      head.append(name).append(":").append(one_of(before)).append(value).append(one_of(behind));
      head.append("\r\n");
      if (name == "Accept" || name == "x-a" || name == "Via-Not")
        stay.append(name).append(": ").append(value).append("\r\n");
    }
    CAPTURE(head);
    REQUIRE(forwarded(head + "\r\n") ==
            "GET /path HTTP/1.1\r\nHost: api.example\r\n" + stay +
                "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\n"
                "X-Forwarded-Host: api.example\r\nVia: 1.1 classgate\r\nX-Request-Id: id1\r\n");
  }
}

TEST_CASE("earlier proxies stay in Via, the client's claims about itself do not") {
  const std::string out = forwarded(
      "GET /x HTTP/1.0\r\nVia: 1.1 first\r\nX-Forwarded-For: 10.0.0.1\r\n"
      "x-forwarded-for: 10.0.0.2, 10.0.0.3\r\nVia: 1.0 second\r\nX-Forwarded-Host: evil\r\n"
      "X-Forwarded-Proto: gopher\r\nX-Request-Id: theirs\r\n\r\n",
      "");
  CHECK(out ==
        "GET /path HTTP/1.1\r\n"
        "X-Forwarded-For: 192.0.2.7\r\n"
        "X-Forwarded-Proto: http\r\n"
        "Via: 1.1 first, 1.0 second, 1.0 classgate\r\n"
        "X-Request-Id: id1\r\n");
}

TEST_CASE("what a stranger says of where it came from does not go on, however it is spelt") {
  CHECK(forwarded("GET /x HTTP/1.1\r\nHost: a\r\nForwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\n"
                  "X-Forwarded-Port: 1\r\nx-forwarded-server: b\r\nX_Forwarded_Prefix: /c\r\n"
                  "X-Real_IP: 1.2.3.4\r\nX-Forwarded: kept\r\n\r\n") ==
        "GET /path HTTP/1.1\r\n"
        "Host: api.example\r\n"
        "X-Forwarded: kept\r\n"
        "X-Forwarded-For: 192.0.2.7\r\n"
        "X-Forwarded-Proto: http\r\n"
        "X-Forwarded-Host: api.example\r\n"
        "Via: 1.1 classgate\r\n"
        "X-Request-Id: id1\r\n");
}

TEST_CASE("what a trusted proxy says of its client goes on, and the lists grow") {
  CHECK(forwarded_for_proxy(
            "GET /x HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.1\r\n"
            "x-forwarded-for: 10.0.0.2, 10.0.0.3\r\nForwarded: for=10.0.0.1\r\n"
            "Forwarded: for=\"[2001:db8::1]\"\r\nX-Forwarded-Proto: https\r\n"
            "X-Forwarded-Host: outer.example\r\nX-Forwarded-Port: 443\r\nX-Real-IP: 10.0.0.1\r\n"
            "X-Forwarded-Proto: second\r\n\r\n",
            "2001:db8::7") ==
        "GET /path HTTP/1.1\r\n"
        "Host: api.example\r\n"
        "X-Forwarded-Port: 443\r\n"
        "X-Real-IP: 10.0.0.1\r\n"
        "X-Forwarded-For: 10.0.0.1, 10.0.0.2, 10.0.0.3, 2001:db8::7\r\n"
        "Forwarded: for=10.0.0.1, for=\"[2001:db8::1]\", "
        "for=\"[2001:db8::7]\";proto=http;host=\"api.example\"\r\n"
        "X-Forwarded-Proto: https\r\n"
        "X-Forwarded-Host: outer.example\r\n"
        "Via: 1.1 classgate\r\n"
        "X-Request-Id: id1\r\n");
}

TEST_CASE("an answer is written anew, with the framing this client gets") {
  const std::string upstream =
      "HTTP/1.0 201 Made It\r\nServer: s\r\nContent-Length: 5\r\nConnection: close, X-Hop\r\n"
      "X-Hop: 1\r\nKeep-Alive: 5\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n";
  CHECK(answered(upstream, {.framing = Framing::length,
                            .content_length = 5,
                            .says_length = true,
                            .request_id = "id1",
                            .date = "today"}) ==
        "HTTP/1.1 201 Made It\r\nServer: s\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"
        "Via: 1.0 classgate\r\nDate: today\r\nX-Request-Id: id1\r\nContent-Length: 5\r\n\r\n");
  CHECK(answered(
            upstream,
            {.framing = Framing::chunked, .close = true, .request_id = "id1", .date = "today"}) ==
        "HTTP/1.1 201 Made It\r\nServer: s\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"
        "Via: 1.0 classgate\r\nDate: today\r\nX-Request-Id: id1\r\nConnection: close\r\n"
        "Transfer-Encoding: chunked\r\n\r\n");
  CHECK(answered(upstream, {.says_keep_alive = true, .request_id = "id1", .date = "today"})
            .ends_with("\r\nConnection: keep-alive\r\n\r\n"));
}

TEST_CASE("the upstream's own date stays") {
  const std::string out =
      answered("HTTP/1.1 200 OK\r\ndate: theirs\r\n\r\n", {.request_id = {}, .date = "today"});
  CHECK(out.find("theirs") != std::string::npos);
  CHECK(out.find("today") == std::string::npos);
}

TEST_CASE("the upstream's own request id stays") {
  const std::string out = answered("HTTP/1.1 200 OK\r\nX-Request-ID: theirs\r\n\r\n",
                                   {.request_id = "id1", .date = "today"});
  CHECK(out.find("theirs") != std::string::npos);
  CHECK(out.find("id1") == std::string::npos);
}

TEST_CASE("an interim answer goes on with its fields and without framing") {
  Parser parser;
  parser.begin(Parser::Kind::response, roomy);
  const std::string text =
      "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\nContent-Length: 0\r\n\r\n";
  REQUIRE(parser.parse_head(text) == Parser::Progress::done);
  std::string out;
  append_interim_head(out, parser.head());
  CHECK(out == "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
}

TEST_CASE("chunks and trailers are written as RFC 9112 section 7.1 says") {
  std::string out;
  append_chunk_size(out, 0x1f00);
  CHECK(out == "1f00\r\n");
  out.clear();
  append_last_chunk(out, {});
  CHECK(out == "0\r\n\r\n");
  out.clear();
  append_last_chunk(out, {{"X-Sum", "1"}, {"Content-Length", "9"}, {"X-Two", ""}});
  CHECK(out == "0\r\nX-Sum: 1\r\nX-Two: \r\n\r\n");
  out.clear();
  append_length_framing(out, 18446744073709551615U);
  CHECK(out == "Content-Length: 18446744073709551615\r\n\r\n");
}

}  // namespace
}  // namespace classgate::proxy::wire
