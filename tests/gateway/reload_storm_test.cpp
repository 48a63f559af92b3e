#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <random>

#include "tests/gateway/kit.h"
#include "tests/gateway/tls_client.h"

// A reload at every point of a connection's life: what it changes and what the clients do follows
// from the seed that main prints; how they meet does not.

namespace classgate::gateway::test {
namespace {

using Random = std::mt19937_64;

int pick(Random& random, int from, int to) {
  return std::uniform_int_distribution<int>(from, to)(random);
}
bool toss(Random& random, int one_in) { return pick(random, 1, one_in) == 1; }

// What the clients can know of the policy in force, and what they have seen.
struct Weather {
  std::uint16_t port = 0;
  std::atomic<bool> is_tls{false}, wants_introductions{false}, is_over{false};
  std::atomic<std::uint64_t> reloads{0};
  std::atomic<int> waiting_for_a_reload{0};
  std::atomic<std::uint64_t> answered{0}, served{0}, ended{0}, left_alone{0}, surprises{0};

  // The point of life that the caller is at sees a reload; unless all is over.
  void sees_a_reload() {
    const std::uint64_t before = reloads;
    ++waiting_for_a_reload;
    await([&] { return is_over.load() || reloads > before; });
    --waiting_for_a_reload;
  }
};

// One connection of a client, with TLS or without.
class Line {
 public:
  Line(std::uint16_t port, bool is_tls) {
    if (is_tls)
      tls_ = std::make_unique<TlsClient>(Socket::connect(port));
    else
      plain_ = std::make_unique<Socket>(Socket::connect(port));
  }
  Socket& socket() { return tls_ ? tls_->socket : *plain_; }
  bool begin() { return !tls_ || tls_->shake_hands(); }
  bool send(std::string_view text) { return tls_ ? tls_->send(text) : plain_->send(text); }
  Socket::Got read(std::string& into) { return tls_ ? tls_->read(into) : plain_->read(into); }
  bool was_left_waiting() const { return tls_ && tls_->was_left_waiting(); }

 private:
  std::unique_ptr<TlsClient> tls_;
  std::unique_ptr<Socket> plain_;
};

class StormClient {
 public:
  StormClient(Weather& weather, std::uint64_t seed) : weather_(weather), random_(seed) {}

  void run() {
    while (!weather_.is_over) live();
  }

 private:
  // At some points of its life, of this connection, it waits for a reload.
  void may_see_a_reload() {
    if (toss(random_, 6)) weather_.sees_a_reload();
  }

  void live() {
    const bool is_right = !toss(random_, 8);  // about what is spoken; or tries the other
    Line line(weather_.port, weather_.is_tls == is_right);
    may_see_a_reload();
    if (weather_.wants_introductions == is_right) introduce(line);
    if (toss(random_, 10)) {
      line.socket().send(TlsClient::half_a_hello());
      may_see_a_reload();
      return leave(line);
    }
    if (!line.begin()) return end(line.was_left_waiting());
    const int requests = pick(random_, 1, 4);
    for (int i = 0; i < requests; ++i) {
      may_see_a_reload();
      if (!make_request(line)) return;
    }
  }

  void introduce(Line& line) {
    static constexpr std::string_view header = "PROXY TCP4 192.0.2.7 10.0.0.2 56324 443\r\n";
    const auto cut = static_cast<std::size_t>(pick(random_, 0, 40));
    line.socket().send(header.substr(0, cut));
    may_see_a_reload();
    line.socket().send(header.substr(cut));
  }

  void leave(Line& line) {
    if (toss(random_, 2)) line.socket().reset();
  }

  void end(bool was_left_alone) { ++(was_left_alone ? weather_.left_alone : weather_.ended); }

