#include <doctest/doctest.h>

#include <string>

#include "tests/connection/memory_world.h"

// Every way in which one request can end, without a socket.

namespace classgate::connection_test {

using conf::Reason;

TEST_CASE("ending: answered") {
  MemoryWorld world;
  MemoryClient client;
  world.post(client);
  world.service().answer();
  CHECK(client.said == "head 200, body ok, end, finish");
  CHECK(world.balances(1, 0, 0, 0));
}

TEST_CASE("ending: interim answers, and a body that streams through the worker") {
  MemoryWorld world;
  MemoryClient client;
  gateway::Exchange& exchange = world.upload(client);
  exchange.on_body(std::string(1024, 'x'));
  exchange.on_body_part_end();  // as much as is held: a worker takes it
  CHECK(client.wanted == 1);
  exchange.on_body("rest");
  exchange.on_body_end({});
  CHECK(world.service().got == "sent rest");
  proxy::wire::Head hint;
  hint.status = 103;
  world.service().reader->on_interim_answer(hint);
  hint.status = 100;  // the gateway has said it
  world.service().reader->on_interim_answer(hint);
  world.service().answer();
  CHECK(client.said == "interim 103, head 200, body ok, end, finish");
  CHECK(world.balances(1, 0, 0, 0));
}

TEST_CASE("ending: a request that can't be read, or may not be what it is") {
  MemoryWorld world;
  MemoryClient unreadable, tunnel, large, slow, half;
  world.station().take_exchange().on_unreadable(unreadable, Reason::malformed);
  CHECK(unreadable.said == "malformed 400, finish");
  world.ask(tunnel, "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n");
  CHECK(tunnel.said == "method_refused 405, finish");
  world.ask(large, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n", false);
  CHECK(large.said == "body_too_large 413, finish");
  world.upload(slow).on_body_fault(Reason::client_timeout);
  CHECK(slow.said == "client_timeout 408, finish");
  CHECK(slow.gives_up);
  world.upload(half);
  world.pass(10s);  // it never comes
  CHECK(half.said == "client_timeout 408, finish");
  CHECK(world.attempts() == 0);
  CHECK(world.balances(0, 0, 5, 0));
}

TEST_CASE("ending: too many wait, or for too long") {
  MemoryWorld world;
  MemoryClient served, waiting, refused;
  world.post(served);
  world.post(waiting);
  CHECK(waiting.said.empty());
  world.post(refused);
  CHECK(refused.said == "queue_full 503, finish");
  CHECK(refused.retry_after > 0s);
  world.pass(4s);
  CHECK(waiting.said == "queue_timeout 503, finish");
  CHECK(waiting.retry_after > 0s);
  world.service().answer();
  CHECK(world.balances(1, 0, 2, 0));
}

TEST_CASE("ending: too many in a second") {
  conf::Settings few = memory_settings();
  few.admission.rate = few.admission.burst = 1;
  MemoryWorld world(few);
  MemoryClient served, limited;
  world.post(served);
  world.post(limited);
  CHECK(limited.said == "rate_limited 429, finish");
  CHECK(limited.retry_after > 0s);
  world.service().answer();
  CHECK(world.balances(1, 0, 1, 0));
}

TEST_CASE("ending: displaced by one of a higher priority") {
  MemoryWorld world;
  MemoryClient served, low, high;
  world.post(served);
  world.get(low, "/other");
  world.get(high, "/status");
  world.pass();
  CHECK(low.said == "displaced 503, finish");
  world.service(0).answer();
  world.pass();
  world.service(1).answer();
  CHECK(high.said == "head 200, body ok, end, finish");
  CHECK(world.balances(2, 0, 1, 0));
}

TEST_CASE("ending: its own deadline is over while it waits") {
  conf::Settings wanted = memory_settings();
  wanted.admission.deadlines.from_client = true;
  MemoryWorld world(wanted);
  MemoryClient served, hurried;
  world.post(served);
  world.ask(hurried,
            "POST /v1/classify HTTP/1.1\r\nHost: a\r\nPrefer: wait=2\r\nContent-Length: 0\r\n\r\n");
  world.pass(2s);
  CHECK(hurried.said == "deadline 504, finish");
  world.service().answer();
  CHECK(world.balances(1, 0, 1, 0));
}

TEST_CASE("ending: the service can't be reached") {
  MemoryWorld world;
  MemoryClient client;
  world.post(client);
  world.service().lose(UpstreamStream::Lost::unreachable, UpstreamStream::Taken::no);
  CHECK(client.said == "upstream_unreachable 502, finish");
  CHECK(world.attempts() == 1);  // there is no other
  CHECK(world.balances(0, 1, 0, 0));
}

TEST_CASE("ending: with a worker but no place in a server it waits for one, not for ever") {
  conf::Settings wanted = memory_settings();
  wanted.upstream.requests_per_server = 1;
  MemoryWorld world(wanted);
  MemoryClient quicker, served, late;
  world.pool().is_full = true;  // by the time it gets there
  world.post(quicker);
  CHECK(quicker.said.empty());
  world.pool().is_full = false;
  world.pass(20ms);
  world.service(0).answer();
  CHECK(quicker.said == "head 200, body ok, end, finish");

  world.pool().servers().enter(0, 0);  // there were more places until now
  world.post(served);
  world.pass(1s);
  CHECK(served.said.empty());
  world.pool().servers().leave(0);
  world.pass(20ms);
  world.service(1).answer();
  CHECK(served.said == "head 200, body ok, end, finish");

  world.pool().servers().enter(0, 0);
  world.post(late);
  world.pass(4s);
  CHECK(late.said == "queue_timeout 503, finish");
  CHECK(late.retry_after > 0s);
  CHECK(world.attempts() == 2);
  world.pool().servers().leave(0);

  MemoryClient unlucky;
  world.pool().is_full = true;  // each place that is seen goes to somebody else
  world.post(unlucky);
  world.pass(4s);
  CHECK(unlucky.said == "queue_timeout 503, finish");
  CHECK(world.attempts() == 2);
  CHECK(world.balances(2, 0, 2, 0));
}

TEST_CASE("ending: a request that was not taken is sent again three times, and no more") {
  MemoryWorld world;
  MemoryClient client;
  world.post(client);
  for (std::size_t i = 0; i < 3; ++i) {
    world.service(i).lose(UpstreamStream::Lost::broken, UpstreamStream::Taken::no);
    CHECK(client.said.empty());
    CHECK(world.attempts() == i + 2);
  }
  world.service(3).lose(UpstreamStream::Lost::broken, UpstreamStream::Taken::no);
  CHECK(client.said == "upstream_broken 502, finish");
  CHECK(world.attempts() == 4);
  CHECK(world.balances(0, 1, 0, 0));
}

TEST_CASE("ending: a request that the server declined is sent again once: it may have too much") {
  MemoryWorld world;
  MemoryClient client;
  world.post(client);
  world.service(0).decline();
  CHECK(client.said.empty());
  world.service(1).decline();
  CHECK(client.said == "upstream_broken 502, finish");
  CHECK(world.attempts() == 2);
}

TEST_CASE("ending: one that was not taken before may be lost once, and no more") {
  MemoryWorld world;
  MemoryClient get;
  world.get(get);
  world.service(0).lose(UpstreamStream::Lost::broken, UpstreamStream::Taken::no);
  world.service(1).lose(UpstreamStream::Lost::broken, UpstreamStream::Taken::perhaps);
  CHECK(get.said.empty());
  world.service(2).lose(UpstreamStream::Lost::broken, UpstreamStream::Taken::perhaps);
  CHECK(get.said == "upstream_broken 502, finish");
  CHECK(world.balances(0, 1, 0, 0));
}

TEST_CASE("ending: one that may have been taken is not, unless it is idempotent") {
  MemoryWorld world;
  MemoryClient post, get;
  world.post(post);
  world.service(0).lose(UpstreamStream::Lost::broken, UpstreamStream::Taken::perhaps);
  CHECK(post.said == "upstream_broken 502, finish");
  world.get(get);
  world.service(1).lose(UpstreamStream::Lost::broken, UpstreamStream::Taken::perhaps);
  REQUIRE(world.attempts() == 3);
  world.service(2).answer();
  CHECK(get.said == "head 200, body ok, end, finish");
  CHECK(world.balances(1, 1, 0, 0));
}

TEST_CASE("ending: in doubt it waits for the proof") {
  for (const bool was_taken : {false, true}) {
    MemoryWorld world;
    MemoryClient client;
    world.post(client);
    world.service(0).lose(UpstreamStream::Lost::broken, UpstreamStream::Taken::not_known_yet);
    CHECK(world.service(0).awaits_proof);
    CHECK(client.said.empty());
    world.service(0).lose(UpstreamStream::Lost::broken,
                          was_taken ? UpstreamStream::Taken::perhaps : UpstreamStream::Taken::no);
    CHECK(world.attempts() == (was_taken ? 1 : 2));
    if (!was_taken) world.service(1).answer();
    CHECK(client.said ==
          (was_taken ? "upstream_broken 502, finish" : "head 200, body ok, end, finish"));
    CHECK(world.balances(was_taken ? 0 : 1, was_taken ? 1 : 0, 0, 0));
  }
}

TEST_CASE("ending: garbage instead of a head, and an answer that breaks off") {
  MemoryWorld world;
  MemoryClient garbage, too_large, broken;
  world.post(garbage);
  world.service(0).lose(UpstreamStream::Lost::broken, UpstreamStream::Taken::perhaps, true);
  CHECK(garbage.said == "upstream_broken 502, finish");
  world.post(too_large);
  world.service(1).lose(UpstreamStream::Lost::head_too_large, UpstreamStream::Taken::perhaps, true);
  CHECK(too_large.said == "upstream_broken 502, finish");
  world.get(broken);  // idempotent: it is not sent again all the same
  world.service(2).head(200, Framing::length);
  world.service(2).reader->on_answer_body("half");
  world.service(2).lose(UpstreamStream::Lost::broken, UpstreamStream::Taken::perhaps, true);
  CHECK(broken.said == "head 200, body half, cut");
  CHECK(world.attempts() == 3);
  CHECK(world.balances(0, 3, 0, 0));
}

TEST_CASE("ending: the service is too slow, and computes on or is left") {
  for (const auto on_abort : {conf::OnClientAbort::finish, conf::OnClientAbort::cancel}) {
    conf::Settings wanted = memory_settings();
    wanted.upstream.on_client_abort = on_abort;
    const bool computes_on = on_abort == conf::OnClientAbort::finish;
    MemoryWorld world(wanted);
    MemoryClient client;
    world.post(client);
    world.pass(10s);
    CHECK(client.said == "upstream_timeout 504, finish");
    CHECK(world.service().is_open == computes_on);
    CHECK(world.workers_without_client() == (computes_on ? 1 : 0));
    if (computes_on) {
      world.service().answer();
      CHECK(client.said == "upstream_timeout 504, finish");  // nobody hears of it
    }
    CHECK(world.balances(0, 1, 0, 0));
  }
}

TEST_CASE("ending: who computes on for nobody is left after one more request timeout") {
  MemoryWorld world;
  MemoryClient client;
  world.post(client);
  world.pass(10s);
  CHECK(world.service().is_open);
  world.pass(10s);
  CHECK_FALSE(world.service().is_open);
  CHECK(world.balances(0, 1, 0, 0));
}

TEST_CASE("ending: the client leaves") {
  for (const auto on_abort : {conf::OnClientAbort::finish, conf::OnClientAbort::cancel}) {
    conf::Settings wanted = memory_settings();
    wanted.upstream.on_client_abort = on_abort;
    const bool computes_on = on_abort == conf::OnClientAbort::finish;
    MemoryWorld world(wanted);
    MemoryClient uploading, served, waiting;
    world.upload(uploading).on_client_gone();
    gateway::Exchange& first = world.post(served);
    world.post(waiting).on_client_gone();
    first.on_client_gone();
    CHECK(world.service().is_open == computes_on);
    if (computes_on) world.service().answer();
    CHECK(uploading.said + served.said + waiting.said == "");
    CHECK(world.attempts() == 1);
    CHECK(world.balances(0, 0, 0, 3));
  }
}

TEST_CASE("ending: a stream that is silent, or goes on for ever") {
  conf::Settings wanted = memory_settings();
  MemoryWorld world(wanted);
  MemoryClient silent, endless;
  world.post(silent);
  world.service(0).head(200, Framing::chunked, "text/event-stream");
  world.service(0).reader->on_answer_part_end();
  world.pass(5s);
  CHECK(silent.said == "head 200, cut");
  CHECK_FALSE(world.service(0).is_open);
  world.post(endless);
  world.service(1).head(200, Framing::chunked, "text/event-stream");
  for (int i = 0; i < 20; ++i) {
    world.service(1).reader->on_answer_part_end();
    world.pass(3s);
  }
  CHECK(endless.said == "head 200, cut");
  CHECK_FALSE(world.service(1).is_open);
  CHECK(world.balances(0, 2, 0, 0));
}

TEST_CASE("ending: a reader that takes nothing while somebody waits for its worker") {
  MemoryWorld world;
  MemoryClient reader, waiting;
  world.post(reader);
  world.service(0).head(200, Framing::length);
  reader.pending = 100 << 20;
  CHECK(world.service(0).reader->is_answer_blocked());
  world.pass(1s);
  CHECK(reader.said == "head 200, ");  // nobody waits
  world.post(waiting);
  world.pass(1s);
  CHECK(reader.said == "head 200, reset");
  CHECK(waiting.said.empty());
  world.service(0).end();  // which computed on
  world.pass();
  world.service(1).answer();
  CHECK(waiting.said == "head 200, body ok, end, finish");
  CHECK(world.balances(1, 0, 0, 1));
}

TEST_CASE("ending: a tunnel, by either side") {
  conf::Settings wanted = memory_settings();
  wanted.upstream.websocket = true;
  MemoryWorld world(wanted);
  constexpr std::string_view request =
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
  proxy::wire::Head agreed;
  agreed.status = 101;
  MemoryClient client, leaving;
  gateway::Exchange& tunnel = world.ask(client, request);
  world.service(0).reader->on_switched(agreed);
  tunnel.on_tunnel_bytes("hi");
  world.service(0).reader->on_answer_body("hello");
  world.service(0).reader->on_server_ended();
  tunnel.on_tunnel_client_ended();
  CHECK(world.service(0).got == "sent raw hi raw end");
  world.service(0).end();
  CHECK(client.said == "tunnel 101, body hello, no more, end, finish");
  gateway::Exchange& other = world.ask(leaving, request);
  world.service(1).reader->on_switched(agreed);
  other.on_client_gone();
  CHECK_FALSE(world.service(1).is_open);
  CHECK(world.balances(2, 0, 0, 0));
}

TEST_CASE("ending: the gateway ends") {
  MemoryWorld world;
  MemoryClient uploading, served, waiting;
  world.upload(uploading);
  world.post(served);
  world.service(0).head(200, Framing::length);
  world.post(waiting);
  world.end();
  CHECK(uploading.said == "draining 503, finish");
  CHECK(waiting.said == "draining 503, finish");
  CHECK(waiting.retry_after > 0s);
  CHECK(served.said == "head 200, cut");
  CHECK_FALSE(world.service(0).is_open);
}

TEST_CASE("ending: a fault within the gateway costs this request only") {
  MemoryWorld world;
  MemoryClient client, next;
  world.pool().throws = true;
  world.station().loop().guard([&] { world.post(client); }, [&] { world.latest().on_fault(); });
  world.pool().throws = false;
  CHECK(client.said == "reset");
  CHECK_FALSE(world.service(0).is_open);
  world.pass();
  world.post(next);
  world.service(1).answer();
  CHECK(next.said == "head 200, body ok, end, finish");
}

}  // namespace classgate::connection_test
