// Clients that leave. Long, because they may do so at each point of a request.

#include <doctest/doctest.h>

#include <array>

#include "tests/gateway/kit.h"

// Clients that leave, at every point of a request's journey: the books say "abandoned", and what
// was taken comes back when it may. Long, because the journey has many points.

namespace classgate::gateway::test {
namespace {

using conf::OnClientAbort;

conf::Settings one_worker(const FakeUpstream& upstream,
                          OnClientAbort on_abort = OnClientAbort::finish) {
  conf::Settings settings = settings_for(upstream.port());
  settings.admission.workers = 1;
  settings.upstream.on_client_abort = on_abort;
  return settings;
}

enum class Farewell : std::uint8_t { end, reset };
constexpr std::array farewells{Farewell::end, Farewell::reset};

void leave(Client& client, Farewell how) {
  if (how == Farewell::end)
    client.socket.close();
  else
    client.socket.reset();
}

bool comes_to_work_for_nobody(const Gateway& gateway, std::uint32_t workers) {
  return await([&] { return gateway.snapshot().workers_without_client == workers; });
}

// All connections of clients are gone.
bool is_left_alone(Gateway& gateway) {
  return await([&] { return gateway.server().connections() == 0; });
}

// A head whose body the gateway has asked for: it is surely being collected.
void begin_upload(Client& client, std::string_view target, std::string_view framing) {
  client.send("POST " + std::string(target) + " HTTP/1.1\r\nHost: test\r\n" + std::string(framing) +
              "\r\nExpect: 100-continue\r\n\r\n");
  const auto go_on = client.reader.read_head();
  REQUIRE(go_on.has_value());
  REQUIRE(go_on->status() == 100);
}

// ---- Waiting -----------------------------------------------------------------------------------

TEST_CASE("a client that leaves while it waits gives up its place at once") {
  for (const Farewell how : farewells) {
    CAPTURE(static_cast<int>(how));
    FakeUpstream upstream(FakeUpstream::held());
    conf::Settings settings = one_worker(upstream);
    settings.admission.queue_size = 1;
    Gateway gateway(settings);
    Client first(gateway);
    first.send(get("/first"));
    REQUIRE(comes_to_hold(upstream, 1));
    Client leaver(gateway);
    leaver.send(get("/leaver"));
    REQUIRE(gateway.comes_to_wait(1));

    leave(leaver, how);
    CHECK(gateway.comes_to_wait(0));
    CHECK(gateway.snapshot().abandoned == 1);

    Client next(gateway);
    next.send(get("/next"));  // there is one place only: it is free again
    REQUIRE(gateway.comes_to_wait(1));
    upstream.release(2);
    CHECK(first.read_answer().status() == 200);
    CHECK(next.read_answer().body == "GET /next");
    CHECK(upstream.targets() == std::vector<std::string>{"/first", "/next"});
    CHECK(gateway.settles_at({.processed = 2, .abandoned = 1}));
  }
}

TEST_CASE("when waiters leave, the worker goes to the next who still waits") {
  FakeUpstream upstream(FakeUpstream::held());
  Gateway gateway(one_worker(upstream));
  Client first(gateway), second(gateway), third(gateway), fourth(gateway);
  first.send(get("/1"));
  REQUIRE(comes_to_hold(upstream, 1));
  second.send(get("/2"));
  REQUIRE(gateway.comes_to_wait(1));
  third.send(post("/3", "body"));
  REQUIRE(gateway.comes_to_wait(2));
  fourth.send(get("/4"));
  REQUIRE(gateway.comes_to_wait(3));

  leave(second, Farewell::end);
  leave(third, Farewell::reset);
  REQUIRE(gateway.comes_to_wait(1));
  upstream.release(2);
  CHECK(first.read_answer().status() == 200);
  CHECK(fourth.read_answer().body == "GET /4");
  CHECK(upstream.targets() == std::vector<std::string>{"/1", "/4"});
  CHECK(gateway.settles_at({.processed = 2, .abandoned = 2}));
}

TEST_CASE("a client that leaves while it waits with half its body read leaves no bytes behind") {
  for (const Farewell how : farewells) {
    CAPTURE(static_cast<int>(how));
    FakeUpstream upstream(FakeUpstream::held());
    conf::Settings settings = one_worker(upstream);
    settings.client.body_buffer = conf::KiB(1);
    Gateway gateway(settings);
    Client first(gateway);
    first.send(get("/first"));
    REQUIRE(comes_to_hold(upstream, 1));
    Client leaver(gateway);
    leaver.send("POST /big HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n" +
                pattern(50'000));
    REQUIRE(gateway.comes_to_wait(1));
    CHECK(gateway.snapshot().waiting_bytes >= 1024);
    leaver.send(pattern(10'000));  // stays in the gateway's socket: nobody reads it now
    leave(leaver, how);
    CHECK(gateway.comes_to_wait(0));
    CHECK(gateway.snapshot().waiting_bytes == 0);
    upstream.release();
    CHECK(first.read_answer().status() == 200);
    CHECK(gateway.settles_at({.processed = 1, .abandoned = 1}));
    CHECK(upstream.request_count() == 1);
  }
}

// ---- In flight ---------------------------------------------------------------------------------

TEST_CASE("finish: the worker of a client that has left stays taken until the upstream is done") {
  for (const Farewell how : farewells) {
    CAPTURE(static_cast<int>(how));
    FakeUpstream upstream(FakeUpstream::held());
    Gateway gateway(one_worker(upstream));
    Client leaver(gateway);
    leaver.send(get("/leaver"));
    REQUIRE(comes_to_hold(upstream, 1));
    Client next(gateway);
    next.send(get("/next"));
    REQUIRE(gateway.comes_to_wait(1));

    leave(leaver, how);
    REQUIRE(comes_to_work_for_nobody(gateway, 1));
    CHECK(gateway.snapshot().active_workers == 1);
    CHECK(gateway.snapshot().waiting == 1);
    CHECK(gateway.snapshot().abandoned == 0);  // not before it has ended
    CHECK(upstream.request_count() == 1);

    upstream.release();
    REQUIRE(await([&] { return upstream.request_count() == 2; }));
    CHECK(gateway.snapshot().workers_without_client == 0);
    upstream.release();
    CHECK(next.read_answer().body == "GET /next");
    CHECK(gateway.settles_at({.processed = 1, .abandoned = 1}));
  }
}

TEST_CASE("finish: however many leave, the upstream never has more requests than workers") {
  constexpr std::uint32_t workers = 2;
  constexpr std::size_t clients = 12;
  std::atomic<int> running{0}, most{0};
  FakeUpstream upstream(FakeUpstream::each([&](Peer& peer, const Message&) {
    const int now = ++running;
    for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
    }
    const bool goes_on = peer.hold();
    --running;
    if (goes_on) peer.send(answer_with("late"));
  }));
  conf::Settings settings = one_worker(upstream);
  settings.admission.workers = workers;
  settings.admission.queue_size = clients;
  Gateway gateway(settings);

  std::vector<std::unique_ptr<Client>> all;
  for (std::size_t i = 0; i < clients; ++i) {
    all.push_back(std::make_unique<Client>(gateway));
    all.back()->send(get("/" + std::to_string(i)));
    REQUIRE(await([&] {
      const admission::Snapshot s = gateway.snapshot();
      return s.active_workers + s.waiting == i + 1;
    }));
  }
  // First in, first out: whoever goes in leaves at once.
  for (std::size_t gone = 0; gone < clients; ++gone) {
    REQUIRE(await([&] { return upstream.request_count() >= gone + 1; }));
    leave(*all[gone], Farewell::reset);
    if (gone + 1 < workers) continue;
    REQUIRE(comes_to_work_for_nobody(gateway, workers));
    CHECK(upstream.request_count() == gone + 1);  // the next one has to wait for a real end
    upstream.release();
  }
  upstream.release(workers - 1);
  CHECK(gateway.settles_at({.abandoned = clients}));
  CHECK(most == static_cast<int>(workers));
}

TEST_CASE("cancel: the upstream connection of a client that has left is closed, the worker freed") {
  for (const Farewell how : farewells) {
    CAPTURE(static_cast<int>(how));
    std::atomic<bool> was_cut{false};
    FakeUpstream upstream(FakeUpstream::each([&](Peer& peer, const Message& request) {
      if (request.target() == "/leaver")
        was_cut = peer.wait_gone();
      else
        peer.send(answer_with("served"));
    }));
    Gateway gateway(one_worker(upstream, OnClientAbort::cancel));
    Client leaver(gateway);
    leaver.send(post("/leaver", "all of it"));
    REQUIRE(await([&] { return upstream.request_count() == 1; }));
    Client next(gateway);
    next.send(get("/next"));
    REQUIRE(gateway.comes_to_wait(1));

    leave(leaver, how);
    CHECK(next.read_answer().body == "served");
    CHECK(await([&] { return was_cut.load(); }));
    CHECK(gateway.settles_at({.processed = 1, .abandoned = 1}));
  }
}

TEST_CASE("finish: an upstream that breaks off for a client that has left fails nobody") {
  FakeUpstream upstream(FakeUpstream::each([](Peer& peer, const Message&) {
    peer.hold();
    peer.socket.reset();
  }));
  Gateway gateway(one_worker(upstream));
  Client leaver(gateway);
  leaver.send(post("/leaver", "once"));
  REQUIRE(comes_to_hold(upstream, 1));
  leave(leaver, Farewell::end);
  REQUIRE(comes_to_work_for_nobody(gateway, 1));
  upstream.release();
  CHECK(gateway.settles_at({.abandoned = 1}));
  CHECK(upstream.request_count() == 1);
}

TEST_CASE("nothing is sent a second time for a client that has left") {
  // A GET whose upstream connection dies is sent again, but not when nobody waits for the answer.
  FakeUpstream upstream(FakeUpstream::each([](Peer& peer, const Message&) {
    peer.hold();
    peer.socket.reset();
  }));
  Gateway gateway(one_worker(upstream));
  Client leaver(gateway);
  leaver.send(get("/leaver"));
  REQUIRE(comes_to_hold(upstream, 1));
  leave(leaver, Farewell::end);
  REQUIRE(comes_to_work_for_nobody(gateway, 1));
  upstream.release(2);
  CHECK(gateway.settles_at({.abandoned = 1}));
  CHECK(upstream.request_count() == 1);
}

TEST_CASE("a client that ends its side together with its request counts as gone") {
  FakeUpstream upstream(FakeUpstream::held());
  auto settings = one_worker(upstream);
  settings.threads = 1;  // so that both requests are one loop's
  Gateway gateway(settings);
  Client first(gateway), leaver(gateway);
  first.send(get("/first"));  // leaves a connection that the next request goes over at once
  upstream.release();
  REQUIRE(first.read_answer().status() == 200);
  leaver.socket.send_and_end(get("/leaver"));
  REQUIRE(comes_to_work_for_nobody(gateway, 1));
  REQUIRE(comes_to_hold(upstream, 1));
  upstream.release();
  CHECK(gateway.settles_at({.processed = 1, .abandoned = 1}));
}

TEST_CASE("a client that leaves before its request could be sent leaves its worker free") {
  FakeUpstream upstream(FakeUpstream::held());
  Gateway gateway(one_worker(upstream));  // without a connection to the upstream yet
  Client leaver(gateway);
  leaver.socket.send_and_end(get("/leaver"));
  CHECK(gateway.settles_at({.abandoned = 1}));
  CHECK(upstream.request_count() == 0);
}

// ---- In the body -------------------------------------------------------------------------------

TEST_CASE("clients that leave in the middle of their bodies are abandoned before any worker") {
  constexpr int pairs = 20;  // of some, the last bytes and the end are seen together
  for (const Farewell how : farewells) {
    CAPTURE(static_cast<int>(how));
    FakeUpstream upstream(FakeUpstream::echo_target());
    Gateway gateway(one_worker(upstream));
    for (int i = 0; i < pairs; ++i) {
      Client by_length(gateway), by_chunks(gateway);
      begin_upload(by_length, "/length", "Content-Length: 100");
      begin_upload(by_chunks, "/chunks", "Transfer-Encoding: chunked");
      by_length.send(pattern(99));
      by_chunks.send(chunk(pattern(99)) + "10\r\nhalf");
      leave(by_length, how);
      leave(by_chunks, how);
    }
    CHECK(gateway.settles_at({.abandoned = 2 * pairs}));
    CHECK(is_left_alone(gateway));
    CHECK(upstream.request_count() == 0);
  }
}

TEST_CASE("a client that leaves while its body streams takes the upstream connection with it") {
  // Half a request is of no use to the upstream, whatever on_client_abort says.
  for (const Farewell how : farewells) {
    for (const OnClientAbort on_abort : {OnClientAbort::finish, OnClientAbort::cancel}) {
      CAPTURE(static_cast<int>(how));
      CAPTURE(static_cast<int>(on_abort));
      std::atomic<bool> was_cut{false};
      FakeUpstream upstream([&](Peer& peer) {
        const auto head = peer.read_request_head();
        if (!head) return;
        if (head->target() == "/leaver")
          was_cut = peer.wait_gone();
        else
          peer.send(answer_with("served"));
      });
      conf::Settings settings = one_worker(upstream, on_abort);
      settings.client.body_buffer = conf::KiB(1);
      Gateway gateway(settings);
      Client leaver(gateway);
      begin_upload(leaver, "/leaver", "Content-Length: 100000");
      leaver.send(pattern(5000));
      REQUIRE(await([&] { return upstream.request_count() == 1; }));
      CHECK(gateway.snapshot().active_workers == 1);

      leave(leaver, how);
      CHECK(await([&] { return was_cut.load(); }));
      CHECK(gateway.settles_at({.abandoned = 1}));
      CHECK(Client(gateway).ask(get("/next")).body == "served");
      CHECK(gateway.settles_at({.processed = 1, .abandoned = 1}));
    }
  }
}

TEST_CASE("a reset is noticed while the upstream takes none of the body") {
  // An orderly end would stand in line behind the body, a reset does not.
  FakeUpstream upstream([](Peer& peer) {
    if (peer.read_request_head()) peer.hold();
  });
  conf::Settings settings = one_worker(upstream);
  settings.client.body_buffer = conf::KiB(16);
  settings.client.body_bytes = conf::MiB(200);
  Gateway gateway(settings);
  Client leaver(gateway);
  begin_upload(leaver, "/leaver", "Content-Length: 200000000");
  // Nobody reads at the other end: at last nothing more fits on the whole way.
  const std::string part = pattern(256 * 1024);
  std::size_t sent = 0;
  int refused = 0;
  REQUIRE(await([&] {
    const std::size_t now = leaver.socket.send_what_fits(part);
    sent += now;
    refused = now == 0 ? refused + 1 : 0;
    return refused == 200;
  }));
  REQUIRE(upstream.request_count() == 1);
  CHECK(sent < 190'000'000);
  leave(leaver, Farewell::reset);
  CHECK(gateway.settles_at({.abandoned = 1}));
}

// ---- Reading the answer ------------------------------------------------------------------------

TEST_CASE("a client that leaves in the middle of a big answer") {
  const std::string answer = answer_with(std::string(48 << 20, 'x'));
  for (const Farewell how : farewells) {
    for (const OnClientAbort on_abort : {OnClientAbort::finish, OnClientAbort::cancel}) {
      CAPTURE(static_cast<int>(how));
      CAPTURE(static_cast<int>(on_abort));
      std::atomic<int> sent_all{0}, was_cut{0};
      FakeUpstream upstream(FakeUpstream::each(
          [&](Peer& peer, const Message&) { ++(peer.send(answer) ? sent_all : was_cut); }));
      Gateway gateway(one_worker(upstream, on_abort));
      Client leaver(gateway, 4096);
      leaver.send(get("/big"));
      std::string begin;
      while (begin.size() < 20'000) REQUIRE(leaver.socket.read(begin) == Socket::Got::some);
      CHECK(sent_all == 0);  // it does not fit on the way: the rest is still at the upstream

      leave(leaver, how);
      CHECK(gateway.settles_at({.abandoned = 1}));
      CHECK(await([&] { return sent_all + was_cut == 1; }));
      CHECK(sent_all == (on_abort == OnClientAbort::finish ? 1 : 0));
      CHECK(is_left_alone(gateway));
    }
  }
}

TEST_CASE("an answer that was complete before its client left has been processed") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(one_worker(upstream));
  Client leaver(gateway);
  leaver.send(get("/quick"));
  REQUIRE(gateway.settles_at({.processed = 1}));
  leave(leaver, Farewell::reset);  // has read nothing of it
  CHECK(is_left_alone(gateway));
  CHECK(gateway.settles_at({.processed = 1}));
}

// ---- Between and behind ------------------------------------------------------------------------

TEST_CASE("of a pipelining client that leaves, only the request that was begun ever existed") {
  for (const Farewell how : farewells) {
    CAPTURE(static_cast<int>(how));
    FakeUpstream upstream(FakeUpstream::held());
    Gateway gateway(one_worker(upstream));
    Client leaver(gateway);
    leaver.send(get("/1") + post("/2", "two") + get("/3"));
    REQUIRE(comes_to_hold(upstream, 1));
    leave(leaver, how);
    REQUIRE(comes_to_work_for_nobody(gateway, 1));
    upstream.release(3);
    CHECK(gateway.settles_at({.abandoned = 1}));
    CHECK(upstream.targets() == std::vector<std::string>{"/1"});
    CHECK(gateway.snapshot().total == 1);
    CHECK(is_left_alone(gateway));
  }
}

TEST_CASE("a pipelining client that leaves after some answers has those processed") {
  FakeUpstream upstream(FakeUpstream::held());
  Gateway gateway(one_worker(upstream));
  Client leaver(gateway);
  leaver.send(get("/1") + get("/2") + get("/3"));
  REQUIRE(comes_to_hold(upstream, 1));
  upstream.release();
  CHECK(leaver.read_answer().body == "GET /1");
  REQUIRE(await([&] { return upstream.request_count() == 2; }));
  leave(leaver, Farewell::end);
  REQUIRE(comes_to_work_for_nobody(gateway, 1));
  upstream.release();
  CHECK(gateway.settles_at({.processed = 1, .abandoned = 1}));
  CHECK(upstream.request_count() == 2);
}

TEST_CASE("clients that leave with no request, or with part of a head, are in no book") {
  for (const Farewell how : farewells) {
    CAPTURE(static_cast<int>(how));
    FakeUpstream upstream(FakeUpstream::echo_target());
    Gateway gateway(one_worker(upstream));
    Client silent(gateway), half(gateway), served(gateway);
    half.send("GET /half HTTP/1.1\r\nHo");
    CHECK(served.ask(get("/served")).status() == 200);
    REQUIRE(await([&] { return gateway.server().connections() == 3; }));
    leave(silent, how);
    leave(half, how);
    leave(served, how);
    CHECK(is_left_alone(gateway));
    CHECK(gateway.settles_at({.processed = 1}));
  }
}

}  // namespace
}  // namespace classgate::gateway::test
