#include "proxy/upstream_pool.h"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <functional>

#include "proxy/net/listener.h"
#include "proxy/net/mailbox.h"
#include "tests/proxy/servers.h"

namespace classgate::proxy {
namespace {

using namespace std::chrono_literals;

struct User final : UpstreamConnection::User {
  void on_fault() override { CHECK_MESSAGE(false, "an exception was thrown"); }
  void on_upstream_readable() override {}
  void on_upstream_drained() override { on_connected(); }
  void on_connect_timeout() override { timed_out = true; }
  void on_proof_timeout() override {}
  std::function<void()> on_connected = [] {};
  bool timed_out = false;
};

// A pool of one loop before listening sockets whose kernel accepts for them.
struct PoolBench {
  PoolBench(std::size_t server_count, std::size_t idle_max,
            std::chrono::milliseconds idle_timeout = 50ms) {
    std::vector<conf::Address> addresses;
    for (std::size_t i = 0; i < server_count; ++i) {
      auto socket = net::listen_on({"127.0.0.1", 0, "127.0.0.1:0"});
      REQUIRE(socket.has_value());
      const net::SocketAddress address = socket->local;
      addresses.push_back({"127.0.0.1", address.port(), address.text()});
      sockets.push_back(std::move(*socket));
    }
    auto resolved = look_up_servers(addresses);
    REQUIRE(resolved.has_value());
    servers = std::move(*resolved);
    settings.idle_timeout = idle_timeout;
    settings.probe_interval = 10ms;
    pool = std::make_unique<UpstreamPool>(loop, servers, settings, idle_max,
                                          [this](std::size_t, bool reachable, const std::string&) {
                                            changes.push_back(reachable);
                                            if (on_change) on_change();
                                          });
  }
  // A connection that stands.
  UpstreamPool::Connection connection(std::size_t server = 0) {
    int error = 0;
    auto taken = pool->take(server, user, error);
    REQUIRE(taken);
    if (!taken->stream().is_connecting()) return taken;
    user.on_connected = [this] { loop.stop(); };
    loop.run();
    REQUIRE_FALSE(taken->stream().is_broken());
    return taken;
  }
  // Takes turns until the condition holds; false when it does not within five seconds.
  bool run_until(const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + 5s;
    net::TimeoutList ticks(loop, 2ms);
    struct Tick {
      const std::function<bool()>& condition;
      std::chrono::steady_clock::time_point end;
      net::TimeoutList& list;
      net::Loop& loop;
      net::Timeout timeout{[](void* self) { static_cast<Tick*>(self)->look(); }, this};
      void look() {
        if (condition() || std::chrono::steady_clock::now() > end)
          loop.stop();
        else
          list.set(timeout);
      }
    };
    Tick tick{condition, end, ticks, loop};
    ticks.set(tick.timeout);
    loop.run();
    return condition();
  }

