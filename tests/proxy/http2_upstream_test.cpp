// What comes of a request on a connection of HTTP/2, with a server that is made of frames. Long,
// because each way in which a stream or a connection may end has its case.

#include "proxy/http2_upstream.h"

#include <doctest/doctest.h>

#include <functional>

#include "tests/proxy/http2_bench.h"

namespace classgate::proxy {
namespace {

using namespace std::chrono_literals;
using FrameType = wire::Http2FrameType;
using Lost = UpstreamStream::Lost;
using Taken = UpstreamStream::Taken;

constexpr std::uint32_t streams_at_once = 3, window_at_first = 4;  // RFC 9113 section 6.5.2
constexpr std::uint32_t refused = 7, cancelled = 8;

TEST_CASE("no request is sent before the server has said how many it takes") {
  Http2Bench bench;
  Asked asked;
  REQUIRE(bench.ask(asked));
  FramePeer& peer = bench.peer();
  REQUIRE(bench.run_until([&] { return peer.count(FrameType::settings) == 1; }));
  CHECK(peer.count(FrameType::headers) == 0);
  CHECK(bench.servers->requests(0) == 1);
  peer.say(settings_frame());
  REQUIRE(bench.run_until([&] { return peer.has_all_of(1); }));
  CHECK(peer.fields == ":method: GET\n:scheme: http\n:path: /v1/classify\n:authority: model\n");
  peer.say(head_frame(1, std::string(ok) + field("x-a", "b")) + data_frame(1, "hello") +
           data_frame(1, "", end_stream));
  REQUIRE(bench.run_until([&] { return asked.stream == nullptr; }));
  CHECK(asked.body == "hello");
  CHECK(asked.fields == "x-a=b ");
  CHECK(asked.framing == wire::Framing::chunked);
  CHECK(asked.heard.ends_with("end "));
  CHECK(bench.servers->requests(0) == 0);
  CHECK_FALSE(bench.pool->is_in_use());
}

TEST_CASE("what only a connection of HTTP/1 knows does not go on, and gRPC is told of trailers") {
  Http2Bench bench;
  FramePeer& peer = bench.ready_peer();
  peer.fields.clear();
  Asked asked;
  REQUIRE(
      bench.ask(asked, {.head = "POST /a.B/C HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket"
                                "\r\nX-A: b: c\r\nContent-Type: application/grpc+proto\r\n",
                        .body = "abc",
                        .framing = wire::Framing::length,
                        .length = 3,
                        .lacks_host = true}));
  REQUIRE(bench.run_until([&] { return peer.has_all_of(3); }));
  CHECK(peer.body_of(3) == "abc");
  CHECK(peer.fields == ":method: POST\n:scheme: http\n:path: /a.B/C\n:authority: 127.0.0.1:" +
                           std::to_string(bench.socket.local.port()) +
                           "\nx-a: b: c\ncontent-type: application/grpc+proto\nte: trailers\n"
                           "content-length: 3\n");
  asked.stream->cancel();
}

// RFC 9113 section 8.3.1: servers end the stream for an empty one, and that is no fault of theirs.
TEST_CASE("an empty Host is no authority: the server's own name is said") {
  Http2Bench bench;
  FramePeer& peer = bench.ready_peer();
  peer.fields.clear();
  Asked asked;
  REQUIRE(bench.ask(asked, {.head = "GET / HTTP/1.1\r\nHost: \r\n", .body = {}}));
  REQUIRE(bench.run_until([&] { return peer.has_all_of(3); }));
  CHECK(peer.fields == ":method: GET\n:scheme: http\n:path: /\n:authority: 127.0.0.1:" +
                           std::to_string(bench.socket.local.port()) + "\n");
  asked.stream->cancel();
}

TEST_CASE("interim answers and trailers come as they are, in their order") {
  Http2Bench bench;
  FramePeer& peer = bench.ready_peer();
  Asked asked;
  REQUIRE(bench.ask(asked));
  REQUIRE(bench.run_until([&] { return peer.has_all_of(3); }));
  peer.say(head_frame(3, field(":status", "103")) + head_frame(3, ok) + data_frame(3, "a") +
           head_frame(3, field("grpc-status", "0"), end_stream));
  REQUIRE(bench.run_until([&] { return asked.stream == nullptr; }));
  CHECK(asked.heard == "103 200 end grpc-status=0 ");
}

TEST_CASE("requests share a connection as far as the server allows it; the others get another") {
  Http2Bench bench;
  FramePeer& first = bench.ready_peer(settings_frame({{streams_at_once, 2}}));
  Asked a, b, c;
  REQUIRE(bench.ask(a));
  REQUIRE(bench.ask(b));
  REQUIRE(bench.ask(c));
  FramePeer& second = bench.peer(1);
  second.say(settings_frame({{streams_at_once, 2}}));
  REQUIRE(bench.run_until([&] { return second.has_all_of(1) && first.has_all_of(5); }));
  CHECK(bench.pool->http2_connections(0) == 2);
  first.say(head_frame(3, ok, end_stream));
  REQUIRE(bench.run_until([&] { return a.stream == nullptr; }));
  Asked d;
  REQUIRE(bench.ask(d));
  REQUIRE(bench.run_until([&] { return first.has_all_of(7); }));
  CHECK(bench.pool->http2_connections(0) == 2);
  for (Asked* asked : {&b, &c, &d}) asked->stream->cancel();
}

TEST_CASE("of those that waited for a server's word, the ones beyond it go elsewhere unsent") {
  Http2Bench bench;
  Asked a, b;
  REQUIRE(bench.ask(a));
  REQUIRE(bench.ask(b));
  FramePeer& peer = bench.peer();
  peer.say(settings_frame({{streams_at_once, 1}}));
  REQUIRE(bench.run_until([&] { return b.is_lost && peer.has_all_of(1); }));
  CHECK(b.loss.what == Lost::elsewhere);
  CHECK(b.loss.taken == Taken::no);
  CHECK(peer.count(FrameType::headers) == 1);
  a.stream->cancel();
}

TEST_CASE("a server that lowers what it takes gets no more until it has less than that") {
  Http2Bench bench;
  FramePeer& peer = bench.ready_peer();
  Asked a, b;
  REQUIRE(bench.ask(a));
  REQUIRE(bench.run_until([&] { return peer.has_all_of(3); }));
  peer.say(settings_frame({{streams_at_once, 1}}));
  REQUIRE(bench.run_until([&] { return peer.count(FrameType::settings) == 3; }));
  REQUIRE(bench.ask(b));
  bench.peer(1);
  CHECK(peer.count(FrameType::headers) == 2);
  for (Asked* asked : {&a, &b}) asked->stream->cancel();
}

TEST_CASE("where there may be no more connections there is no place, until there is one") {
  conf::UpstreamSettings settings;
  settings.connections = 1;
  settings.streams_per_connection = 1;
  Http2Bench bench(settings);
  bench.ready_peer();
  Asked a, b;
  REQUIRE(bench.ask(a));
  CHECK_FALSE(bench.pool->has_place());
  CHECK(bench.pool->choose_server() == UpstreamPool::none);
  CHECK_FALSE(bench.ask(b));
  CHECK(bench.servers->requests(0) == 1);
  a.stream->cancel();
  CHECK(bench.pool->has_place());
  REQUIRE(bench.ask(b));
  b.stream->cancel();
}

TEST_CASE("who cancels resets its stream at once, and the others' go on") {
  Http2Bench bench;
  FramePeer& peer = bench.ready_peer();
  Asked a, b;
  REQUIRE(bench.ask(a));
  REQUIRE(bench.ask(b));
  REQUIRE(bench.run_until([&] { return peer.has_all_of(5); }));
  a.stream->cancel();
  CHECK(bench.servers->requests(0) == 1);
  REQUIRE(bench.run_until([&] { return peer.count(FrameType::rst_stream, 3) == 1; }));
  CHECK(peer.last(FrameType::rst_stream, 3)->number() == cancelled);
  peer.say(head_frame(3, ok, end_stream) + head_frame(5, ok, end_stream));
  REQUIRE(bench.run_until([&] { return b.stream == nullptr; }));
  CHECK(a.heard.empty());
  CHECK(bench.pool->http2_connections(0) == 1);
}

TEST_CASE("a refused stream was not taken, and the next request goes to another connection") {
  Http2Bench bench;
  FramePeer& peer = bench.ready_peer();
  Asked a, b;
  REQUIRE(bench.ask(a));
  REQUIRE(bench.run_until([&] { return peer.has_all_of(3); }));
  peer.say(reset_frame(3, refused));
  REQUIRE(bench.run_until([&] { return a.is_lost; }));
  CHECK(a.loss.what == Lost::broken);
  CHECK(a.loss.taken == Taken::no);
  REQUIRE(bench.ask(b));
  bench.peer(1);
  b.stream->cancel();
}

TEST_CASE("a stream that is reset otherwise may have been taken") {
  Http2Bench bench;
  FramePeer& peer = bench.ready_peer();
  Asked a, b;
  REQUIRE(bench.ask(a));
  REQUIRE(bench.ask(b));
  REQUIRE(bench.run_until([&] { return peer.has_all_of(5); }));
  peer.say(reset_frame(3, 2) + head_frame(5, ok) + data_frame(5, "x") + reset_frame(5, refused));
  REQUIRE(bench.run_until([&] { return a.is_lost && b.is_lost; }));
  CHECK(a.loss.taken == Taken::perhaps);
  CHECK(a.loss.why == "it reset the stream (INTERNAL_ERROR)");
  CHECK(b.loss.taken == Taken::perhaps);
  CHECK(b.loss.answer_has_begun);
}

TEST_CASE(
    "GOAWAY: what comes after the last stream was not taken, the rest goes on, none is added") {
  Http2Bench bench;
  FramePeer& peer = bench.ready_peer();
  Asked a, b, c;
  REQUIRE(bench.ask(a));
  REQUIRE(bench.ask(b));
  REQUIRE(bench.run_until([&] { return peer.has_all_of(5); }));
  peer.say(goaway_frame(3));
  REQUIRE(bench.run_until([&] { return b.is_lost; }));
  CHECK(b.loss.taken == Taken::no);
  CHECK(b.loss.why == "it took no more requests on this connection (GOAWAY NO_ERROR)");
  CHECK_FALSE(a.is_lost);
  REQUIRE(bench.ask(c));
  FramePeer& second = bench.peer(1);
  second.say(settings_frame());
  peer.say(head_frame(3, ok, end_stream));
  REQUIRE(bench.run_until([&] { return a.stream == nullptr && peer.has_ended; }));
  CHECK(a.heard == "200 end ");
  CHECK(bench.pool->http2_connections(0) == 1);
  c.stream->cancel();
}

TEST_CASE(
    "a connection that is closed loses all its requests: those that were sent, perhaps taken") {
  Http2Bench bench;
  FramePeer& peer = bench.ready_peer();
  Asked a, b;
  REQUIRE(bench.ask(a));
  REQUIRE(bench.ask(b));
  REQUIRE(bench.run_until([&] { return peer.has_all_of(5); }));
  peer.say(head_frame(5, ok) + data_frame(5, "half"));
  REQUIRE(bench.run_until([&] { return b.body == "half"; }));
  peer.close();
  REQUIRE(bench.run_until([&] { return a.is_lost && b.is_lost; }));
  CHECK(a.loss.taken == Taken::perhaps);
  CHECK_FALSE(a.loss.answer_has_begun);
  CHECK(b.loss.answer_has_begun);
  CHECK(bench.servers->requests(0) == 0);
  CHECK(bench.pool->http2_connections(0) == 0);
}

TEST_CASE("a connection that ends before the server has said anything has taken nothing") {
  Http2Bench bench;
  Asked asked;
  REQUIRE(bench.ask(asked));
  bench.peer().close();
  REQUIRE(bench.run_until([&] { return asked.is_lost; }));
  CHECK(asked.loss.what == Lost::broken);
  CHECK(asked.loss.taken == Taken::no);
  CHECK(asked.loss.why.ends_with("before it said anything in HTTP/2"));
}

TEST_CASE("a server that answers in HTTP/1 is told by name, and has got nothing of the request") {
  Http2Bench bench;
  Asked asked;
  REQUIRE(bench.ask(asked));
  FramePeer& peer = bench.peer();
  peer.say("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
  REQUIRE(bench.run_until([&] { return asked.is_lost; }));
  CHECK(asked.loss.taken == Taken::no);
  CHECK(asked.loss.why ==
        "it does not speak HTTP/2, as h2c:// in servers says: it answered \"HTTP/1.1 400 Bad "
        "Request\"");
  CHECK(peer.count(FrameType::headers) == 0);
}

TEST_CASE("whatever a server says that is no HTTP/2, only its requests are lost") {
  for (const std::string_view words :
       {std::string_view("\0\0\0\0\0\0\0\0\0", 9), std::string_view("220 mail.example ESMTP\r\n"),
        std::string_view("\0\0\5\4\0\0\0\0\0abcde", 14),
        std::string_view("\x16\3\1\2\0\1\0\1\xfc\3\3", 11)}) {
    CAPTURE(std::string(words));
    Http2Bench bench;
    Asked asked;
    REQUIRE(bench.ask(asked));
    bench.peer().say(words);
    REQUIRE(bench.run_until([&] { return asked.is_lost; }));
    CHECK(asked.loss.taken == Taken::no);
    CHECK(bench.run_until([&] { return bench.pool->http2_connections(0) == 0; }));
  }
}

TEST_CASE("a reader that has stopped gets no more than a window, and holds nobody up") {
  Http2Bench bench;
  FramePeer& peer = bench.ready_peer();
  Asked slow, other;
  slow.is_blocked = true;
  REQUIRE(bench.ask(slow));
  REQUIRE(bench.ask(other));
  REQUIRE(bench.run_until([&] { return peer.has_all_of(5); }));
  peer.say(head_frame(3, ok) + head_frame(5, ok));
  const std::string part(16 * 1024, 'x');
  for (int i = 0; i < 16; ++i) peer.say(data_frame(3, part));  // its window: 256 KiB
  for (int i = 0; i < 64; ++i) {
    peer.say(data_frame(5, part));
    if (i % 8 == 7)
      REQUIRE(bench.run_until(
          [&] { return other.body.size() >= part.size() * static_cast<std::size_t>(i - 7); }));
  }
  REQUIRE(bench.run_until([&] { return other.body.size() == 64 * part.size(); }));
  CHECK(slow.body.size() == 16 * part.size());
  CHECK(peer.count(FrameType::window_update, 3) == 0);
  CHECK(peer.count(FrameType::window_update, 5) > 0);
  slow.is_blocked = false;
  slow.stream->resume();
  REQUIRE(bench.run_until([&] { return peer.count(FrameType::window_update, 3) > 0; }));
  for (Asked* asked : {&slow, &other}) asked->stream->cancel();
}

TEST_CASE("a server that takes more than its window is cut off") {
  Http2Bench bench;
  FramePeer& peer = bench.ready_peer();
  Asked slow;
  slow.is_blocked = true;
  REQUIRE(bench.ask(slow));
  REQUIRE(bench.run_until([&] { return peer.has_all_of(3); }));
  peer.say(head_frame(3, ok));
  for (int i = 0; i < 17; ++i) peer.say(data_frame(3, std::string(16 * 1024, 'x')));
  REQUIRE(bench.run_until([&] { return slow.is_lost; }));
  CHECK(slow.body.size() < (256 + 16 + 1) * 1024);  // by a frame at most
}

TEST_CASE("an upload goes as the server's window allows, and more is asked for when it has gone") {
  Http2Bench bench;
  FramePeer& peer = bench.ready_peer(settings_frame({{window_at_first, 10}}));
  Asked asked;
  const std::string body(25, 'a');
  REQUIRE(bench.ask(asked, {.head = "POST / HTTP/1.1\r\nHost: a\r\n",
                            .body = body,
                            .is_whole = false,
                            .framing = wire::Framing::chunked}));
  REQUIRE(bench.run_until([&] { return peer.body_of(3).size() == 10; }));
  CHECK(asked.stream->pending() == 15);
  CHECK(asked.drained == 0);
  peer.say(window_frame(3, 100));
  REQUIRE(bench.run_until([&] { return asked.drained == 1; }));
  asked.stream->send_body("bcd");
  CHECK(asked.stream->pending() == 0);
  CHECK_FALSE(asked.stream->request_is_sent());
  asked.stream->end_body({{"x-sum", "1"}});
  REQUIRE(bench.run_until([&] { return peer.has_all_of(3); }));
  CHECK(asked.stream->request_is_sent());
  CHECK(peer.body_of(3) == body + "bcd");
  CHECK(peer.fields.ends_with("x-sum: 1\n"));
  asked.stream->cancel();
}

TEST_CASE("an upload that waits for the server's word is told when it may go on") {
  Http2Bench bench;
  Asked asked;
  REQUIRE(bench.ask(asked, {.head = "POST / HTTP/1.1\r\nHost: a\r\n",
                            .body = {},
                            .is_whole = false,
                            .framing = wire::Framing::chunked}));
  FramePeer& peer = bench.peer();
  CHECK(asked.stream->pending() > 1'000'000'000);  // nothing more, for now
  peer.say(settings_frame());
  REQUIRE(bench.run_until([&] { return asked.drained == 1; }));
  CHECK(asked.stream->pending() == 0);
  asked.stream->cancel();
}

TEST_CASE("an early answer ends the upload") {
  Http2Bench bench;
  FramePeer& peer = bench.ready_peer(settings_frame({{window_at_first, 10}}));
  Asked asked;
  std::string body(25, 'a');
  REQUIRE(bench.ask(asked, {.head = "POST / HTTP/1.1\r\nHost: a\r\n",
                            .body = body,
                            .framing = wire::Framing::length,
                            .length = 25}));
  REQUIRE(bench.run_until([&] { return peer.body_of(3).size() == 10; }));
  peer.say(head_frame(3, ok));
  REQUIRE(bench.run_until([&] { return asked.heard == "200 ."; }));
  body.clear();  // from here on it is kept by the stream
  body.shrink_to_fit();
  peer.say(window_frame(3, 5));
  REQUIRE(bench.run_until([&] { return peer.body_of(3) == std::string(15, 'a'); }));
  peer.say(data_frame(3, "no", end_stream));
  REQUIRE(bench.run_until([&] { return asked.stream == nullptr; }));
  CHECK(asked.body == "no");
  REQUIRE(bench.run_until([&] { return peer.count(FrameType::rst_stream, 3) == 1; }));
}

TEST_CASE("an answer that is malformed costs its own request only") {
  struct Row {
    const char* what;
    std::string frames;
  };
  const std::string status(ok);
  const std::vector<Row> rows{
      {"no status", head_frame(3, field("a", "b"), end_stream)},
      {"a status of two digits", head_frame(3, field(":status", "20"), end_stream)},
      {"a status of 600", head_frame(3, field(":status", "600"), end_stream)},
      {"two", head_frame(3, status + status, end_stream)},
      {"a request's pseudo field", head_frame(3, status + field(":path", "/"), end_stream)},
      {"upper case", head_frame(3, status + field("X-A", "b"), end_stream)},
      {"a line end", head_frame(3, status + field("a", "b\r\nc: d"), end_stream)},
      {"a space before", head_frame(3, status + field("a", " b"), end_stream)},
      {"a connection's", head_frame(3, status + field("connection", "close"), end_stream)},
      {"a coding", head_frame(3, status + field("transfer-encoding", "chunked"), end_stream)},
      {"two lengths",
       head_frame(3, status + field("content-length", "1") + field("content-length", "2"))},
      {"no length", head_frame(3, status + field("content-length", "1x"))},
      {"more than its length",
       head_frame(3, status + field("content-length", "1")) + data_frame(3, "ab", end_stream)},
      {"less",
       head_frame(3, status + field("content-length", "3")) + data_frame(3, "ab", end_stream)},
      {"101", head_frame(3, field(":status", "101"))},
      {"an end with 103", head_frame(3, field(":status", "103"), end_stream)},
      {"trailers that are not the end", head_frame(3, status) + head_frame(3, field("a", "b"))},
      {"a pseudo field in trailers",
       head_frame(3, status) + head_frame(3, field(":status", "200"), end_stream)},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    Http2Bench bench;
    FramePeer& peer = bench.ready_peer();
    Asked bad, good;
    REQUIRE(bench.ask(bad));
    REQUIRE(bench.ask(good));
    REQUIRE(bench.run_until([&] { return peer.has_all_of(5); }));
    peer.say(row.frames);
    REQUIRE(bench.run_until([&] { return bad.is_lost; }));
    CHECK(bad.loss.what == Lost::broken);
    CHECK(bad.loss.taken == Taken::perhaps);
    peer.say(head_frame(5, ok, end_stream));
    REQUIRE(bench.run_until([&] { return good.stream == nullptr; }));
    CHECK(good.heard == "200 end ");
    CHECK(bench.pool->http2_connections(0) == 1);
  }
}

TEST_CASE("a head beyond upstream.header_bytes is refused as such, 1xx without end likewise") {
  conf::UpstreamSettings settings;
  settings.header_bytes = conf::KiB(1);
  Http2Bench bench(settings);
  FramePeer& peer = bench.ready_peer();
  Asked large, endless;
  REQUIRE(bench.ask(large));
  REQUIRE(bench.ask(endless));
  REQUIRE(bench.run_until([&] { return peer.has_all_of(5); }));
  std::string fields(ok);
  for (int i = 0; i < 15; ++i) fields += field("name", std::string(60, 'v'));
  peer.say(head_frame(3, fields, end_stream));
  REQUIRE(bench.run_until([&] { return large.is_lost; }));
  CHECK(large.loss.what == Lost::head_too_large);
  for (int i = 0; i < 101; ++i) peer.say(head_frame(5, field(":status", "103")));
  REQUIRE(bench.run_until([&] { return endless.is_lost; }));
  CHECK(endless.loss.why == "it answers with 1xx without end");
}

TEST_CASE("what is thrown within one request ends that one") {
  Http2Bench bench;
  FramePeer& peer = bench.ready_peer();
  Asked bad, good;
  bad.throws = true;
  REQUIRE(bench.ask(bad));
  REQUIRE(bench.ask(good));
  REQUIRE(bench.run_until([&] { return peer.has_all_of(5); }));
  peer.say(head_frame(3, ok) + data_frame(3, "x") + head_frame(5, ok) +
           data_frame(5, "y", end_stream));
  REQUIRE(bench.run_until([&] { return good.stream == nullptr && bad.stream == nullptr; }));
  CHECK(bad.faults == 1);
  CHECK(good.body == "y");
  CHECK(bench.servers->requests(0) == 0);
}

TEST_CASE("what one stream has brought is written out before another's comes") {
  Http2Bench bench;
  FramePeer& peer = bench.ready_peer();
  std::string order;
  Asked a, b;
  a.on_part = [&] { order += "a" + a.body + " "; };
  b.on_part = [&] { order += "b" + b.body + " "; };
  REQUIRE(bench.ask(a));
  REQUIRE(bench.ask(b));
  REQUIRE(bench.run_until([&] { return peer.has_all_of(5); }));
  peer.say(head_frame(3, ok) + data_frame(3, "1") + head_frame(5, ok) + data_frame(5, "2") +
           data_frame(3, "3"));
  REQUIRE(bench.run_until([&] { return a.body == "13"; }));
  CHECK(order == "a1 b2 a13 ");
  // Whoever has its answer may ask again, and end others, at once.
  Asked next;
  a.on_end = [&] {
    b.stream->cancel();
    CHECK(bench.ask(next));
  };
  peer.say(data_frame(3, "", end_stream) + data_frame(5, "nobody's", end_stream));
  REQUIRE(bench.run_until([&] { return peer.has_all_of(7); }));
  CHECK(b.body == "2");
  next.stream->cancel();
}

TEST_CASE(
    "a request that is late has the next one go by another connection, until it is answered") {
  Http2Bench bench;
  FramePeer& peer = bench.ready_peer();
  Asked late, next, last;
  REQUIRE(bench.ask(late));
  late.stream->note_late();
  REQUIRE(bench.ask(next));
  bench.peer(1);
  peer.say(head_frame(3, ok, end_stream));
  REQUIRE(bench.run_until([&] { return late.stream == nullptr; }));
  REQUIRE(bench.ask(last));
  REQUIRE(bench.run_until([&] { return peer.has_all_of(5); }));
  for (Asked* asked : {&next, &last}) asked->stream->cancel();
}

TEST_CASE("a server that is silent is asked whether it is there, and lost when it is not") {
  conf::UpstreamSettings settings;
  settings.ping_interval = 5ms;
  settings.ping_timeout = 50ms;
  Http2Bench bench(settings);
  FramePeer& peer = bench.ready_peer();
  Asked asked;
  REQUIRE(bench.ask(asked));
  REQUIRE(bench.run_until([&] { return peer.count(FrameType::ping) == 1; }));
  peer.say(raw_frame(FrameType::ping, ack, 0, std::string(8, '\0')));
  REQUIRE(bench.run_until([&] { return peer.count(FrameType::ping) == 2; }));
  CHECK_FALSE(asked.is_lost);
  REQUIRE(bench.run_until([&] { return asked.is_lost; }));
  CHECK(asked.loss.why == "it has not answered PING in upstream.ping_timeout");
}

TEST_CASE("an unused connection says goodbye after upstream.idle_timeout") {
  conf::UpstreamSettings settings;
  settings.idle_timeout = 20ms;
  Http2Bench bench(settings);
  FramePeer& peer = bench.ready_peer();
  REQUIRE(bench.run_until([&] { return peer.has_ended; }));
  CHECK(peer.count(FrameType::goaway) == 1);
  CHECK(bench.pool->http2_connections(0) == 0);
}

TEST_CASE("after a reload a connection ends with the requests that it has") {
  Http2Bench bench;
  FramePeer& peer = bench.ready_peer();
  Asked asked;
  REQUIRE(bench.ask(asked));
  REQUIRE(bench.run_until([&] { return peer.has_all_of(3); }));
  bench.pool->retire();
  CHECK(bench.pool->is_in_use());
  peer.say(head_frame(3, ok, end_stream));
  REQUIRE(bench.run_until([&] { return peer.has_ended; }));
  CHECK(asked.heard == "200 end ");
  CHECK_FALSE(bench.pool->is_in_use());
}

}  // namespace
}  // namespace classgate::proxy
