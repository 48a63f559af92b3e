#include <doctest/doctest.h>

#include "tests/gateway/kit.h"

// Clients that send on while they do not read. A request is begun only when the answers before it
// have been taken: nothing grows, and no worker waits for the reading of another answer.

namespace classgate::gateway::test {
namespace {

constexpr int enough = 8000;  // answers of /queue/health: more than the sockets between us hold

std::string health_requests(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += get("/queue/health");
  return text;
}

// What was sent has left this side: the rest comes in a read of its own.
void every_byte_is_read(Client& client) {
  REQUIRE(await([&] { return client.socket.unacknowledged() == 0; }));
}

void read_answers(Client& client, int count) {
  for (int i = 0; i < count; ++i)
    if (client.read_answer().status() != 200) FAIL("answer " << i << " is missing");
}

TEST_CASE("a client that does not read is not read from either") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(settings_for(upstream.port()));
  Client client(gateway, 4096);
  const std::string text = health_requests(64 * enough);  // over 20 MB, for a gigabyte of answers
  std::size_t sent = 0;
  for (std::size_t size; sent < text.size(); sent += size) {
    size = 0;
    const bool took = await(
        [&] {
          size = client.socket.send_what_fits(std::string_view(text).substr(sent));
          return size > 0;
        },
        500ms);
    if (!took) break;
  }
  CHECK(sent < text.size() / 2);
}

TEST_CASE("after an answer that closes the connection no pipelined request is served") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(settings_for(upstream.port()));
  Client client(gateway, 4096);
  REQUIRE(client.send(health_requests(enough) +
                      get("/last", "Expect: something\r\nConnection: close\r\n") +
                      get("/after-the-last")));
  read_answers(client, enough);
  const Message last = client.read_answer();
  CHECK(last.status() == 417);
  CHECK(last.field("Connection") == "close");
  CHECK(client.is_closed());
  CHECK(gateway.settles_at({.rejected = 1}));
  CHECK(upstream.request_count() == 0);
}

TEST_CASE("a request behind answers that nobody reads takes no worker") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_for(upstream.port());
  settings.admission.workers = 1;
  Gateway gateway(settings);
  Client rude(gateway, 4096), polite(gateway);
  REQUIRE(rude.send(health_requests(enough) + post("/rude", "x")));
  for (int i = 0; i < 20; ++i) CHECK(polite.ask(get("/polite")).status() == 200);
  CHECK(upstream.request_count() == 20);
  CHECK(gateway.settles_at({.processed = 20}));
  read_answers(rude, enough);
  CHECK(rude.read_answer().body == "POST /rude");
  CHECK(gateway.settles_at({.processed = 21}));
}

TEST_CASE("a head that comes in pieces behind unread answers is one request") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_for(upstream.port());
  // Longer than this thread may be kept from sending what is whole in one go.
  settings.client.header_timeout = 1s;
  settings.client.linger_timeout = 50ms;
  Gateway gateway(settings);
  Client client(gateway, 4096);
  const std::string request = post("/late", "12345");
  REQUIRE(client.send(health_requests(enough) + request.substr(0, 20)));
  const auto start = std::chrono::steady_clock::now();
  REQUIRE(await([&] { return std::chrono::steady_clock::now() > start + 1200ms; }));
  REQUIRE(client.send(request.substr(20, request.size() - 23)));
  read_answers(client, enough);
  client.send(request.substr(request.size() - 3));
  CHECK(client.read_answer().body == "POST /late");
  CHECK(gateway.settles_at({.processed = 1}));
}

TEST_CASE("an answer of more small chunks than one write takes comes whole") {
  std::string chunks;
  for (int i = 0; i < 1500; ++i) chunks += chunk("this is one of many small parts.");
  FakeUpstream upstream(FakeUpstream::each([&](Peer& peer, const Message&) {
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + "0\r\n\r\n");
  }));
  Gateway gateway(settings_for(upstream.port()));
  Client client(gateway);
  const Message answer = client.ask(get("/many"));
  CHECK(answer.is_complete);
  CHECK(answer.body.size() == 1500 * 32);
}

TEST_CASE("slow heads up to the limit of connections do not lock newcomers out") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_for(upstream.port());
  settings.client.max_connections = 5;
  settings.threads = 1;  // a loop sends away its own clients only
  Gateway gateway(settings);
  std::vector<std::unique_ptr<Client>> slow;
  for (int i = 0; i < 5; ++i) {
    slow.push_back(std::make_unique<Client>(gateway));
    slow.back()->send("GET / HTTP/1.1\r\nHost: te");
  }
  const auto start = std::chrono::steady_clock::now();
  REQUIRE(await([&] { return std::chrono::steady_clock::now() > start + 1100ms; }));
  for (int i = 0; i < 5; ++i) {
    Client good(gateway);
    CHECK(good.ask(get("/good")).status() == 200);
  }
}

// The read that fills the buffer brings the end of the body too: forwarding begins with a body that
// is not known to be whole, and hears of its end at once. Sent again, it must be all there.
void check_retry_of_a_body_that_fills_the_buffer(bool in_chunks) {
  std::atomic<int> connection{0};
  FakeUpstream upstream([&](Peer& peer) {
    const bool is_first = connection++ == 0;
    while (const auto got = peer.read_request()) {
      peer.send(answer_with(std::to_string(got->body.size())));
      if (!is_first) continue;
      if (peer.socket.wait_readable()) peer.socket.reset();
      return;
    }
  });
  auto settings = settings_for(upstream.port());
  settings.threads = 1;
  settings.client.body_buffer = {1000};
  settings.admission.request_timeout = settings.admission.queue_timeout = 5s;
  Gateway gateway(settings);
  Client client(gateway);
  REQUIRE(client.ask(get("/first")).status() == 200);
  std::string request =
      in_chunks ? post_chunked("/second", {pattern(999), "last"}) : post("/second", pattern(1003));
  request.replace(0, 4, "PUT");  // idempotent: a reset proves nothing
  const std::size_t head_and_some = request.find("\r\n\r\n") + 4 + 20;
  REQUIRE(client.send(request.substr(0, head_and_some)));
  every_byte_is_read(client);
  const Message answer = client.ask(request.substr(head_and_some));
  CHECK(answer.status() == 200);
  CHECK(answer.body == "1003");
  CHECK(gateway.settles_at({.processed = 2}));
}

TEST_CASE("a body whose last bytes fill the buffer is sent again as a whole") {
  check_retry_of_a_body_that_fills_the_buffer(false);
  check_retry_of_a_body_that_fills_the_buffer(true);
}

}  // namespace
}  // namespace classgate::gateway::test