  net::Loop loop;
  std::vector<net::ListeningSocket> sockets;
  std::shared_ptr<Servers> servers;
  conf::UpstreamSettings settings;
  std::vector<bool> changes;
  std::function<void()> on_change;
  User user;
  std::unique_ptr<UpstreamPool> pool;
};

TEST_CASE("the connection that was used last is used again first") {
  PoolBench bench(1, 10);
  auto a = bench.connection();
  auto b = bench.connection();
  UpstreamConnection* const last = b.get();
  CHECK_FALSE(b->is_reused());
  bench.pool->give_back(std::move(a));
  bench.pool->give_back(std::move(b));
  CHECK(bench.pool->idle_count() == 2);
  auto again = bench.connection();
  CHECK(again.get() == last);
  CHECK(again->is_reused());
  CHECK(bench.pool->idle_count() == 1);
  bench.pool->discard(std::move(again));
  CHECK(bench.pool->idle_count() == 1);
}

TEST_CASE("more than the agreed number of unused connections is kept for a second only") {
  PoolBench bench(1, 1, 1h);
  auto a = bench.connection();
  auto b = bench.connection();
  UpstreamConnection* const kept = a.get();
  bench.pool->give_back(std::move(a));
  bench.pool->give_back(std::move(b));
  CHECK(bench.pool->idle_count() == 2);
  CHECK(bench.run_until([&] { return bench.pool->idle_count() == 1; }));
  CHECK(bench.connection().get() == kept);
}

TEST_CASE("no unused connection is kept for ever, and none at all when none is wanted") {
  PoolBench bench(1, 10);
  bench.pool->give_back(bench.connection());
  CHECK(bench.run_until([&] { return bench.pool->idle_count() == 0; }));
  PoolBench none(1, 0);
  none.pool->give_back(none.connection());
  CHECK(none.pool->idle_count() == 0);
}

TEST_CASE("an unused connection that the server closes is dropped at once") {
  PoolBench bench(1, 10, 1h);
  auto a = bench.connection();
  const net::Fd server_side(::accept(bench.sockets[0].fd.get(), nullptr, nullptr));
  REQUIRE(server_side);
  bench.pool->give_back(std::move(a));
  REQUIRE(bench.pool->idle_count() == 1);
  ::shutdown(server_side.get(), SHUT_RDWR);
  CHECK(bench.run_until([&] { return bench.pool->idle_count() == 0; }));
}

TEST_CASE("a server that was found reachable keeps no connection that nobody uses") {
  PoolBench bench(1, 10);
  bench.pool->probe_unproven();
  net::Fd accepted;
  const auto is_accepted = [&] {
    if (accepted.get() < 0)
      accepted = net::Fd(::accept4(bench.sockets[0].fd.get(), nullptr, nullptr, SOCK_NONBLOCK));
    return accepted.get() >= 0;
  };
  REQUIRE(bench.run_until(is_accepted));
  char byte = 0;
  CHECK(bench.run_until([&] { return ::recv(accepted.get(), &byte, 1, 0) == 0; }));
  CHECK(bench.changes == std::vector{true});
}

TEST_CASE("a pool that a reload has replaced asks and says nothing of the servers any more") {
  // It was kept alive by a tunnel, and probed with certificates that were past.
  PoolBench bench(1, 10);
  auto tunnel = bench.connection();
  bench.changes.clear();
  bench.pool->mark_unreachable(0, "before");
  REQUIRE(bench.changes == std::vector<bool>{false});
  bench.pool->retire();
  // Ten times the interval at which it probed.
  const auto end = std::chrono::steady_clock::now() + 10 * bench.settings.probe_interval;
  REQUIRE(bench.run_until([&] { return std::chrono::steady_clock::now() > end; }));
  CHECK(bench.servers->state(0) == Servers::State::unreachable);
  bench.servers->mark(0, Servers::State::reachable);
  bench.pool->mark_unreachable(0, "under the former settings");
  CHECK(bench.servers->state(0) == Servers::State::reachable);
  CHECK(bench.changes == std::vector<bool>{false});
  bench.pool->discard(std::move(tunnel));
}

TEST_CASE("a server is ejected when a reload has lowered what it has reached") {
  PoolBench bench(2, 0);
  const net::Time now = bench.loop.now();
  for (int i = 0; i < 6; ++i) CHECK(bench.servers->note_failure(0, {9, 5s}, now) == 0s);
  CHECK(bench.servers->note_failure(0, {3, 5s}, now) == 5s);  // the seventh, of three
  CHECK(bench.servers->is_ejected(0, now));
  CHECK(bench.servers->note_failure(0, {3, 5s}, now) == 0s);  // does not make it longer
  CHECK_FALSE(bench.servers->is_ejected(0, now + 5s));
  for (int i = 0; i < 2; ++i) CHECK(bench.servers->note_failure(0, {3, 5s}, now + 5s) == 0s);
  CHECK(bench.servers->note_failure(0, {3, 5s}, now + 5s) == 10s);
}

TEST_CASE("exchanges go to the server with the fewest, and around what is unreachable") {
  PoolBench bench(3, 10);
  auto a = bench.connection(bench.pool->choose_server());
  auto b = bench.connection(bench.pool->choose_server());
  auto c = bench.connection(bench.pool->choose_server());
  CHECK(a->server() + b->server() + c->server() == 0 + 1 + 2);
  const std::size_t least = b->server();
  bench.pool->discard(std::move(b));
  CHECK(bench.pool->choose_server() == least);
  CHECK(bench.pool->choose_server(least) != least);
  bench.servers->mark(least, Servers::State::unreachable);
  CHECK(bench.pool->choose_server() != least);
  bench.pool->discard(std::move(a));
  bench.pool->discard(std::move(c));
}

TEST_CASE(
    "a server that cannot be reached is tried again until it can, and each change told once") {
  PoolBench bench(1, 10);
  bench.pool->mark_unreachable(0, "test");
  bench.pool->mark_unreachable(0, "test");
  CHECK(bench.changes == std::vector<bool>{false});
  CHECK(bench.servers->none_reachable());
  CHECK(bench.run_until([&] { return bench.changes.size() == 2; }));
  CHECK(bench.changes == std::vector<bool>{false, true});
  CHECK(bench.servers->state(0) == Servers::State::reachable);
}

}  // namespace
}  // namespace classgate::proxy