  std::string some_request() {
    static constexpr std::array targets{"/a/x", "/b", "/c/y", "/elsewhere", "/queue/health"};
    const std::string target = targets[static_cast<std::size_t>(pick(random_, 0, 4))];
    switch (pick(random_, 0, 4)) {
      case 0: return post(target, R"({"texts":["a","b","c"]})", "X-Cost: 3\r\n");
      case 1: return post(target, pattern(static_cast<std::size_t>(pick(random_, 1, 150'000))));
      case 2: return post_chunked(target, {pattern(9), pattern(5000)});
      case 3:
        return get("/ws",
                   "Connection: Upgrade\r\nUpgrade: websocket\r\n"
                   "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n");
      default: return get(target, "X-Cost: 2\r\n");
    }
  }

  // False when the connection is of no more use.
  bool make_request(Line& line) {
    const std::string request = some_request();
    const auto cut = static_cast<std::size_t>(pick(random_, 1, static_cast<int>(request.size())));
    line.send(std::string_view(request).substr(0, cut));
    may_see_a_reload();
    if (toss(random_, 12)) {
      leave(line);
      return false;
    }
    line.send(std::string_view(request).substr(cut));
    may_see_a_reload();
    return read_answer(line);
  }

  bool read_answer(Line& line) {
    std::string text;
    std::size_t head_end;
    while ((head_end = text.find("\r\n\r\n")) == std::string::npos) {
      const Socket::Got got = line.read(text);
      if (got == Socket::Got::some) continue;
      end(got == Socket::Got::late);
      return false;
    }
    ++weather_.answered;
    const std::string head = text.substr(0, head_end + 2);
    if (head.starts_with("HTTP/1.1 101 ")) return use_tunnel(line);
    if (head.starts_with("HTTP/1.1 200 ")) ++weather_.served;
    const std::size_t field = head.find("\r\nContent-Length: ");
    if (field == std::string::npos) {
      ++weather_.surprises;
      return false;
    }
    const std::size_t size = head_end + 4 + std::stoul(head.substr(field + 18));
    while (text.size() < size) {
      const Socket::Got got = line.read(text);
      if (got == Socket::Got::some) continue;
      end(got == Socket::Got::late);
      return false;
    }
    if (text.size() > size) ++weather_.surprises;  // a second answer to one request
    return head.find("\r\nConnection: close\r\n") == std::string::npos;
  }

  bool use_tunnel(Line& line) {
    may_see_a_reload();
    std::string echo;
    line.send("ping");
    while (echo.size() < 4) {
      const Socket::Got got = line.read(echo);
      if (got == Socket::Got::some) continue;
      end(got == Socket::Got::late);
      return false;
    }
    if (echo != "ping") ++weather_.surprises;
    ++weather_.served;
    return false;
  }

  Weather& weather_;
  Random random_;
};

FakeUpstream::Script echoes_and_tunnels() {
  return FakeUpstream::each([](Peer& peer, const Message& request) {
    if (request.has("Upgrade")) {
      peer.send(
          "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
      std::string text;
      while (peer.socket.read(text) == Socket::Got::some) peer.send(std::exchange(text, {}));
      return;
    }
    peer.work(milliseconds(request.body.size() % 4));
    peer.send(answer_with(request.method() + " " + request.target()));
  });
}

std::vector<conf::RouteSettings> some_routes(Random& random) {
  using Kind = conf::CostSettings::Kind;
  std::vector<conf::RouteSettings> routes{
      {.path = "/a/", .is_prefix = true, .priority = pick(random, 1, 5)},
      {.path = "/b", .priority = pick(random, 1, 5), .body_bytes = conf::Bytes{1000}},
      {.path = "/c/", .is_prefix = true, .priority = 2, .deadline = 2s},
      {.path = "/ws", .priority = 1},
      {.path = "/a/x", .priority = 3, .rate = 1000}};
  for (conf::RouteSettings& route : routes) {
    switch (pick(random, 0, 3)) {
      case 0: route.cost = {.kind = Kind::items, .header = {}}; break;
      case 1: route.cost = {.kind = Kind::body, .header = {}, .unit = conf::Bytes{1000}}; break;
      case 2: route.cost = {.kind = Kind::header, .header = "X-Cost"}; break;
      default: break;
    }
    if (toss(random, 3)) route.cost_per_worker = 2;
  }
  std::ranges::shuffle(routes, random);
  routes.resize(static_cast<std::size_t>(pick(random, 0, 5)));
  return routes;
}

conf::Settings some_policy(Random& random, conf::Settings settings) {
  if (toss(random, 2)) {
    settings.listen = {{"127.0.0.1", 0, "https://127.0.0.1:0", true}};
    settings.tls.certificates = {some_certificate()};
  }
  if (toss(random, 2)) settings.client.trusted_proxies = {*conf::parse_network("127.0.0.1")};
  settings.client.proxy_protocol = toss(random, 2);
  settings.client.connections_per_address = toss(random, 3) ? 20 : 0;
  settings.client.body_buffer = conf::Bytes{toss(random, 2) ? 4096U : 65536U};
  settings.client.body_bytes = conf::Bytes{toss(random, 4) ? 20'000U : 1'000'000U};
  settings.client.requests_per_connection = toss(random, 3) ? 2 : 100;
  settings.client.header_timeout = milliseconds(pick(random, 1000, 2000));
  settings.client.idle_timeout = milliseconds(pick(random, 1000, 2000));
  settings.client.linger_timeout = milliseconds(pick(random, 50, 200));
  settings.client.server_timing = toss(random, 2);
  settings.admission.workers = static_cast<std::uint32_t>(pick(random, 1, 8));
  settings.admission.queue_size = static_cast<std::uint32_t>(pick(random, 0, 20));
  settings.admission.request_timeout = milliseconds(pick(random, 2000, 3000));
  settings.upstream.connect_timeout = milliseconds(pick(random, 2000, 2002));  // another pool
  settings.upstream.websocket = !toss(random, 4);
  settings.routes = some_routes(random);
  return settings;
}

TEST_CASE("whatever a reload changes, at whatever point of a connection's life: each ends once") {
  CAPTURE(run().seed);
  FakeUpstream upstream(echoes_and_tunnels());
  conf::Settings base = settings_for(upstream.port());
  base.upstream.on_client_abort = conf::OnClientAbort::cancel;
  Gateway gateway(base);
  Weather weather;
  weather.port = gateway.port();
  std::vector<std::thread> clients;
  for (std::uint64_t i = 0; i < 8; ++i)
    clients.emplace_back([&weather, i] { StormClient(weather, run().seed + i).run(); });

  Random random(run().seed);
  const int reloads = run().stress_requests / 15;
  for (int i = 0; i < reloads; ++i) {
    const conf::Settings next = some_policy(random, base);
    const auto result = gateway.server().reconfigure(next, {});
    REQUIRE_MESSAGE(result.has_value(), result.error());
    weather.is_tls = next.listen.front().is_tls;
    weather.wants_introductions =
        next.client.proxy_protocol && !next.client.trusted_proxies.empty();
    ++weather.reloads;
    gateway.snapshot();  // checks that the books balance
    // Somebody has heard something under it, of whichever kind; or most wait for the next one.
    const auto heard = [&] { return weather.answered + weather.ended + weather.left_alone; };
    const std::uint64_t before = heard();
    CHECK(await([&] { return heard() >= before + 3 || weather.waiting_for_a_reload > 5; }));
  }
  weather.is_over = true;
  for (std::thread& client : clients) client.join();

  CHECK(weather.left_alone == 0);
  CHECK(weather.surprises == 0);
  CHECK(weather.served > 0);
  CHECK(await([&] { return gateway.server().connections() == 0; }));
  CHECK(await([&] {
    const admission::Snapshot s = gateway.server().snapshot();
    return s.active_workers == 0 && s.waiting == 0 && s.waiting_bytes == 0 && s.in_flight == 0;
  }));
  gateway.snapshot();
  REQUIRE(gateway.server().reconfigure(base, {}).has_value());
  REQUIRE(every_loop_turns(gateway.server(), 10s));
  Client last(gateway);
  CHECK(last.ask(get("/last")).status() == 200);
}

}  // namespace
}  // namespace classgate::gateway::test
