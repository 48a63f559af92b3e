#include <doctest/doctest.h>

#include "tests/gateway/kit.h"

// The same exchange, cut, reset or slowed down at each of its bytes.

namespace classgate::gateway::test {
namespace {

const std::string cut_request =
    "POST /v1/classify HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
    "chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n"
    "0\r\nX-Sum: 1\r\n\r\n";
const std::string cut_answer =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n5\r\nhello\r\n6\r\n "
    "world\r\n0\r\n\r\n";

conf::Settings without_ejection(std::uint16_t port) {
  auto settings = settings_for(port);
  settings.upstream.eject_after = 0;
  return settings;
}

TEST_CASE("a client that resets or leaves at any byte of its request leaves nothing behind") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(without_ejection(upstream.port()));
  for (std::size_t size = 0; size <= cut_request.size(); ++size) {
    CAPTURE(size);
    Client resets(gateway), leaves(gateway);
    resets.send(cut_request.substr(0, size));
    resets.socket.reset();
    leaves.socket.send_and_end(cut_request.substr(0, size));
    leaves.socket.close();
  }
  const auto accepted = [&] {
    std::uint64_t sum = 0;
    for (const auto& station : gateway.server().stations())
      sum += station->numbers().accepted.read();
    return sum;
  };
  REQUIRE(await([&] { return accepted() == 2 * (cut_request.size() + 1); }));
  REQUIRE(await([&] { return gateway.server().connections() == 0; }));
  // snapshot() checks, each time, that the books balance.
  CHECK(await([&] { return gateway.snapshot().active_workers == 0; }));
  CHECK(gateway.snapshot().waiting == 0);
  CHECK(Client(gateway).ask(get("/x")).status() == 200);
}

TEST_CASE("an upstream that resets or ends at any byte of its answer is never taken for whole") {
  std::atomic<std::size_t> size{0};
  std::atomic<bool> with_reset{false};
  FakeUpstream upstream([&](Peer& peer) {
    while (peer.read_request()) {
      peer.send(cut_answer.substr(0, size));
      if (size == cut_answer.size()) continue;
      if (with_reset) peer.socket.reset();
      return;
    }
  });
  Gateway gateway(without_ejection(upstream.port()));
  const std::size_t head_size = cut_answer.find("\r\n\r\n") + 4;
  for (const bool resets : {false, true}) {
    with_reset = resets;
    for (size = 0; size < cut_answer.size(); ++size) {
      CAPTURE(size.load());
      CAPTURE(resets);
      Client client(gateway);
      client.send(post("/v1/classify", "x"));
      const Message got = client.read_answer();
      if (size < head_size) {
        CHECK(got.status() == 502);
      } else if (got.status() != 502) {  // a reset may overtake the head
        CHECK_FALSE(got.is_complete);
        CHECK(client.is_closed());
      }
    }
  }
  size = cut_answer.size();
  const Message whole = Client(gateway).ask(post("/v1/classify", "x"));
  CHECK(whole.body == "hello world");
  CHECK(await([&] { return gateway.snapshot().active_workers == 0; }));
}

TEST_CASE("an exchange of single bytes is the same exchange") {
  FakeUpstream upstream([&](Peer& peer) {
    while (peer.read_request())
      for (const char& byte : cut_answer) peer.send({&byte, 1});
  });
  auto settings = without_ejection(upstream.port());
  settings.client.body_buffer = conf::Bytes{1};
  Gateway gateway(settings);
  Client client(gateway, 1);  // the smallest window
  for (int i = 0; i < 3; ++i) {
    for (const char& byte : cut_request) REQUIRE(client.send({&byte, 1}));
    CHECK(client.read_answer().body == "hello world");
  }
  CHECK(upstream.requests()[2].body == "abcdefg");
  CHECK(gateway.settles_at({.processed = 3}));
}

}  // namespace
}  // namespace classgate::gateway::test
