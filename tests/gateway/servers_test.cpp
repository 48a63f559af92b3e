// Several servers behind one gateway. Long, because checks, ejection and names meet in each case.

#include <doctest/doctest.h>

#include <array>
#include <nlohmann/json.hpp>

#include "tests/gateway/kit.h"

// Several servers, servers that come and go, and what is known of them without anybody's request.

namespace classgate::gateway::test {
namespace {

using conf::Reason;
using proxy::Servers;

conf::Settings settings_for_all(std::initializer_list<std::uint16_t> ports) {
  conf::Settings settings = settings_for(*ports.begin());
  settings.upstream.servers.clear();
  for (const std::uint16_t port : ports)
    settings.upstream.servers.push_back(settings_for(port).upstream.servers.front());
  return settings;
}

const Servers& servers_of(Gateway& gateway) { return *gateway.server().policy().servers; }

bool comes_to(Gateway& gateway, std::size_t server, Servers::State state) {
  return await([&] { return servers_of(gateway).state(server) == state; });
}

TEST_CASE("all servers down: 503 at once, with a time to come back, and served when one is up") {
  std::uint16_t port = 0;
  {
    FakeUpstream gone(FakeUpstream::echo_target());
    port = gone.port();
  }
  Gateway gateway(settings_for(port));
  Client client(gateway);
  REQUIRE(comes_to(gateway, 0, Servers::State::unreachable));
  for (int i = 0; i < 3; ++i) {
    const Message answer = client.ask(post("/v1/classify", "x"));
    CHECK(answer.status() == 503);
    CHECK(answer.reason() == "upstream_down");
    CHECK(answer.field("Retry-After") == "1");
  }
  CHECK(gateway.settles_at({.rejected = 3}));
  CHECK(gateway.rejected(Reason::upstream_down) == 3);
  auto back = proxy::net::listen_on({"127.0.0.1", port, "127.0.0.1:" + std::to_string(port)});
  REQUIRE(back.has_value());
  CHECK(comes_to(gateway, 0, Servers::State::reachable));
}

TEST_CASE(
    "requests that wait while the last server goes are all answered, and none is tried for ever") {
  auto upstream = std::make_unique<FakeUpstream>(FakeUpstream::held());
  auto settings = settings_for(upstream->port());
  settings.admission.workers = 1;
  settings.upstream.probe_interval = 1h;
  Gateway gateway(settings);
  Client in_flight(gateway), first(gateway), second(gateway);
  in_flight.send(post("/x", "1"));
  REQUIRE(gateway.comes_to_run(1));
  first.send(post("/x", "1"));
  REQUIRE(gateway.comes_to_wait(1));
  second.send(post("/x", "1"));
  REQUIRE(gateway.comes_to_wait(2));
  upstream.reset();  // the one in flight breaks off, and nobody listens any more
  CHECK(in_flight.read_answer().reason() == "upstream_broken");
  // Whoever connects before the listener is gone finds it broken, the next one unreachable.
  CHECK(first.read_answer().status() >= 502);
  CHECK(second.read_answer().reason() != "upstream_broken");
  CHECK(await([&] { return Client(gateway).ask(get("/x")).reason() == "upstream_down"; }));
}

TEST_CASE("with one server that is there, those that are away are not noticed") {
  const DeadPort one, two;
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(settings_for_all({one.port(), two.port(), upstream.port()}));
  for (int i = 0; i < 10; ++i)
    CHECK(Client(gateway).ask(post("/v1/classify", "x")).status() == 200);
  CHECK(gateway.settles_at({.processed = 10}));
}

// Reads each request and breaks off.
FakeUpstream::Script breaks_off() {
  return [](Peer& peer) {
    while (peer.read_request()) {
      peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx");
      peer.socket.close();
      return;
    }
  };
}

TEST_CASE("a server that fails again and again is passed over for a while") {
  FakeUpstream bad(breaks_off()), good(FakeUpstream::echo_target());
  auto settings = settings_for_all({bad.port(), good.port()});
  settings.upstream.eject_after = 3;
  settings.upstream.eject_time = 1h;
  Gateway gateway(settings);
  // One after the other, the servers take turns.
  for (int i = 0; i < 20; ++i) {
    Client client(gateway);
    client.send(post("/x", "1"));
    client.read_answer();
  }
  CHECK(bad.request_count() == 3);
  CHECK(good.request_count() == 17);
  CHECK(servers_of(gateway).is_ejected(0, std::chrono::steady_clock::now()));
  CHECK(servers_of(gateway).ejections(0) == 1);
  const auto health = nlohmann::json::parse(gateway.health());
  CHECK(health.at("status") == "degraded");
  CHECK(health.at("upstream").at(settings.upstream.servers[0].text) == "ejected");
}

TEST_CASE("the only server is never passed over, however it fails") {
  FakeUpstream bad(breaks_off());
  auto settings = settings_for(bad.port());
  settings.upstream.eject_after = 1;
  settings.upstream.eject_time = 1h;
  Gateway gateway(settings);
  for (int i = 0; i < 4; ++i) {
    Client client(gateway);
    client.send(post("/x", "1"));
    client.read_answer();
    CHECK(client.is_closed());
  }
  CHECK(bad.request_count() == 4);
}

TEST_CASE("each server has its own limit, and what goes beyond it waits") {
  FakeUpstream one(FakeUpstream::held()), two(FakeUpstream::held());
  auto settings = settings_for_all({one.port(), two.port()});
  settings.admission.workers = 10;
  settings.upstream.requests_per_server = 2;
  Gateway gateway(settings);
  std::array<std::unique_ptr<Client>, 6> clients;
  for (auto& client : clients) {
    client = std::make_unique<Client>(gateway);
    client->send(post("/x", "1"));
  }
  REQUIRE(gateway.comes_to_run(4));
  REQUIRE(gateway.comes_to_wait(2));
  REQUIRE(await([&] { return one.holding() == 2 && two.holding() == 2; }));
  one.release(4);
  two.release(4);
  for (auto& client : clients) CHECK(client->read_answer().status() == 200);
  CHECK(gateway.settles_at({.processed = 6}));
}

TEST_CASE("a server that goes takes its places with it, and brings them back") {
  FakeUpstream one(FakeUpstream::held());
  const DeadPort dead;
  auto settings = settings_for_all({one.port(), dead.port()});
  settings.admission.workers = 10;
  settings.upstream.requests_per_server = 2;
  Gateway gateway(settings);
  REQUIRE(comes_to(gateway, 1, Servers::State::unreachable));
  REQUIRE(await([&] { return gateway.snapshot().workers == 2; }));
  std::array<std::unique_ptr<Client>, 3> clients;
  for (auto& client : clients) {
    client = std::make_unique<Client>(gateway);
    client->send(post("/x", "1"));
  }
  REQUIRE(gateway.comes_to_run(2));
  REQUIRE(gateway.comes_to_wait(1));
  one.release(3);
  for (auto& client : clients) CHECK(client->read_answer().status() == 200);
}

// Answers checks with the status that the test wants, everything else with 200.
struct Checked {
  std::atomic<int> status{200};
  std::atomic<int> checks{0};
  FakeUpstream upstream{FakeUpstream::each([this](Peer& peer, const Message& request) {
    const bool is_check = request.first_line.contains(" /well?deep ");
    if (is_check) ++checks;
    const int said = is_check ? status.load() : 200;
    if (said > 0) peer.send(answer_with("", {}, said));
    if (said < 0) peer.send("nonsense\r\n\r\n");
  })};
};

TEST_CASE("checks take a server out and bring it back, without anybody's request") {
  Checked checked;
  auto settings = settings_for(checked.upstream.port());
  settings.upstream.check = {
      .path = "/well?deep", .interval = 10ms, .timeout = 5s, .rise = 2, .fall = 3};
  Gateway gateway(settings);
  REQUIRE(comes_to(gateway, 0, Servers::State::reachable));
  CHECK(Client(gateway).ask(get("/x")).status() == 200);
  for (const int bad : {500, 404, -1}) {
    CAPTURE(bad);
    checked.status = bad;
    CHECK(comes_to(gateway, 0, Servers::State::unreachable));
    CHECK(Client(gateway).ask(get("/x")).reason() == "upstream_down");
    checked.status = 204;
    CHECK(comes_to(gateway, 0, Servers::State::reachable));
    CHECK(Client(gateway).ask(get("/x")).status() == 200);
  }
}

TEST_CASE("a check that is not answered in time has failed") {
  Checked checked;
  checked.status = 0;  // says nothing
  auto settings = settings_for(checked.upstream.port());
  settings.upstream.check = {
      .path = "/well?deep", .interval = 10ms, .timeout = 20ms, .rise = 1, .fall = 2};
  Gateway gateway(settings);
  CHECK(comes_to(gateway, 0, Servers::State::unreachable));
  checked.status = 200;
  CHECK(comes_to(gateway, 0, Servers::State::reachable));
}

TEST_CASE("a check says whom it asks, passes over interim answers, and ends without a reset") {
  std::atomic<int> ended{0}, reset{0};
  FakeUpstream upstream([&](Peer& peer) {
    if (!peer.read_request()) return;
    peer.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    peer.send(answer_with(pattern(200'000)));
    peer.socket.end_writing();
    std::string rest;
    const auto got = peer.socket.read(rest);
    if (got == Socket::Got::end) ++ended;
    if (got == Socket::Got::reset) ++reset;
  });
  auto settings = settings_for(upstream.port());
  settings.upstream.check = {
      .path = "/well?deep", .interval = 10ms, .timeout = 5s, .rise = 1, .fall = 1};
  Gateway gateway(settings);
  CHECK(comes_to(gateway, 0, Servers::State::reachable));
  CHECK(await([&] { return ended > 5; }));
  CHECK(reset == 0);
  const Message check = upstream.requests()[0];
  CHECK(check.field("Host") == settings.upstream.servers[0].text);
}

TEST_CASE("Host is made of what the conf has, whatever that is") {
  const auto authority = [](const std::string& host, std::uint16_t port, bool is_tls,
                            bool is_unix) {
    const std::vector<conf::Address> addresses{{host, port, host, is_tls, is_unix}};
    return Servers::make(addresses, nullptr, {})->authority(0);
  };
  CHECK(authority("::1", 9000, false, false) == "[::1]:9000");
  CHECK(authority("::1", 80, false, false) == "[::1]");
  CHECK(authority("127.0.0.1", 9000, false, false) == "127.0.0.1:9000");
  CHECK(authority("127.0.0.1", 443, true, false) == "127.0.0.1");
  CHECK(authority("127.0.0.1", 443, false, false) == "127.0.0.1:443");
  CHECK(authority("/run/model.sock", 0, false, true) == "localhost");
  // A zone is of this machine, the dot at the end is for DNS.
  CHECK(authority("fe80::1%eth0", 9000, false, false) == "[fe80::1]:9000");
  CHECK(authority("model.example.", 9000, false, false) == "model.example:9000");
}

TEST_CASE("the last server stays while it works, though its checks are late") {
  // One that does one thing after the other: with 5 requests in it a check has no answer in time.
  std::atomic<bool> is_busy{false};
  std::atomic<int> checks{0};
  FakeUpstream upstream(FakeUpstream::each([&](Peer& peer, const Message& request) {
    if (!request.first_line.contains(" /well?deep ")) {
      is_busy = true;
      if (!peer.hold()) return;
    } else {
      ++checks;
      if (is_busy) return;  // says nothing
    }
    peer.send(answer_with(""));
  }));
  auto settings = settings_for(upstream.port());
  settings.upstream.check = {
      .path = "/well?deep", .interval = 10ms, .timeout = 20ms, .rise = 1, .fall = 2};
  Gateway gateway(settings);
  REQUIRE(comes_to(gateway, 0, Servers::State::reachable));
  Client client(gateway);
  client.send(post("/x", "1"));
  REQUIRE(await([&] { return upstream.holding() == 1; }));
  const int before = checks;
  REQUIRE(await([&] { return checks > before + 6; }));
  CHECK(servers_of(gateway).state(0) == Servers::State::reachable);
  Client second(gateway);
  second.send(post("/x", "2"));
  REQUIRE(await([&] { return upstream.holding() == 2; }));
  upstream.release(2);
  CHECK(client.read_answer().status() == 200);
  CHECK(second.read_answer().status() == 200);
  // Idle, and still no answer to a check: that is no work.
  CHECK(comes_to(gateway, 0, Servers::State::unreachable));
}

TEST_CASE("a server that a reload brings gets nothing before its first check has found it well") {
  Checked old, fresh;
  fresh.status = 0;  // does not say how it is
  auto settings = settings_for_all({old.upstream.port()});
  settings.upstream.check = {
      .path = "/well?deep", .interval = 10ms, .timeout = 5s, .rise = 1, .fall = 1};
  Gateway gateway(settings);
  REQUIRE(comes_to(gateway, 0, Servers::State::reachable));
  settings.upstream.servers =
      settings_for_all({old.upstream.port(), fresh.upstream.port()}).upstream.servers;
  REQUIRE(gateway.server().reconfigure(settings, {}));
  REQUIRE(await([&] { return fresh.checks > 0; }));
  Client client(gateway);
  for (int i = 0; i < 20; ++i) CHECK(client.ask(get("/x")).status() == 200);
  CHECK(fresh.upstream.request_count() == 1);  // the check
}

TEST_CASE("a server whose answers are mostly 5xx is failing: told, degraded, and passed over") {
  // A model that answered 500 to everything was "ok, 32 processed, 0 failed".
  std::atomic<int> status{500};
  FakeUpstream bad(FakeUpstream::each(
      [&](Peer& peer, const Message&) { peer.send(answer_with("", {}, status)); }));
  FakeUpstream good(FakeUpstream::echo_target());
  const auto word = [](const Gateway& gateway) {
    return nlohmann::json::parse(gateway.health()).at("status").get<std::string>();
  };
  auto settings = settings_for(bad.port());
  settings.threads = 1;
  {
    Gateway gateway(settings);
    Client client(gateway);
    for (int i = 0; i < 19; ++i) CHECK(client.ask(get("/x")).status() == 500);
    CHECK(word(gateway) == "ok");
    CHECK(client.ask(get("/x")).status() == 500);
    CHECK(word(gateway) == "degraded");
    const std::string& name = servers_of(gateway).name(0);
    auto health = nlohmann::json::parse(gateway.health());
    CHECK(health.at("upstream").at(name) == "failing");
    CHECK(health.at("upstream_answers").at(name) ==
          nlohmann::json{{"2xx", 0}, {"3xx", 0}, {"4xx", 0}, {"5xx", 20}});
    // The only one is asked on, and is well again when it answers well.
    status = 404;
    for (int i = 0; i < 20; ++i) CHECK(client.ask(get("/x")).status() == 404);
    CHECK(word(gateway) == "ok");
    health = nlohmann::json::parse(gateway.health());
    CHECK(health.at("upstream").at(name) == "reachable");
    CHECK(health.at("upstream_answers").at(name).at("4xx") == 20);
  }
  status = 503;
  settings.upstream.eject_time = 1h;
  settings.upstream.servers = settings_for_all({bad.port(), good.port()}).upstream.servers;
  Gateway gateway(settings);
  Client client(gateway);
  int errors = 0;
  for (int i = 0; i < 100; ++i) errors += client.ask(get("/x")).status() == 503 ? 1 : 0;
  CHECK(errors == 20);
  CHECK(servers_of(gateway).ejections(0) == 1);
  settings.upstream.eject_errors = 0;
  Gateway careless(settings);
  Client other(careless);
  for (int i = 0; i < 100; ++i) other.ask(get("/x"));
  CHECK(servers_of(careless).answers(0, 3) >= 40);
}

TEST_CASE("checks go on after a reload, by the new settings and no more by the old") {
  Checked checked, other;
  auto settings = settings_for(checked.upstream.port());
  settings.upstream.check = {
      .path = "/well?deep", .interval = 10ms, .timeout = 5s, .rise = 1, .fall = 1};
  Gateway gateway(settings);
  REQUIRE(await([&] { return checked.checks > 2; }));
  settings.upstream.servers = settings_for(other.upstream.port()).upstream.servers;
  REQUIRE(gateway.server().reconfigure(settings, {}));
  REQUIRE(await([&] { return other.checks > 1; }));
  const int before = checked.checks;
  REQUIRE(await([&] { return other.checks > 20; }));
  CHECK(checked.checks <= before + 1);
}

TEST_CASE("without a retry budget an idempotent request that may have run is not sent again") {
  FakeUpstream upstream([](Peer& peer) {
    if (peer.read_request()) peer.socket.reset();
  });
  auto settings = settings_for(upstream.port());
  settings.upstream.eject_after = 0;
  for (const double budget : {0.0, 0.2}) {
    settings.upstream.retry_budget = budget;
    const std::size_t before = upstream.request_count();
    Gateway gateway(settings);
    Client client(gateway);
    CHECK(client.ask(get("/x")).reason() == "upstream_broken");
    CHECK(upstream.request_count() - before == (budget > 0 ? 2 : 1));
    // Counted when the answer is out.
    const auto sum = [&](Counter LoopMetrics::* counter) {
      std::uint64_t total = 0;
      for (const auto& station : gateway.server().stations())
        total += (station->numbers().*counter).read();
      return total;
    };
    CHECK(await([&] { return sum(&LoopMetrics::retries) == (budget > 0 ? 1 : 0); }));
    CHECK(await([&] { return sum(&LoopMetrics::retries_denied) == (budget > 0 ? 0 : 1); }));
  }
}

TEST_CASE("when everything fails, second attempts are a fraction of the first") {
  FakeUpstream upstream([](Peer& peer) {
    if (peer.read_request()) peer.socket.reset();
  });
  auto settings = settings_for(upstream.port());
  settings.threads = 1;
  settings.upstream.retry_budget = 0.1;
  Gateway gateway(settings);
  Client client(gateway);
  for (int i = 0; i < 100; ++i) CHECK(client.ask(get("/x")).status() == 502);
  // Ten at any time, and a tenth of a hundred.
  CHECK(upstream.request_count() >= 100 + 15);
  CHECK(upstream.request_count() <= 100 + 20);
}

// A loop that has not adopted the newest policy yet hears of a server that is down, or up again.
TEST_CASE("workers are bounded by the newest policy, not by that of whichever loop has news") {
  auto settings = settings_for_all({1, 2});
  settings.admission.workers = 50;
  const admission::Ids ids(settings);
  const HashKey key = make_hash_key();
  const auto log = AccessLog::open(settings.log);
  REQUIRE(log);
  Shared shared(settings, ids, **log, key);
  const std::shared_ptr<Servers> servers =
      Servers::make(settings.upstream.servers, nullptr, Servers::look_up(settings.upstream));
  const auto policy_with = [&](std::uint32_t requests_per_server,
                               std::uint32_t workers_per_server = 0) {
    settings.upstream.requests_per_server = requests_per_server;
    settings.admission.workers_per_server = workers_per_server;
    return std::make_shared<const Policy>(
        Policy{.rules = std::make_shared<const Rules>(settings, ids, 100, key),
               .servers = servers,
               .tls = {},
               .history = {}});
  };
  const auto now = std::chrono::steady_clock::now();
  const auto workers = [&] { return shared.gate.snapshot(now).workers; };
  shared.follow(policy_with(2), now);
  CHECK(workers() == 4);
  servers->mark(1, Servers::State::unreachable);
  shared.fit_workers_to_servers(now);
  CHECK(workers() == 2);
  shared.follow(policy_with(0), now);
  CHECK(workers() == 50);
  servers->mark(1, Servers::State::reachable);
  shared.fit_workers_to_servers(now);
  CHECK(workers() == 50);
  shared.follow(policy_with(3), now);
  CHECK(workers() == 6);
  // Workers for each server that is up; admission.workers is the most.
  shared.follow(policy_with(0, 8), now);
  CHECK(workers() == 16);
  servers->mark(0, Servers::State::unreachable);
  shared.fit_workers_to_servers(now);
  CHECK(workers() == 8);
  servers->mark(0, Servers::State::reachable);
  shared.follow(policy_with(3, 8), now);
  CHECK(workers() == 6);
  shared.follow(policy_with(0, 40), now);
  CHECK(workers() == 50);
}

}  // namespace
}  // namespace classgate::gateway::test
