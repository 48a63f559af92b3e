#include <doctest/doctest.h>

#include "gateway/exchange.h"
#include "tests/gateway/kit.h"

// client.memory: many clients that hold much, beside one that asks for little.

namespace classgate::gateway::test {
namespace {

constexpr std::size_t limit = 2 << 20;

conf::Settings small_memory(std::uint16_t upstream_port) {
  auto settings = settings_for(upstream_port);
  settings.client.max_connections = 1000;
  settings.client.memory = conf::Bytes{limit};
  return settings;
}

std::uint64_t sum(Gateway& gateway, Counter LoopMetrics::* counter) {
  std::uint64_t total = 0;
  for (const auto& station : gateway.server().stations())
    total += (station->numbers().*counter).read();
  return total;
}

// All have left: what is still counted is the exchanges that are kept for the next requests.
bool is_given_back(Gateway& gateway) {
  const MemoryBudget& memory = gateway.server().shared().memory;
  return await([&] {
    return gateway.server().connections() == 0 && memory.used() % sizeof(Exchange) == 0 &&
           memory.used() <= 256 * sizeof(Exchange) * gateway.server().stations().size();
  });
}

// A crowd in which each says `first`; after each of them the good client, which keeps its
// connection, asks once. What the last of those who gave way heard.
Message press(Gateway& gateway, std::size_t count, const std::string& first) {
  const MemoryBudget& memory = gateway.server().shared().memory;
  Message last;
  {
    Client good(gateway);
    std::vector<std::unique_ptr<Client>> crowd;
    for (std::size_t i = 0; i < count; ++i) {
      crowd.push_back(std::make_unique<Client>(gateway));
      crowd.back()->send(first);
      REQUIRE(good.ask(get("/good")).status() == 200);
      CHECK(memory.used() <= limit);
    }
    CHECK(await([&] { return sum(gateway, &LoopMetrics::memory_given_way) > 0; }));
    CHECK(sum(gateway, &LoopMetrics::memory_given_way) < count);
    for (const auto& client : crowd)
      if (client->socket.wait_readable(0ms)) last = client->read_answer();
  }
  CHECK(is_given_back(gateway));
  return last;
}

TEST_CASE(
    "half heads beyond client.memory: the largest and slowest go, small requests are served") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(small_memory(upstream.port()));
  const Message heard =
      press(gateway, 200, "GET /x HTTP/1.1\r\nHost: a\r\nX: " + std::string(30'000, 'y'));
  CHECK(heard.status() == 503);
  CHECK(heard.reason() == "memory_pressure");
}

TEST_CASE(
    "half bodies beyond client.memory: the largest and slowest go, small requests are served") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(small_memory(upstream.port()));
  const Message heard =
      press(gateway, 200,
            "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n" + pattern(50'000));
  CHECK(heard.status() == 503);
  CHECK(heard.reason() == "memory_pressure");
}

TEST_CASE("answers that nobody reads beyond client.memory: small requests are served") {
  const std::string large = answer_with(std::string(4 << 20, 'x'));
  FakeUpstream upstream(FakeUpstream::each([&](Peer& peer, const Message& request) {
    peer.send(request.target() == "/large" ? large : answer_with("small"));
  }));
  auto settings = small_memory(upstream.port());
  settings.admission.workers = 100;
  settings.admission.queue_size = 100;
  settings.client.response_buffer = conf::KiB(256);
  Gateway gateway(settings);
  const MemoryBudget& memory = gateway.server().shared().memory;
  {
    Client good(gateway);
    std::vector<std::unique_ptr<Client>> crowd;
    for (int i = 0; i < 40; ++i) {
      crowd.push_back(std::make_unique<Client>(gateway, 4096));
      crowd.back()->send(get("/large"));
      CHECK(good.ask(get("/good")).body == "small");
      CHECK(memory.used() <= limit);
    }
    CHECK(await([&] { return sum(gateway, &LoopMetrics::memory_given_way) > 0; }));
    CHECK(good.ask(get("/good")).body == "small");
  }
  CHECK(is_given_back(gateway));
}

TEST_CASE(
    "with client.memory used up by those who wait, what would grow and who comes is refused") {
  FakeUpstream upstream(FakeUpstream::held());
  auto settings = small_memory(upstream.port());
  settings.admission.workers = 1;
  settings.admission.queue_size = 100;
  settings.threads = 1;  // to the byte: each loop tells the others in batches
  Gateway gateway(settings);
  const MemoryBudget& memory = gateway.server().shared().memory;
  std::vector<std::unique_ptr<Client>> crowd;
  Client early(gateway);
  const std::string begins = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n";
  while (memory.grade() < MemoryBudget::Grade::scarce) {
    crowd.push_back(std::make_unique<Client>(gateway));
    crowd.back()->send(post("/x", pattern(50'000)));
    REQUIRE(crowd.size() < 100);
    REQUIRE(gateway.comes_to_wait(crowd.size() - 1));
  }
  // Nobody of these can give way: they are the queue's. A newcomer is turned away.
  Client late(gateway);
  const Message refusal = late.read_answer();
  CHECK(refusal.status() == 503);
  CHECK(refusal.reason() == "memory_pressure");
  CHECK(late.is_closed());
  CHECK(sum(gateway, &LoopMetrics::memory_refused_newcomers) == 1);
  // Whoever is here and brings much can't keep it.
  early.send(begins + pattern(59'000));
  CHECK(early.read_answer().reason() == "memory_pressure");
  CHECK(memory.used() <= limit);
  CHECK(gateway.rejected(conf::Reason::memory_pressure) == 1);
}

TEST_CASE("an idle client keeps its connection while others have to give way") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(small_memory(upstream.port()));
  Client idle(gateway);
  REQUIRE(idle.ask(get("/1")).status() == 200);
  std::vector<std::unique_ptr<Client>> crowd;
  for (int i = 0; i < 100; ++i) {
    crowd.push_back(std::make_unique<Client>(gateway));
    crowd.back()->send("GET /x HTTP/1.1\r\nHost: a\r\nX: " + std::string(30'000, 'y'));
  }
  CHECK(await([&] { return sum(gateway, &LoopMetrics::memory_given_way) > 0; }));
  CHECK(idle.ask(get("/2")).body == "GET /2");
}

TEST_CASE("client.memory that is lowered by a reload holds at once") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = small_memory(upstream.port());
  settings.client.memory = conf::MiB(100);
  Gateway gateway(settings);
  std::vector<std::unique_ptr<Client>> crowd;
  for (int i = 0; i < 100; ++i) {
    crowd.push_back(std::make_unique<Client>(gateway));
    crowd.back()->send("GET /x HTTP/1.1\r\nHost: a\r\nX: " + std::string(30'000, 'y'));
  }
  const MemoryBudget& memory = gateway.server().shared().memory;
  REQUIRE(await([&] { return memory.used() > limit; }));
  settings.client.memory = conf::Bytes{limit};
  REQUIRE(gateway.server().reconfigure(settings, {}));
  CHECK(await([&] { return memory.used() <= limit; }));
}

}  // namespace
}  // namespace classgate::gateway::test
