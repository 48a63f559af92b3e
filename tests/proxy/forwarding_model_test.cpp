#include <doctest/doctest.h>
#include <sys/eventfd.h>

#include <cstdlib>
#include <random>

#include "proxy/forwarding.h"
#include "proxy/net/listener.h"
#include "proxy/net/timer.h"
#include "proxy/net/watch.h"
#include "tests/proxy/servers.h"

// Forwardings and their pool against a server that does anything at any byte, with short deadlines
// that fire between any two events. The world does one random thing in each turn of the loop. A
// seed is printed when something fails; CLASSGATE_SEED repeats it.

namespace classgate::proxy {
namespace {

using namespace std::chrono_literals;

class World {
 public:
  explicit World(std::uint64_t seed)
      : random_(seed), speaks_unasked_(seed % 2 == 1), signal_(::eventfd(1, EFD_NONBLOCK)) {
    auto listening = net::listen_on({"127.0.0.1", 0, "127.0.0.1:0"});
    REQUIRE(listening.has_value());
    socket_ = std::move(*listening);
    auto resolved = look_up_servers({{"127.0.0.1", socket_.local.port(), socket_.local.text()}});
    REQUIRE(resolved.has_value());
    conf::UpstreamSettings settings;
    settings.connect_timeout = 3ms;
    settings.idle_timeout = 2ms;
    settings.probe_interval = 1ms;
    settings.unasked_pause = 2ms;
    settings.eject_after = 0;
    pool_ = std::make_unique<UpstreamPool>(loop_, std::move(*resolved), settings, 3,
                                           [](std::size_t, bool, const std::string&) {});
    for (int i = 0; i < 4; ++i) exchanges_.push_back(std::make_unique<Exchange>(*this));
    watch_ = std::make_unique<net::Watch>(loop_, signal_.get(), [this] { turn(); });
  }

  void run() {
    loop_.run();
    std::size_t active = 0;
    for (const auto& exchange : exchanges_) {
      exchange->forwarding.cancel();
      active += exchange->is_open ? 1 : 0;
    }
    CHECK(active <= exchanges_.size());
    CHECK_FALSE(pool_->is_in_use());
    CHECK(pool_->servers().requests(0) == 0);
    CHECK(endings > 100);
  }

  int endings = 0;
  int answered = 0;

 private:
  struct Exchange final : Forwarding::Client {
    void on_fault() override { CHECK_MESSAGE(false, "an exception was thrown"); }
    explicit Exchange(World& of) : world(of), forwarding(*this) {}
    void on_interim_answer(const wire::Head&) override {}
    void on_switched(const wire::Head&) override {}
    void on_answer_head(const wire::Head&, wire::Framing) override { REQUIRE(is_open); }
    void on_answer_body(std::string_view part) override { got += part; }
    void on_answer_part_end() override {}
    bool is_answer_blocked() override { return is_blocked; }
    void on_upload_drained() override {}
    void on_server_ended() override {}
    void on_answer_end(const std::vector<wire::Parser::Trailer>&) override {
      end();
      ++world.answered;
      // Shifted answers can't be told before the server is known to speak unasked.
      if (!world.speaks_unasked_) CHECK(got == std::to_string(number));
    }
    void on_answer_failed(Forwarding::Failure, const std::string&) override { end(); }
    void end() {
      REQUIRE(is_open);  // once for each
      CHECK_FALSE(forwarding.is_active());
      is_open = false;
      ++world.endings;
    }
    World& world;
    Forwarding forwarding;
    std::string head, body, got;
    std::size_t number = 0;
    bool is_open = false;
    bool is_blocked = false;
  };

  struct Connection {
    net::Fd fd;
    std::string heard;
    std::string to_say;
    bool has_ended = false;
  };

  bool chance(int percent) { return below(100) < static_cast<std::size_t>(percent); }
  std::size_t below(std::size_t n) { return random_() % n; }

