#include "gateway/http1_answer.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>

#include "gateway/refusal.h"
#include "proxy/net/handles.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"

namespace classgate::gateway {
namespace {

using proxy::wire::Framing;
using proxy::wire::Head;

constexpr std::uint64_t skipped_max = 1000;
const Http1Answer::Circumstances normal{.date = "Fri, 27 Nov 2026 12:00:00 GMT"};
const Http1Answer::Circumstances draining{.date = normal.date, .closes = true};

struct Nobody final : proxy::net::Stream::Handler {
  void on_readable() override {}
  void on_drained() override {}
  void on_fault() override {}
};

// What the gather holds, by way of a pair of sockets.
std::string taken_from(proxy::net::Gather& gather) {
  std::array<int, 2> ends{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends.data()) == 0);
  const proxy::net::Fd reader(ends[0]);
  proxy::net::Loop loop;
  Nobody nobody;
  proxy::net::Stream stream(loop, proxy::net::Fd(ends[1]), nobody);
  if (!gather.is_empty()) gather.send(stream);
  std::string text(8192, '\0');
  const ssize_t size = ::read(reader.get(), text.data(), text.size());
  text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  return text;
}

Head request(Framing framing, int minor_version = 1) {
  Head head;
  head.minor_version = minor_version;
  head.framing = framing;
  head.wants_close = minor_version == 0;
  return head;
}

Head answer(int status, bool has_length = false, std::uint64_t length = 0) {
  Head head;
  head.status = status;
  head.reason_phrase = "Fine";
  head.has_content_length = has_length;
  head.content_length = length;
  head.size = 100;
  return head;
}

bool has(const std::string& text, std::string_view what) {
  return text.find(what) != std::string::npos;
}

// Of a request without a body that has been read.
Http1Answer answer_to(const Head& head) {
  Http1Answer made;
  made.begin(head, true, skipped_max, false);
  made.note_request_end();
  return made;
}

}  // namespace

TEST_CASE("http1 answer: a length is said, and the connection goes on") {
  Http1Answer made = answer_to(request(Framing::none));
  proxy::net::Gather out;
  made.put_head(answer(200, true, 5), Framing::length, "id", normal, out);
  made.put_body("hello", out);
  made.put_end({}, out);
  const std::string text = taken_from(out);
  CHECK(has(text, "HTTP/1.1 200 Fine\r\n"));
  CHECK(has(text, "Content-Length: 5\r\n"));
  CHECK_FALSE(has(text, "Connection:"));
  CHECK(text.ends_with("\r\n\r\nhello"));
  CHECK(made.keeps_connection());
  CHECK_FALSE(made.ends_with_connection());
}

TEST_CASE("http1 answer: without a length it comes in chunks, whatever the service did") {
  for (const Framing framing : {Framing::chunked, Framing::until_close}) {
    Http1Answer made = answer_to(request(Framing::none));
    proxy::net::Gather out;
    made.put_head(answer(200), framing, "id", normal, out);
    made.put_body("hello", out);
    made.put_end({{"X-Sum", "1"}}, out);
    const std::string text = taken_from(out);
    CHECK(has(text, "Transfer-Encoding: chunked\r\n"));
    CHECK(text.ends_with("\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"));
    CHECK(made.keeps_connection());
  }
}

TEST_CASE("http1 answer: for an HTTP/1.0 client it ends with the connection") {
  for (const Framing framing : {Framing::chunked, Framing::until_close}) {
    Head head = request(Framing::none, 0);
    head.wants_close = false;  // it said keep-alive
    Http1Answer made = answer_to(head);
    proxy::net::Gather out;
    made.put_interim(answer(103), out);
    CHECK(out.is_empty());
    made.put_head(answer(200), framing, "id", normal, out);
    made.put_body("hello", out);
    made.put_end({}, out);
    const std::string text = taken_from(out);
    CHECK_FALSE(has(text, "chunked"));
    CHECK(has(text, "Connection: close\r\n"));
    CHECK(text.ends_with("\r\n\r\nhello"));
    CHECK_FALSE(made.keeps_connection());
    CHECK(made.ends_with_connection());
  }
  Head head = request(Framing::none, 0);
  head.wants_close = false;
  Http1Answer made = answer_to(head);
  proxy::net::Gather out;
  made.put_head(answer(200, true, 0), Framing::length, "id", normal, out);
  CHECK(has(taken_from(out), "Connection: keep-alive\r\n"));
  CHECK(made.keeps_connection());
}

