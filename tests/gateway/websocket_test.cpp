#include <doctest/doctest.h>

#include "tests/gateway/kit.h"

// Upgrade: websocket (RFC 6455): a tunnel through a worker.

namespace classgate::gateway::test {
namespace {

const std::string key =
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
const std::string upgrade = "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n" + key;
const std::string switched =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

// Agrees, greets, and says back whatever comes, until the client leaves or says "bye".
FakeUpstream::Script echo() {
  return [](Peer& peer) {
    while (peer.read_request()) {
      peer.send(switched + "hello");
      std::string bytes;
      while (peer.socket.read(bytes) == Socket::Got::some) {
        if (bytes == "bye") return;
        peer.send(std::exchange(bytes, {}));
      }
      return;
    }
  };
}

conf::Settings websocket_settings(std::uint16_t port) {
  auto settings = settings_for(port);
  settings.upstream.websocket = true;
  return settings;
}

std::string read_exactly(Client& client, std::size_t size) {
  std::string text;
  while (text.size() < size &&
         client.socket.read(text, patience, size - text.size()) == Socket::Got::some) {
  }
  return text;
}

// The head of the answer, as far as its empty line.
std::string read_head(Client& client) {
  std::string text;
  while (!text.ends_with("\r\n\r\n")) {
    const std::string next = read_exactly(client, 1);
    if (next.empty()) break;
    text += next;
  }
  return text;
}

TEST_CASE("who asks for a tunnel waits for a server too") {
  DeadPort port;
  auto settings = websocket_settings(port.port());
  settings.upstream.hold = 1h;
  Gateway gateway(settings);
  REQUIRE(await([&] { return gateway.server().policy().servers->none_reachable(); }));
  Client client(gateway);
  client.send(get("/chat", upgrade));
  REQUIRE(gateway.comes_to_run(1));
  FakeUpstream upstream(echo(), port);
  CHECK(read_head(client).starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
  CHECK(read_exactly(client, 5) == "hello");
}

TEST_CASE("bytes go both ways through a worker, which is free when the client leaves") {
  FakeUpstream upstream(echo());
  auto settings = websocket_settings(upstream.port());
  settings.admission.request_timeout = settings.admission.queue_timeout = 200ms;
  Gateway gateway(settings);
  {
    Client client(gateway);
    client.send(get("/chat", upgrade));
    const std::string head = read_head(client);
    CHECK(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
    CHECK(head.contains("\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"));
    CHECK(head.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    CHECK(read_exactly(client, 5) == "hello");
    // The request timeout is no limit for it.
    const auto end = std::chrono::steady_clock::now() + 400ms;
    for (int i = 0; std::chrono::steady_clock::now() < end; ++i) {
      const std::string said = "GET /" + std::to_string(i) + " HTTP/1.1\r\n\r\n";
      client.send(said);
      REQUIRE(read_exactly(client, said.size()) == said);
    }
    CHECK(gateway.snapshot().active_workers == 1);
  }
  CHECK(gateway.settles_at({.processed = 1}));
  const Message seen = upstream.requests()[0];
  CHECK(seen.field("Connection") == "Upgrade");
  CHECK(seen.field("Upgrade") == "websocket");
  CHECK(seen.field("Sec-WebSocket-Key") == "dGhlIHNhbXBsZSBub25jZQ==");
}

TEST_CASE("what the client says before it is asked is not lost, and the service may end it") {
  FakeUpstream upstream(echo());
  Gateway gateway(websocket_settings(upstream.port()));
  Client client(gateway);
  client.send(get("/chat", upgrade) + "early");
  read_head(client);
  CHECK(read_exactly(client, 10) == "helloearly");
  client.send("bye");
  CHECK(client.is_closed());
  CHECK(gateway.settles_at({.processed = 1}));
}

TEST_CASE("more than any buffer holds goes through a tunnel whole") {
  FakeUpstream upstream(echo());
  auto settings = websocket_settings(upstream.port());
  settings.client.body_buffer = conf::KiB(4);
  settings.client.response_buffer = conf::KiB(4);
  Gateway gateway(settings);
  Client client(gateway);
  client.send(get("/chat", upgrade));
  read_head(client);
  CHECK(read_exactly(client, 5) == "hello");
  const std::string data = pattern(2 << 20);
  std::thread sender([&] { client.send(data); });
  CHECK(read_exactly(client, data.size()) == data);
  sender.join();
}

TEST_CASE("what each side said before its end arrives, and each end is one direction's") {
  // A client sent 8 MB and ended: the gateway saw its end before it had read all of it, and let go
  // of the rest. A server's last words were lost likewise when the client had ended first.
  const std::string data = pattern(2 << 20);
  std::string heard;
  FakeUpstream upstream([&](Peer& peer) {
    if (!peer.read_request()) return;
    peer.send(switched);
    while (peer.socket.read(heard) == Socket::Got::some) {
    }
    peer.send(data);
  });
  auto settings = websocket_settings(upstream.port());
  settings.client.body_buffer = conf::KiB(4);
  settings.client.response_buffer = conf::KiB(4);
  Gateway gateway(settings);
  Client client(gateway);
  client.send(get("/chat", upgrade));
  read_head(client);
  REQUIRE(client.send(data));
  client.socket.end_writing();
  CHECK(read_exactly(client, data.size()) == data);
  CHECK(client.is_closed());
  CHECK(heard == data);
  CHECK(gateway.settles_at({.processed = 1}));
  // A tunnel of minutes is no work that tells how long work takes: an idle gateway refused by
  // deadline.
  CHECK(gateway.snapshot().average_process == admission::Duration::zero());
}

TEST_CASE("a service that has said its last still hears the client") {
  const std::string data = pattern(1 << 20);
  std::string heard;
  FakeUpstream upstream([&](Peer& peer) {
    if (!peer.read_request()) return;
    peer.send(switched + "last");
    peer.socket.end_writing();
    while (peer.socket.read(heard) == Socket::Got::some) {
    }
  });
  auto settings = websocket_settings(upstream.port());
  settings.client.body_buffer = conf::KiB(4);
  Gateway gateway(settings);
  Client client(gateway);
  client.send(get("/chat", upgrade));
  read_head(client);
  CHECK(read_exactly(client, 5) == "last");  // and the end
  REQUIRE(client.send(data));
  client.socket.end_writing();
  CHECK(gateway.settles_at({.processed = 1}));
  CHECK(await([&] { return upstream.open_connections() == 0; }));
  CHECK(heard == data);
}

TEST_CASE("a client that only listens holds no worker once the service has said its last") {
  FakeUpstream upstream([](Peer& peer) {
    if (!peer.read_request()) return;
    peer.send(switched + "last");
  });
  auto settings = websocket_settings(upstream.port());
  settings.client.linger_timeout = 100ms;
  Gateway gateway(settings);
  Client client(gateway);
  client.send(get("/chat", upgrade));
  read_head(client);
  CHECK(read_exactly(client, 4) == "last");
  CHECK(await([&] { return gateway.snapshot().active_workers == 0; }));
}

TEST_CASE("a silent tunnel ends with the idle timeout, one that speaks does not") {
  FakeUpstream upstream(echo());
  auto settings = websocket_settings(upstream.port());
  settings.client.idle_timeout = 150ms;
  Gateway gateway(settings);
  Client silent(gateway), lively(gateway);
  for (Client* client : {&silent, &lively}) {
    client->send(get("/chat", upgrade));
    read_head(*client);
    REQUIRE(read_exactly(*client, 5) == "hello");
  }
  while (silent.is_silent()) {
    REQUIRE(lively.send("x"));
    REQUIRE(read_exactly(lively, 1) == "x");
  }
  CHECK(silent.is_closed());
  CHECK(gateway.snapshot().active_workers == 1);
}

// Says nothing to a request until the test ends or the gateway closes.
FakeUpstream::Script silent_service() {
  return FakeUpstream::each([](Peer& peer, const Message&) { peer.wait_gone(); });
}

TEST_CASE("clients that leave before the service has agreed hold no worker") {
  // As many upgrades as there are workers, no answer, all clients leave: every worker was held for
  // the request timeout, because on_client_abort = "finish" was believed of a tunnel.
  FakeUpstream upstream(silent_service());
  Gateway gateway(websocket_settings(upstream.port()));
  const auto leave = [&](const std::string& early) {
    std::vector<std::unique_ptr<Client>> clients;
    for (int i = 0; i < 4; ++i) {
      clients.push_back(std::make_unique<Client>(gateway));
      clients.back()->send(get("/chat", upgrade) + early);
    }
    CHECK(gateway.comes_to_run(4));
    CHECK(await([&] { return upstream.open_connections() == 4; }));
  };
  leave({});
  CHECK(gateway.settles_at({.abandoned = 4}));
  leave("what the tunnel was for");
  CHECK(gateway.settles_at({.abandoned = 8}));
  CHECK(await([&] { return upstream.open_connections() == 0; }));
}

TEST_CASE("an upgrade that the service does not answer is over with its 504") {
  FakeUpstream upstream(silent_service());
  auto settings = websocket_settings(upstream.port());
  settings.admission.request_timeout = settings.admission.queue_timeout = 150ms;
  Gateway gateway(settings);
  Client client(gateway);
  CHECK(client.ask(get("/chat", upgrade)).status() == 504);
  CHECK(gateway.snapshot().workers_without_client == 0);
  // Nobody is told of the tunnel that comes too late.
  CHECK(await([&] { return upstream.open_connections() == 0; }));
  CHECK(gateway.settles_at({.failed = 1}));
}

TEST_CASE("what a service answers instead of agreeing runs to its end without the client") {
  // The rest of an ordinary answer: "finish" means it.
  FakeUpstream upstream(FakeUpstream::each([](Peer& peer, const Message&) {
    peer.send("HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\nno");
    if (peer.hold()) peer.send("no");
  }));
  Gateway gateway(websocket_settings(upstream.port()));
  {
    Client client(gateway);
    client.send(get("/chat", upgrade));
    CHECK(read_head(client).starts_with("HTTP/1.1 403 "));
  }
  CHECK(await([&] { return gateway.snapshot().workers_without_client == 1; }));
  upstream.release();
  CHECK(gateway.settles_at({.abandoned = 1}));
  CHECK(upstream.open_connections() == 1);
}

TEST_CASE("a service that does not agree answers as it does any other request") {
  FakeUpstream upstream(FakeUpstream::each(
      [](Peer& peer, const Message&) { peer.send(answer_with("no", {}, 403)); }));
  Gateway gateway(websocket_settings(upstream.port()));
  Client client(gateway);
  CHECK(client.ask(get("/chat", upgrade)).status() == 403);
  CHECK(client.ask(get("/chat")).status() == 403);
}

TEST_CASE(
    "an upgrade that is not wanted, not asked for properly, or not to WebSocket, is dropped") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway off(settings_for(upstream.port())), on(websocket_settings(upstream.port()));
  CHECK(Client(off).ask(get("/x", upgrade)).status() == 200);
  CHECK(Client(on).ask(get("/x", "Connection: Upgrade\r\nUpgrade: h2c\r\n")).status() == 200);
  CHECK(Client(on).ask(get("/x", "Upgrade: websocket\r\n")).status() == 200);
  CHECK(Client(on).ask(post("/x", "y", upgrade)).status() == 200);
  for (const Message& seen : upstream.requests()) CHECK(seen.field("Upgrade") == "");
}

TEST_CASE("a service that switches to something else has answered nonsense") {
  FakeUpstream upstream(FakeUpstream::each([](Peer& peer, const Message&) {
    peer.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n");
  }));
  Gateway gateway(websocket_settings(upstream.port()));
  CHECK(Client(gateway).ask(get("/chat", upgrade)).status() == 502);
}

}  // namespace
}  // namespace classgate::gateway::test
