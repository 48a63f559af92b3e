#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "gateway/answer_terms.h"
#include "tests/gateway/kit.h"

// Answers that come piece by piece for as long as they last (upstream.streams).

namespace classgate::gateway::test {
namespace {

using conf::OnClientAbort;
using conf::Reason;
using conf::Streams;

constexpr std::string_view stream_head =
    "HTTP/1.1 200 Fine\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    "Transfer-Encoding: chunked\r\n\r\n";
constexpr std::string_view last_chunk = "0\r\n\r\n";

std::string start_of_stream() { return std::string(stream_head) + chunk("data: first\n\n"); }

// Answers /stream with the beginning of one, and `go_on` with what follows; all else is held.
FakeUpstream::Script streaming(std::function<void(Peer&)> go_on) {
  return FakeUpstream::each([go_on](Peer& peer, const Message& request) {
    if (!request.target().starts_with("/stream")) {
      if (peer.hold()) peer.send(answer_with("late"));
      return;
    }
    peer.send(start_of_stream());
    go_on(peer);
  });
}

std::uint64_t streams_of(const Gateway& gateway) {
  return nlohmann::json::parse(gateway.health()).at("streams").get<std::uint64_t>();
}

// Until the first piece has come.
void begin(Client& client, std::string_view target = "/stream") {
  client.send(get(target));
  REQUIRE(client.reader.read_head().has_value());
}

TEST_CASE("a stream lasts longer than any answer may, and shows that it has its worker") {
  FakeUpstream upstream(streaming([](Peer& peer) {
    if (peer.hold()) peer.send(chunk("data: last\n\n") + std::string(last_chunk));
  }));
  conf::Settings settings = settings_for(upstream.port());
  settings.admission.request_timeout = settings.admission.queue_timeout = 100ms;
  Gateway gateway(settings);
  Client client(gateway), other(gateway);
  client.send(get("/stream"));
  REQUIRE(await([&] { return streams_of(gateway) == 1; }));
  // What was asked for after the stream had begun: its time is over, so that of the stream is.
  CHECK(other.ask(get("/slow")).reason() == "upstream_timeout");
  CHECK(gateway.snapshot().active_workers >= 1);
  upstream.release(2);
  const Message answer = client.read_answer();
  CHECK(answer.is_complete);
  CHECK(answer.body == "data: first\n\ndata: last\n\n");
  CHECK(gateway.settles_at({.processed = 1, .failed = 1}));
  CHECK(streams_of(gateway) == 0);
}

TEST_CASE("\"none\": a stream must end within the request timeout like any other answer") {
  FakeUpstream upstream(streaming([](Peer& peer) { peer.wait_gone(); }));
  conf::Settings settings = settings_for(upstream.port());
  settings.admission.request_timeout = settings.admission.queue_timeout = 100ms;
  settings.upstream.streams = Streams::none;
  Gateway gateway(settings);
  Client client(gateway);
  CHECK_FALSE(client.ask(get("/stream")).is_complete);
  CHECK(gateway.settles_at({.failed = 1}));
  CHECK(gateway.failed(Reason::upstream_timeout) == 1);
}

TEST_CASE("a stream in which the service is silent for too long is cut") {
  for (const bool is_old : {false, true}) {
    CAPTURE(is_old);
    std::atomic<bool> was_cut{false};
    FakeUpstream upstream(streaming([&](Peer& peer) { was_cut = peer.wait_gone(); }));
    conf::Settings settings = settings_for(upstream.port());
    settings.upstream.stream_idle_timeout = 50ms;
    Gateway gateway(settings);
    Client client(gateway);
    client.send(is_old ? "GET /stream HTTP/1.0\r\n\r\n" : get("/stream"));
    const Message answer = client.read_answer();
    CHECK(answer.status() == 200);
    CHECK_FALSE(answer.is_complete);
    CHECK(answer.was_reset == is_old);  // its end is the end of the connection
    CHECK(await([&] { return was_cut.load(); }));
    CHECK(gateway.settles_at({.failed = 1}));
    CHECK(gateway.failed(Reason::stream_idle) == 1);
    CHECK(streams_of(gateway) == 0);
  }
}

TEST_CASE("what comes in time is no silence, however long it lasts") {
  constexpr milliseconds idle = 1s;
  std::atomic<std::size_t> pieces{1};
  FakeUpstream upstream(streaming([&](Peer& peer) {
    for (milliseconds worked{}; worked < 3 * idle / 2; worked += 20ms) {
      peer.work(20ms);
      peer.send(chunk("data: first\n\n"));
      ++pieces;
    }
    peer.send(last_chunk);
  }));
  conf::Settings settings = settings_for(upstream.port());
  settings.upstream.stream_idle_timeout = idle;
  Gateway gateway(settings);
  Client client(gateway);
  const Message answer = client.ask(get("/stream"));
  CHECK(answer.is_complete);
  CHECK(answer.body.size() == pieces * std::string_view("data: first\n\n").size());
  CHECK(gateway.settles_at({.processed = 1}));
  CHECK(gateway.snapshot().average_process == 0ms);  // it tells nothing of the usual work
}

TEST_CASE("a stream that never ends does at upstream.stream_time_max") {
  FakeUpstream upstream(streaming([](Peer& peer) {
    while (peer.send(chunk("data: more\n\n"))) peer.work(1ms);
  }));
  conf::Settings settings = settings_for(upstream.port());
  settings.upstream.stream_time_max = 100ms;
  Gateway gateway(settings);
  Client client(gateway);
  CHECK_FALSE(client.ask(get("/stream")).is_complete);
  CHECK(gateway.settles_at({.failed = 1}));
  CHECK(gateway.failed(Reason::stream_too_long) == 1);
}

// One that takes it slowly: tests/connection/slow_reader_test.cpp.
TEST_CASE("a client that takes nothing is no silence of the service") {
  constexpr std::size_t much = 32 << 20;  // more than all the buffers on the way can hold
  const std::string rest = chunk(std::string(much, 'x')) + std::string(last_chunk);
  FakeUpstream upstream(streaming([&](Peer& peer) { peer.send(rest); }));
  FakeUpstream silent(streaming([](Peer& peer) { peer.wait_gone(); }));
  conf::Settings settings = settings_for(upstream.port());
  settings.upstream.stream_idle_timeout = 1s;
  Gateway gateway(settings);
  settings.upstream.servers = settings_for(silent.port()).upstream.servers;
  Gateway clock(settings);
  Client client(gateway, 4096);
  client.send(get("/stream"));
  REQUIRE(await([&] { return streams_of(gateway) == 1; }));
  // By what is silent from now on it is seen that the time has passed, twice.
  for (int i = 0; i < 2; ++i) {
    Client each(clock);
    CHECK_FALSE(each.ask(get("/stream")).is_complete);
  }
  CHECK(streams_of(gateway) == 1);
  const Message answer = client.read_answer();
  CHECK(answer.is_complete);
  CHECK(answer.body.size() > much);
  CHECK(gateway.settles_at({.processed = 1}));
}

TEST_CASE("a service that waits for an upload is not to blame for the silence") {
  FakeUpstream upstream([](Peer& peer) {
    if (!peer.read_request_head()) return;
    peer.send(start_of_stream());
    peer.wait_gone();
  });
  conf::Settings settings = settings_for(upstream.port());
  settings.upstream.stream_idle_timeout = 50ms;
  settings.upstream.eject_after = 1;
  settings.client.body_buffer = conf::Bytes{1};
  Gateway gateway(settings);
  Client client(gateway);
  client.send("POST /stream HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\nsome");
  CHECK_FALSE(client.read_answer().is_complete);
  CHECK(gateway.settles_at({.failed = 1}));
  CHECK(nlohmann::json::parse(gateway.health()).at("upstream").dump().find("ejected") ==
        std::string::npos);
}

// ---- Clients that leave ------------------------------------------------------------------------

TEST_CASE("who leaves a stream ends it, unless the conf or its route says that it goes on") {
  struct Row {
    std::string_view name;
    OnClientAbort on_stream_abort;
    std::optional<OnClientAbort> of_route;
    bool goes_on;
  };
  for (const Row& row :
       {Row{"usual", OnClientAbort::cancel, {}, false},
        Row{"conf", OnClientAbort::finish, {}, true},
        Row{"route finish", OnClientAbort::cancel, OnClientAbort::finish, true},
        Row{"route cancel", OnClientAbort::finish, OnClientAbort::cancel, false}}) {
    CAPTURE(row.name);
    std::atomic<bool> was_cut{false};
    FakeUpstream upstream(streaming([&](Peer& peer) {
      if (row.goes_on) {
        if (peer.hold()) peer.send(last_chunk);
      } else {
        was_cut = peer.wait_gone();
      }
    }));
    conf::Settings settings = settings_for(upstream.port());
    settings.upstream.on_stream_abort = row.on_stream_abort;
    settings.routes.push_back({.path = "/stream", .on_client_abort = row.of_route});
    Gateway gateway(settings);
    Client client(gateway);
    begin(client);
    client.socket.close();
    if (row.goes_on) {
      CHECK(await([&] { return gateway.snapshot().workers_without_client == 1; }));
      CHECK(streams_of(gateway) == 1);
      upstream.release();
    } else {
      CHECK(await([&] { return was_cut.load(); }));
    }
    CHECK(gateway.settles_at({.abandoned = 1}));
    CHECK(streams_of(gateway) == 0);
  }
}

TEST_CASE("a stream that begins when its client has left ends there and then") {
  std::atomic<bool> was_cut{false};
  FakeUpstream upstream(FakeUpstream::each([&](Peer& peer, const Message&) {
    if (!peer.hold()) return;
    peer.send(start_of_stream());
    was_cut = peer.wait_gone();
  }));
  Gateway gateway(settings_for(upstream.port()));
  Client client(gateway);
  client.send(get("/stream"));
  REQUIRE(await([&] { return upstream.holding() == 1; }));
  client.socket.close();
  REQUIRE(await([&] { return gateway.snapshot().workers_without_client == 1; }));
  upstream.release();
  CHECK(await([&] { return was_cut.load(); }));
  CHECK(gateway.settles_at({.abandoned = 1}));
}

TEST_CASE("a stream that begins behind a 504 lasts no longer than what is left of its time") {
  FakeUpstream upstream(FakeUpstream::each([](Peer& peer, const Message&) {
    if (!peer.hold()) return;
    peer.send(start_of_stream());
    peer.wait_gone();
  }));
  conf::Settings settings = settings_for(upstream.port());
  settings.admission.request_timeout = settings.admission.queue_timeout = 500ms;
  settings.upstream.on_stream_abort = OnClientAbort::finish;
  Gateway gateway(settings);
  Client client(gateway);
  CHECK(client.ask(get("/stream")).reason() == "upstream_timeout");
  upstream.release();
  CHECK(gateway.settles_at({.failed = 1}));  // the bounds of a stream are minutes
}

TEST_CASE("a stream that goes on for nobody is silent for no longer than any") {
  FakeUpstream upstream(streaming([](Peer& peer) { peer.wait_gone(); }));
  conf::Settings settings = settings_for(upstream.port());
  settings.upstream.on_stream_abort = OnClientAbort::finish;
  settings.upstream.stream_idle_timeout = 300ms;
  Gateway gateway(settings);
  Client client(gateway);
  begin(client);
  client.socket.close();
  CHECK(gateway.settles_at({.abandoned = 1}));
  CHECK(streams_of(gateway) == 0);
}

// ---- What is one -------------------------------------------------------------------------------

TEST_CASE("a stream is an answer without a length, and of a type that is made for it") {
  using proxy::wire::Framing;
  const auto is = [](std::string_view type, Framing framing, Streams streams) {
    proxy::wire::Head head;
    head.fields.push_back({.name = "content-TYPE", .value = type});
    return is_stream(head, framing, streams);
  };
  for (const char* type : {"text/event-stream", "Text/Event-Stream;charset=utf-8",
                           "text/event-stream ; x=y", "application/grpc", "application/grpc+proto",
                           "application/grpc-web", "application/x-ndjson", "application/jsonl",
                           "application/json-seq", "application/stream+json"}) {
    CAPTURE(type);
    CHECK(is(type, Framing::chunked, Streams::by_type));
    CHECK(is(type, Framing::until_close, Streams::by_type));
    CHECK_FALSE(is(type, Framing::length, Streams::by_type));
    CHECK_FALSE(is(type, Framing::none, Streams::chunked));
    CHECK_FALSE(is(type, Framing::chunked, Streams::none));
  }
  for (const char* type : {"", "application/json", "text/event-streams", "text/event-strea",
                           "application/grp", "text/html; text/event-stream"}) {
    CAPTURE(type);
    CHECK_FALSE(is(type, Framing::chunked, Streams::by_type));
    CHECK(is(type, Framing::chunked, Streams::chunked));
    CHECK(is(type, Framing::until_close, Streams::chunked));
  }
  CHECK_FALSE(is_stream({}, Framing::chunked, Streams::by_type));
}

}  // namespace
}  // namespace classgate::gateway::test