TEST_CASE("http1 answer: what ends the connection after it") {
  proxy::net::Gather out;
  const auto keeps = [&](Http1Answer made, const Http1Answer::Circumstances& now) {
    made.put_head(answer(200, true, 0), Framing::length, "id", now, out);
    CHECK(has(taken_from(out), "Connection: close\r\n") == !made.keeps_connection());
    return made.keeps_connection();
  };
  CHECK(keeps(answer_to(request(Framing::none)), normal));
  CHECK_FALSE(keeps(answer_to(request(Framing::none)), draining));
  Head closing = request(Framing::none);
  closing.wants_close = true;
  CHECK_FALSE(keeps(answer_to(closing), normal));
  Http1Answer last;
  last.begin(request(Framing::none), true, skipped_max, true);
  last.note_request_end();
  CHECK_FALSE(keeps(last, normal));
  Http1Answer early;  // it comes before the request has ended
  early.begin(request(Framing::chunked), false, skipped_max, false);
  CHECK_FALSE(keeps(early, normal));
}

TEST_CASE("http1 answer: a refused request's body is skipped when it is small and on its way") {
  const Refusals texts(conf::default_statuses(), conf::RefusalBody::problem);
  const auto keeps = [&](Framing framing, std::uint64_t length, bool expects, bool gives_up,
                         bool body_begins) {
    Head head = request(framing);
    head.content_length = length;
    head.expects_continue = expects;
    Http1Answer made;
    made.begin(head, framing == Framing::none, skipped_max, false);
    if (body_begins) made.note_body();
    proxy::net::Gather out;
    made.put_refusal(texts,
                     {.rejection = {conf::Reason::queue_full},
                      .request_id = "id",
                      .allow = {},
                      .own_fields = {},
                      .gives_up_request = gives_up},
                     false, normal, out);
    CHECK(has(taken_from(out), "Connection: close\r\n") == !made.keeps_connection());
    return made.keeps_connection();
  };
  CHECK(keeps(Framing::none, 0, false, false, false));
  CHECK(keeps(Framing::length, skipped_max, false, false, false));
  CHECK_FALSE(keeps(Framing::length, skipped_max + 1, false, false, false));
  CHECK_FALSE(keeps(Framing::chunked, 0, false, false, false));
  CHECK_FALSE(keeps(Framing::length, 10, true, false, false));  // it waits for 100 Continue
  CHECK(keeps(Framing::length, 10, true, false, true));         // ... no more
  CHECK_FALSE(keeps(Framing::length, 10, false, true, false));
}

TEST_CASE("http1 answer: HEAD hears the length of what it is not sent") {
  Http1Answer made = answer_to(request(Framing::none));
  proxy::net::Gather out;
  constexpr std::array fields{OwnAnswer::Field{"Content-Type", "text/plain"}};
  made.put_own({.status = 200, .fields = fields, .body = "hello", .without_body = true}, normal,
               out);
  const std::string text = taken_from(out);
  CHECK(has(text, "Content-Type: text/plain\r\n"));
  CHECK(has(text, "Content-Length: 5\r\n"));
  CHECK(text.ends_with("\r\n\r\n"));
}

TEST_CASE("http1 answer: after a switch of protocols, and after what could not be read") {
  Http1Answer made = answer_to(request(Framing::none));
  proxy::net::Gather out;
  made.put_switch(answer(101), out);
  made.put_body("any bytes", out);
  made.put_end({}, out);
  CHECK(taken_from(out).ends_with("\r\n\r\nany bytes"));
  CHECK_FALSE(made.keeps_connection());
  CHECK(made.ends_with_connection());
  made.begin_unreadable();
  CHECK_FALSE(made.keeps_connection());
  CHECK_FALSE(made.ends_with_connection());
}

}  // namespace classgate::gateway
