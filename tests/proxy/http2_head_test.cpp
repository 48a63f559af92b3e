#include "proxy/wire/http2_head.h"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "proxy/wire/fields.h"
#include "proxy/wire/serialise.h"

namespace classgate::proxy::wire {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

const HeadLimits http2_limits{.header_bytes = 2000, .header_count = 20, .target_bytes = 100};

Fields get(std::string_view path = "/v1/classify") {
  return {{":method", "GET"},
          {":scheme", "http"},
          {":authority", "a.example"},
          {":path", std::string(path)}};
}

Fields with(Fields fields, std::string name, std::string value) {
  fields.emplace_back(std::move(name), std::move(value));
  return fields;
}

Fields without(std::string_view name) {
  Fields fields = get();
  std::erase_if(fields, [&](const auto& field) { return field.first == name; });
  return fields;
}

Fields saying(std::string_view name, std::string value) {
  Fields fields = get();
  for (auto& field : fields)
    if (field.first == name) field.second = value;
  return fields;
}

Fault fault_of(const Fields& fields, bool ends_stream = true) {
  Http2Head head;
  head.begin(http2_limits);
  for (const auto& [name, value] : fields) head.add(name, value);
  return head.finish(ends_stream);
}

std::string as_http1(const Fields& fields, bool ends_stream = true) {
  Http2Head head;
  head.begin(http2_limits);
  for (const auto& [name, value] : fields) head.add(name, value);
  REQUIRE(head.finish(ends_stream) == Fault::none);
  std::string text;
  append_request_head(text, head.head(),
                      {.target = head.head().target,
                       .host = head.head().host,
                       .client = "192.0.2.1",
                       .request_id = "id"});
  return text;
}

TEST_CASE("an HTTP/2 head goes on as HTTP/1 would have said it") {
  CHECK(as_http1(with(with(get("/v1/classify?a=b"), "accept", "*/*"), "x-tenant", "a b")) ==
        "GET /v1/classify?a=b HTTP/1.1\r\nHost: a.example\r\naccept: */*\r\nx-tenant: a b\r\n"
        "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a.example\r\n"
        "Via: 2.0 classgate\r\nX-Request-Id: id\r\n");
}

TEST_CASE("cookie crumbs become one field") {
  const std::string text =
      as_http1(with(with(with(get(), "cookie", "a=1"), "accept", "x"), "cookie", "b=2"));
  CHECK(text.contains("\r\ncookie: a=1; b=2\r\n"));
  CHECK(text.find("cookie") == text.rfind("cookie"));
}

TEST_CASE("how a body is framed: by its length, or piece by piece") {
  Http2Head head;
  const auto framing = [&](const Fields& fields, bool ends_stream) {
    head.begin(http2_limits);
    for (const auto& [name, value] : fields) head.add(name, value);
    REQUIRE(head.finish(ends_stream) == Fault::none);
    return head.head().framing;
  };
  CHECK(framing(get(), true) == Framing::none);
  CHECK(framing(get(), false) == Framing::chunked);
  CHECK(framing(with(get(), "content-length", "5"), false) == Framing::length);
  CHECK(head.head().content_length == 5);
  CHECK(framing(with(get(), "content-length", "0"), false) == Framing::none);
  CHECK(framing(with(get(), "content-length", "0"), true) == Framing::none);
}

TEST_CASE("the authority is the host, whoever says it") {
  CHECK(fault_of(with(get(), "host", "a.example")) == Fault::none);
  CHECK(fault_of(with(get(), "host", "A.Example")) == Fault::none);
  CHECK(as_http1(with(without(":authority"), "host", "b.example"))
            .contains("\r\nHost: b.example\r\n"));
}

TEST_CASE("what would be something else as HTTP/1 is malformed") {
  const std::string nul("a\0b", 3);
  const std::vector<std::pair<std::string, Fields>> rows{
      {"CR LF in a value", with(get(), "x", "a\r\nb: c")},
      {"LF in a value", with(get(), "x", "a\nb")},
      {"CR in a value", with(get(), "x", "a\rb")},
      {"NUL in a value", with(get(), "x", nul)},
      {"a space before a value", with(get(), "x", " a")},
      {"a tab behind a value", with(get(), "x", "a\t")},
      {"CR LF in a name", with(get(), "x: 1\r\ny", "a")},
      {"a colon in a name", with(get(), "x:y", "a")},
      {"a space in a name", with(get(), "x y", "a")},
      {"a space behind a name", with(get(), "content-length ", "1")},
      {"an upper case name", with(get(), "X-Tenant", "a")},
      {"an upper case length", with(get(), "Content-Length", "1")},
      {"a name of nothing", with(get(), "", "a")},
      {"a name with NUL", with(get(), nul, "a")},
      {"Transfer-Encoding", with(get(), "transfer-encoding", "chunked")},
      {"Connection", with(get(), "connection", "x-tenant")},
      {"Keep-Alive", with(get(), "keep-alive", "timeout=5")},
      {"Proxy-Connection", with(get(), "proxy-connection", "keep-alive")},
      {"Upgrade", with(get(), "upgrade", "h2c")},
      {"HTTP2-Settings", with(get(), "http2-settings", "AAMAAABk")},
      {"TE but trailers", with(get(), "te", "gzip")},
      {"TE with trailers and more", with(get(), "te", "trailers, gzip")},
      {"two lengths", with(with(get(), "content-length", "1"), "content-length", "1")},
      {"a length with a sign", with(get(), "content-length", "+1")},
      {"a length of two", with(get(), "content-length", "1, 1")},
      {"a length without end", with(get(), "content-length", "99999999999999999999")},
      {"another host", with(get(), "host", "b.example")},
      {"two hosts", with(with(get(), "host", "a.example"), "host", "a.example")},
      {"an empty host", with(get(), "host", "")},
      {"no host", without(":authority")},
      {"an empty authority", saying(":authority", "")},
      {"a line end in the authority", saying(":authority", "a\r\nx: y")},
      {"no method", without(":method")},
      {"an empty method", saying(":method", "")},
      {"a method with a space", saying(":method", "GET /x HTTP/1.1")},
      {"a method with a line end", saying(":method", "GET\r\nx:")},
      {"no scheme", without(":scheme")},
      {"an unknown scheme", saying(":scheme", "ftp")},
      {"a scheme with a path", saying(":scheme", "http://b.example/")},
      {"no path", without(":path")},
      {"an empty path", saying(":path", "")},
      {"an absolute path", saying(":path", "http://b.example/")},
      {"an authority for a path", saying(":path", "a.example:80")},
      {"a star but for OPTIONS", saying(":path", "*")},
      {"a path with a space", saying(":path", "/ HTTP/1.1")},
      {"a path with a line end", saying(":path", "/ HTTP/1.1\r\nx: y")},
      {"a path with a byte above ASCII", saying(":path", "/\xc3\xa4")},
      {"two methods", with(get(), ":method", "GET")},
      {"two paths", with(get(), ":path", "/")},
      {"two authorities", with(get(), ":authority", "a.example")},
      {"a status", with(get(), ":status", "200")},
      {"a protocol", with(get(), ":protocol", "websocket")},
      {"a pseudo field behind others", with(with(without(":path"), "x", "y"), ":path", "/")},
      {"a pseudo field behind a crumb", with(with(without(":path"), "cookie", "y"), ":path", "/")},
      {"CONNECT with a path", saying(":method", "CONNECT")},
  };
  for (const auto& [name, fields] : rows) {
    CAPTURE(name);
    CHECK(fault_of(fields) == Fault::malformed);
  }
  CHECK(fault_of(with(get(), "content-length", "1"), true) == Fault::malformed);
  CHECK(fault_of(
            {{":method", "OPTIONS"}, {":scheme", "http"}, {":authority", "a"}, {":path", "*"}}) ==
        Fault::none);
  CHECK(fault_of({{":method", "CONNECT"}, {":authority", "a:1"}}) == Fault::none);
}

TEST_CASE("te: trailers is allowed, and not passed on") {
  CHECK(!as_http1(with(get(), "te", "trailers")).contains("\r\nte:"));
}

TEST_CASE(
    "a head is bounded by its bytes, 32 more for each field, and its fields with all crumbs") {
  CHECK(fault_of(with(get(), "x", std::string(1700, 'a'))) == Fault::none);
  CHECK(fault_of(with(get(), "x", std::string(1850, 'a'))) == Fault::header_too_large);
  CHECK(fault_of(saying(":path", "/" + std::string(200, 'a'))) == Fault::target_too_long);
  CHECK(fault_of(saying(":path", "/" + std::string(2000, 'a'))) == Fault::target_too_long);
  CHECK(fault_of(saying(":method", std::string(65, 'A'))) == Fault::unknown_method);
  Fields crumbs = get();
  for (int i = 0; i < 20; ++i) crumbs.emplace_back("cookie", "a");
  CHECK(fault_of(crumbs) == Fault::none);
  crumbs.emplace_back("cookie", "a");
  CHECK(fault_of(crumbs) == Fault::header_too_large);
  Fields small = get();
  for (int i = 0; i < 60; ++i) small.emplace_back("", "");  // 32 bytes each
  CHECK(fault_of(small) == Fault::malformed);
}

TEST_CASE("many times what is allowed is no mistake, and nothing of it is kept") {
  Http2Head head;
  head.begin(http2_limits);
  for (int i = 0; i < 3; ++i) head.add("x", std::string(1000, 'a'));
  CHECK(!head.is_flood());
  const std::size_t held = head.held_bytes();
  for (int i = 0; i < 6; ++i) head.add("x", std::string(1000, 'a'));
  CHECK(head.is_flood());
  CHECK(head.held_bytes() == held);
  head.begin(http2_limits);
  CHECK(!head.is_flood());
}

TEST_CASE("a trailer that could not stand in HTTP/1 is none") {
  CHECK(Http2Head::is_good_trailer("grpc-status", "0"));
  for (const auto& [name, value] : Fields{{":status", "200"},
                                          {"X", "a"},
                                          {"x y", "a"},
                                          {"x", "a\nb"},
                                          {"transfer-encoding", "chunked"},
                                          {"te", "trailers"}})
    CHECK(!Http2Head::is_good_trailer(name, value));
}

// RFC 8441.
TEST_CASE("an extended CONNECT for WebSocket is what HTTP/1 asks with") {
  Fields connect = {{":method", "CONNECT"},       {":scheme", "http"},
                    {":authority", "a.example"},  {":path", "/chat"},
                    {":protocol", "websocket"},   {"sec-websocket-version", "13"},
                    {"sec-websocket-key", "its"}, {"origin", "https://a.example"}};
  Http2Head head;
  head.begin(http2_limits);
  for (const auto& [name, value] : connect) head.add(name, value);
  REQUIRE(head.asks_for_websocket());
  head.become_upgrade("ours");
  REQUIRE(head.finish(false) == Fault::none);
  CHECK(head.head().method == "GET");
  CHECK(head.head().target == "/chat");
  CHECK(head.head().framing == Framing::none);
  CHECK(names_websocket(head.head()));
  std::vector<std::string> keys;
  for (const Field& field : head.head().fields)
    if (equal_names(field.name, "sec-websocket-key")) keys.emplace_back(field.value);
  CHECK(keys == std::vector<std::string>{"ours"});
}

TEST_CASE("what is an extended CONNECT in part is none") {
  const Fields connect = {{":method", "CONNECT"},
                          {":scheme", "http"},
                          {":authority", "a.example"},
                          {":path", "/chat"},
                          {":protocol", "websocket"}};
  CHECK(fault_of(connect, true) == Fault::malformed);  // nothing could go through it
  CHECK(fault_of(with(connect, "content-length", "3"), false) == Fault::malformed);
  CHECK(fault_of(with(get(), ":protocol", "websocket"), false) == Fault::malformed);
  for (const int missing : {1, 2, 3}) {
    Fields fields = connect;
    fields.erase(fields.begin() + missing);
    CHECK(fault_of(fields, false) == Fault::malformed);
  }
  Fields other = connect;
  other.back().second = "connect-udp";
  CHECK(fault_of(other, false) == Fault::unknown_method);
}

}  // namespace
}  // namespace classgate::proxy::wire