  void turn() {
    if (++turns_ > 4000) return loop_.stop();
    accept_all();
    if (chance(40)) act(*exchanges_[below(exchanges_.size())]);
    for (std::size_t i = connections_.size(); i-- > 0;) {
      if (chance(60) && !act(connections_[i]))
        connections_.erase(connections_.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }

  void act(Exchange& exchange) {
    if (!exchange.is_open) {
      exchange.number = executions_.size();
      const bool is_idempotent = chance(50);
      executions_.push_back(0);
      is_idempotent_.push_back(is_idempotent);
      exchange.head =
          "POST / HTTP/1.1\r\nHost: a\r\nX-Number: " + std::to_string(exchange.number) + "\r\n";
      exchange.body.assign(chance(5) ? 300'000 : 10, 'x');
      exchange.got.clear();
      exchange.is_open = true;
      Forwarding::Request request;
      request.head = exchange.head;
      request.body = exchange.body;
      request.framing = wire::Framing::length;
      request.length = exchange.body.size();
      request.is_idempotent = is_idempotent;
      exchange.forwarding.start(*pool_, request);
    } else if (chance(2)) {
      exchange.forwarding.cancel();
      exchange.is_open = false;
    } else if (chance(2)) {
      exchange.forwarding.forbid_retry();
    } else if (chance(10)) {
      exchange.is_blocked = !exchange.is_blocked;
      if (!exchange.is_blocked) exchange.forwarding.resume();
    }
  }

  void accept_all() {
    for (;;) {
      net::Fd fd(::accept4(socket_.fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd) return;
      connections_.push_back({std::move(fd), {}, {}});
    }
  }

  // False when the server is done with the connection.
  bool act(Connection& connection) {
    const std::size_t deed = below(100);
    if (deed < 3) return false;  // close
    if (deed < 6) {
      // One that has said its last word, runs what comes all the same, and then resets before its
      // kernel has acknowledged it: beyond what can be told, and beyond HTTP.
      if (connection.has_ended) return true;
      const linger now{.l_onoff = 1, .l_linger = 0};
      ::setsockopt(connection.fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
      return false;
    }
    if (deed < 8) {
      ::shutdown(connection.fd.get(), SHUT_WR);
      connection.has_ended = true;
    }
    if (deed < 10 && speaks_unasked_) connection.to_say += answer("stray");
    if (deed < 60) return hear(connection);
    if (connection.to_say.empty()) return true;
    const std::size_t size = 1 + below(chance(30) ? 3 : connection.to_say.size());
    const ssize_t sent = ::send(connection.fd.get(), connection.to_say.data(),
                                std::min(size, connection.to_say.size()), MSG_NOSIGNAL);
    if (sent > 0) connection.to_say.erase(0, static_cast<std::size_t>(sent));
    return sent > 0 || errno == EAGAIN;
  }

  bool hear(Connection& connection) {
    std::array<char, 65536> bytes;
    const std::size_t most = chance(30) ? 1 + below(20) : bytes.size();
    const ssize_t size = ::recv(connection.fd.get(), bytes.data(), most, 0);
    if (size == 0) return false;
    if (size < 0) return errno == EAGAIN;
    std::string& heard = connection.heard;
    heard.append(bytes.data(), static_cast<std::size_t>(size));
    for (;;) {
      const std::size_t end = heard.find("\r\n\r\n");
      if (end == std::string::npos) return true;
      const auto number_at = [&](std::string_view name) {
        return std::strtoul(heard.c_str() + heard.find(name) + name.size(), nullptr, 10);
      };
      const std::size_t whole = end + 4 + number_at("Content-Length: ");
      if (heard.size() < whole) return true;
      execute(number_at("X-Number: "), connection);
      heard.erase(0, whole);
    }
  }

  void execute(std::size_t number, Connection& connection) {
    ++executions_[number];
    CHECK((executions_[number] == 1 || is_idempotent_[number]));
    connection.to_say += answer(std::to_string(number));
  }

  static std::string answer(const std::string& body) {
    return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }

  std::mt19937_64 random_;
  const bool speaks_unasked_;
  net::Loop loop_;
  net::ListeningSocket socket_;
  std::unique_ptr<UpstreamPool> pool_;
  std::vector<std::unique_ptr<Exchange>> exchanges_;
  std::vector<Connection> connections_;
  std::vector<int> executions_;
  std::vector<bool> is_idempotent_;
  net::Fd signal_;  // always readable: every turn is ours
  std::unique_ptr<net::Watch> watch_;
  int turns_ = 0;
};

TEST_CASE("whatever a server does, each exchange ends once and no POST runs twice") {
  const char* const given = std::getenv("CLASSGATE_SEED");
  const std::uint64_t first =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::uint64_t{std::random_device{}()};
  const std::uint64_t count = given != nullptr ? 1 : 20;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    CAPTURE(seed);
    World world(seed);
    world.run();
    CHECK(world.answered > 0);
  }
}

}  // namespace
}  // namespace classgate::proxy
