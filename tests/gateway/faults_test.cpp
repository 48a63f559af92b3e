#include <doctest/doctest.h>

#include <random>
#include <set>

#include "tests/gateway/faults.h"
#include "tests/gateway/kit.h"

// What the kernel may do at any call and what it does when it is out of something: looped over the
// calls and the bytes of an exchange.

namespace classgate::gateway::test {
namespace {

const std::string faulted_request =
    "POST /v1/classify HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    "3\r\nabc\r\n4\r\ndefg\r\n0\r\nX-Sum: 1\r\n\r\n";
const std::string faulted_answer =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n5\r\nhello\r\n6\r\n world\r\n"
    "0\r\n\r\n";

FakeUpstream::Script answers_whole() {
  return FakeUpstream::each([](Peer& peer, const Message&) { peer.send(faulted_answer); });
}

conf::Settings plain(std::uint16_t port) {
  auto settings = settings_for(port);
  settings.upstream.eject_after = 0;
  settings.sandbox = conf::Sandbox::off;  // faults.cpp looks into /proc
  return settings;
}

bool is_idle(const Gateway& gateway) {
  return await([&] {
    const auto now = gateway.snapshot();
    return now.active_workers == 0 && now.waiting == 0;
  });
}

// Each call of a kind gets its turn, and so does each byte: the call that would go beyond it stops
// there.
struct Turn {
  Call call;
  std::uint64_t at;
  bool counts_bytes;
};

Fault at_turn(const Turn& turn, const Moment& moment, const Fault& fault) {
  if (moment.call != turn.call) return {};
  if (!turn.counts_bytes) return moment.number == turn.at ? fault : Fault{};
  if (moment.bytes < turn.at) return {.most = static_cast<std::size_t>(turn.at - moment.bytes)};
  return moment.bytes == turn.at ? fault : Fault{};
}

TEST_CASE("a read or write that stops at any byte, or has to be made again, is the same exchange") {
  FakeUpstream upstream(answers_whole());
  auto settings = plain(upstream.port());
  SUBCASE("with the body held") {}
  SUBCASE("with the body streamed") { settings.client.body_buffer = conf::Bytes{1}; }
  Gateway gateway(settings);
  std::uint64_t exchanges = 0;
  for (const Call call : {Call::receive, Call::send}) {
    std::uint64_t last_byte = 0;
    for (std::uint64_t at = 0; at <= last_byte; ++at) {
      for (const int error : {0, EINTR, EAGAIN}) {
        // Once at that byte, or it would be made again for ever.
        bool is_done = false;
        const Injection injection([&](const Moment& moment) {
          Fault fault = at_turn({call, at, true}, moment, {error});
          if (fault.error != 0 && std::exchange(is_done, true)) fault = {};
          return fault;
        });
        CAPTURE(static_cast<int>(call));
        CAPTURE(at);
        CAPTURE(error);
        Client client(gateway);
        REQUIRE(client.ask(faulted_request).body == "hello world");
        last_byte = std::max(last_byte, injection.bytes(call));
        ++exchanges;
      }
    }
    CHECK(last_byte >= faulted_request.size() + faulted_answer.size());
  }
  const auto requests = upstream.requests();
  CHECK(requests.size() == exchanges);
  std::set<std::string> bodies;
  for (const Message& seen : requests) bodies.insert(seen.body);
  CHECK(bodies == std::set<std::string>{"abcdefg"});
  CHECK(gateway.settles_at({.processed = exchanges}));
}

// Resets the connection that the kernel knows nothing of: what the gateway sees is all that counts.
TEST_CASE(
    "whichever call of an exchange fails, nothing is left behind and nothing is half an answer") {
  FakeUpstream upstream(answers_whole());
  auto settings = plain(upstream.port());
  SUBCASE("on a kept connection to the service") {}
  SUBCASE("on a new one") { settings.upstream.idle_connections = 0; }
  Gateway gateway(settings);
  std::uint64_t failures = 0;
  for (const Call call : {Call::receive, Call::send, Call::connect, Call::open_socket}) {
    for (const int error : {ECONNRESET, EPIPE, ETIMEDOUT, ENOBUFS, ENOMEM, EMFILE}) {
      for (std::uint64_t at = 0; at < 8; ++at) {
        CAPTURE(static_cast<int>(call));
        CAPTURE(error);
        CAPTURE(at);
        const Injection injection(
            [&](const Moment& moment) { return at_turn({call, at, false}, moment, {error}); });
        Client client(gateway);
        client.send(post("/v1/classify", "x"));
        const Message got = client.read_answer();
        if (got.is_complete) {
          const std::set<int> possible{200, 502, 503};
          CHECK(possible.contains(got.status()));
          if (got.status() == 200) CHECK(got.body == "hello world");
        } else {
          CHECK(client.is_closed());
        }
        failures += injection.injected();
        // Should it have been taken for unreachable, it is reachable again soon.
        REQUIRE(await([&] { return Client(gateway).ask(get("/x")).status() == 200; }));
      }
    }
  }
  CHECK(failures >= (settings.upstream.idle_connections == 0 ? 36 : 24));
  REQUIRE(is_idle(gateway));
  CHECK(await([&] { return gateway.server().connections() == 0; }));
}

TEST_CASE("a gateway out of descriptors accepts who waits as soon as there are some") {
  FakeUpstream upstream(answers_whole());
  Gateway gateway(plain(upstream.port()));
  for (const int error : {EMFILE, ENFILE, ENOBUFS, ENOMEM}) {
    CAPTURE(error);
    const Injection injection([&](const Moment& moment) {
      return moment.call == Call::accept && moment.number < 2 ? Fault{error} : Fault{};
    });
    Client client(gateway);
    CHECK(client.ask(get("/x")).status() == 200);
    CHECK(injection.injected() >= 1);
  }
  for (const int error : {EINTR, ECONNABORTED, EPROTO, EPERM, ENETDOWN}) {
    CAPTURE(error);
    const Injection injection([&](const Moment& moment) {
      return moment.call == Call::accept && moment.number == 0 ? Fault{error} : Fault{};
    });
    Client client(gateway);
    CHECK(client.ask(get("/x")).status() == 200);
    CHECK(injection.injected() == 1);
  }
}

TEST_CASE("no descriptor for a connection to the service is 502, and no fault of the service") {
  FakeUpstream upstream(answers_whole());
  Gateway gateway(plain(upstream.port()));
  {
    const Injection injection([](const Moment& moment) {
      return moment.call == Call::open_socket ? Fault{EMFILE} : Fault{};
    });
    CHECK(Client(gateway).ask(get("/x")).status() == 502);
  }
  CHECK(Client(gateway).ask(get("/x")).status() == 200);
  CHECK(gateway.settles_at({.processed = 1, .failed = 1}));
}

// Faults everywhere, by a seed, while many clients ask at once.
void storm(Gateway& gateway, double share, const std::vector<Fault>& faults, std::uint64_t& whole,
           std::uint64_t& broken) {
  std::mt19937_64 random(run().seed);
  const Injection injection([&](const Moment& moment) {
    if (moment.call == Call::open_socket || moment.call == Call::connect) return Fault{};
    if (std::uniform_real_distribution<>(0, 1)(random) >= share) return Fault{};
    const Fault fault = faults[random() % faults.size()];
    // accept() moves no bytes, and its backlog tells nothing twice.
    return moment.call == Call::accept && fault.error == 0 ? Fault{} : fault;
  });
  std::atomic<std::uint64_t> good{0}, bad{0};
  std::vector<std::thread> crowd;
  for (int i = 0; i < 6; ++i)
    crowd.emplace_back([&, i] {
      std::unique_ptr<Client> client;
      for (int n = 0; n < 60; ++n) {
        if (!client) client = std::make_unique<Client>(gateway);
        const Message got =
            client->ask((n + i) % 2 == 0 ? faulted_request : post("/x", pattern(70'000)));
        const bool is_good = got.is_complete && got.body == "hello world";
        ++(is_good ? good : bad);
        if (!is_good || client->socket.wait_readable(0ms)) client.reset();
      }
    });
  for (std::thread& thread : crowd) thread.join();
  CHECK(injection.injected() > 20);
  whole = good;
  broken = bad;
}

TEST_CASE("no client notices that one call in ten is interrupted, short or too early") {
  FakeUpstream upstream(answers_whole());
  auto settings = plain(upstream.port());
  settings.admission.queue_size = 100;
  Gateway gateway(settings);
  std::uint64_t whole = 0, broken = 0;
  storm(gateway, 0.1, {{EINTR}, {EAGAIN}, {.most = 1}, {.most = 7}, {.most = 1000}}, whole, broken);
  CHECK(whole == 360);
  CHECK(broken == 0);
  CHECK(gateway.settles_at({.processed = 360}));
}

TEST_CASE("after connections that broke at random calls all workers are free") {
  FakeUpstream upstream(answers_whole());
  auto settings = plain(upstream.port());
  settings.admission.queue_size = 100;
  Gateway gateway(settings);
  std::uint64_t whole = 0, broken = 0;
  storm(gateway, 0.03,
        {{EINTR}, {EAGAIN}, {.most = 1}, {ECONNRESET}, {EPIPE}, {ENOBUFS}, {ETIMEDOUT}}, whole,
        broken);
  CHECK(whole > broken);
  REQUIRE(is_idle(gateway));
  CHECK(await([&] { return gateway.server().connections() == 0; }));
  // All four at once, proved by four that are held.
  FakeUpstream slow(FakeUpstream::held());
  auto other = settings;
  other.upstream.servers = settings_for(slow.port()).upstream.servers;
  REQUIRE(gateway.server().reconfigure(other, {}));
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(std::make_unique<Client>(gateway));
    clients.back()->send(get("/x"));
  }
  CHECK(await([&] { return slow.holding() == 4; }));
  slow.release(4);
  for (const auto& client : clients) CHECK(client->read_answer().status() == 200);
}

}  // namespace
}  // namespace classgate::gateway::test
