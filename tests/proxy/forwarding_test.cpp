#include "proxy/forwarding.h"

#include <doctest/doctest.h>
#include <sys/eventfd.h>

#include <functional>

#include "proxy/net/listener.h"
#include "proxy/net/timer.h"
#include "proxy/net/watch.h"
#include "tests/proxy/servers.h"

namespace classgate::proxy {
namespace {

// Notes what it is told, and ends the loop's run at the end.
struct Answer final : Forwarding::Client {
  explicit Answer(net::Loop& of) : loop(of) {}
  void on_interim_answer(const wire::Head&) override {}
  void on_switched(const wire::Head&) override {}
  void on_answer_head(const wire::Head& head, wire::Framing) override { status = head.status; }
  void on_answer_body(std::string_view) override {}
  void on_answer_part_end() override {}
  bool is_answer_blocked() override { return false; }
  void on_upload_drained() override {}
  void on_fault() override { CHECK_MESSAGE(false, "an exception was thrown"); }
  void on_server_ended() override {}
  void on_answer_end(const std::vector<wire::Parser::Trailer>&) override { loop.stop(); }
  void on_answer_failed(Forwarding::Failure, const std::string& reason) override {
    why = reason;
    loop.stop();
  }
  net::Loop& loop;
  int status = 0;
  std::string why;
};

// A server that the test plays itself: it and the loop take turns in one thread.
struct Bench {
  Bench() {
    auto listening = net::listen_on({"127.0.0.1", 0, "127.0.0.1:0"});
    REQUIRE(listening.has_value());
    socket = std::move(*listening);
    auto resolved = look_up_servers({{"127.0.0.1", socket.local.port(), socket.local.text()}});
    REQUIRE(resolved.has_value());
    pool = std::make_unique<UpstreamPool>(loop, std::move(*resolved), conf::UpstreamSettings{}, 10,
                                          [](std::size_t, bool, const std::string&) {});
  }

  Forwarding::Request request(bool is_idempotent) const {
    Forwarding::Request request;
    request.head = "POST / HTTP/1.1\r\nHost: a\r\n";
    request.is_idempotent = is_idempotent;
    return request;
  }
  net::Fd accept() const { return net::Fd(::accept(socket.fd.get(), nullptr, nullptr)); }
  static void say(const net::Fd& to, std::string_view text) {
    REQUIRE(::send(to.get(), text.data(), text.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(text.size()));
  }
  // Leaves one kept connection in the pool; the server's side of it.
  net::Fd keep_one() {
    Answer answer(loop);
    Forwarding forwarding(answer);
    forwarding.start(*pool, request(true));
    net::Fd server = accept();
    say(server, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    loop.run();
    REQUIRE(answer.status == 200);
    REQUIRE(pool->idle_count() == 1);
    return server;
  }

  net::Loop loop;
  net::ListeningSocket socket;
  std::unique_ptr<UpstreamPool> pool;
};

constexpr std::string_view unasked =
    "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

// The request goes out in the very turn in which epoll has told that the kept connection has
// something to say: that can't be its answer.
struct UnaskedInTheSameTurn {
  UnaskedInTheSameTurn(bool is_idempotent, bool server_ends) {
    net::Fd server = bench.keep_one();
    const net::Fd signal(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    const net::Watch watch(bench.loop, signal.get(), [&] {
      std::uint64_t count = 0;
      REQUIRE(::read(signal.get(), &count, sizeof count) == sizeof count);
      forwarding.start(*bench.pool, bench.request(is_idempotent));
      if (!server_ends) {
        // What the server's kernel has acknowledged it may have read.
        REQUIRE(::recv(server.get(), heard.data(), heard.size(), 0) > 0);
      }
      second = bench.accept_later();
    });
    const std::uint64_t one = 1;
    REQUIRE(::write(signal.get(), &one, sizeof one) == sizeof one);  // the first in epoll's list
    Bench::say(server, unasked);
    if (server_ends) server.reset();
    bench.loop.run();
  }
  struct WithLater : Bench {
    // The connection of a second attempt is answered as soon as it is there.
    std::unique_ptr<net::Watch> accept_later() {
      return std::make_unique<net::Watch>(loop, socket.fd.get(), [this] {
        again = accept();
        say(again, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
      });
    }
    net::Fd again;
  };
  std::array<char, 1000> heard{};
  WithLater bench;
  Answer answer{bench.loop};
  Forwarding forwarding{answer};
  std::unique_ptr<net::Watch> second;
};

TEST_CASE("what a kept connection says without being asked is no answer to the next request") {
  SUBCASE("an idempotent request is sent again") {
    const UnaskedInTheSameTurn race(true, false);
    CHECK(race.answer.status == 200);
    CHECK(race.forwarding.retries() == 1);
  }
  SUBCASE("any request is, when the server had closed before it came") {
    const UnaskedInTheSameTurn race(false, true);
    CHECK(race.answer.status == 200);
    CHECK(race.forwarding.retries() == 1);
  }
  SUBCASE("one that may run is not") {
    const UnaskedInTheSameTurn race(false, false);
    CHECK(race.answer.status == 0);
    CHECK(race.answer.why == "it spoke without being asked");
    CHECK(race.forwarding.retries() == 0);
  }
}

// A POST on a kept connection crosses with what the server does to that connection: epoll tells of
// both in one turn, the request goes out first. `before`: what the server did already; `after`:
// what it does when the request has come to its kernel.
struct Crossing {
  using Deed = std::function<void(net::Fd& server)>;
  Crossing(const Deed& before, const Deed& after) {
    net::Fd server = bench.keep_one();
    const net::Fd signal(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    const net::Watch watch(bench.loop, signal.get(), [&] {
      std::uint64_t count = 0;
      REQUIRE(::read(signal.get(), &count, sizeof count) == sizeof count);
      forwarding.start(*bench.pool, bench.request(false));
      second = bench.accept_later();
      if (after) after(server);
    });
    const std::uint64_t one = 1;
    REQUIRE(::write(signal.get(), &one, sizeof one) == sizeof one);
    if (before) before(server);
    bench.loop.run();
  }
  UnaskedInTheSameTurn::WithLater bench;
  Answer answer{bench.loop};
  Forwarding forwarding{answer};
  std::unique_ptr<net::Watch> second;
};

void close_it(net::Fd& server) { server.reset(); }
void end_it(net::Fd& server) { ::shutdown(server.get(), SHUT_WR); }
void reset_it(net::Fd& server) {
  const linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(server.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  server.reset();
}
void read_it(net::Fd& server) {
  std::array<char, 1000> heard{};
  REQUIRE(::recv(server.get(), heard.data(), heard.size(), 0) > 0);
}

TEST_CASE(
    "a POST that crosses with the server's close is sent again, to a process that never read") {
  const Crossing race(close_it, nullptr);
  CHECK(race.answer.status == 200);
  CHECK(race.forwarding.retries() == 1);
}

TEST_CASE("a POST on a kept connection that was reset before it is sent again: no byte left") {
  const Crossing race(reset_it, nullptr);
  CHECK(race.answer.status == 200);
  CHECK(race.forwarding.retries() == 1);
}

TEST_CASE("a POST that may have been read is not sent again, whatever was acknowledged") {
  // The server reads the whole of it and resets before its kernel has acknowledged a byte: once
  // this was taken for a proof that nothing had been read, and the POST ran twice.
  SUBCASE("read, then reset") {
    const Crossing race(nullptr, [](net::Fd& server) {
      read_it(server);
      reset_it(server);
    });
    CHECK(race.answer.status == 0);
    CHECK(race.forwarding.retries() == 0);
  }
  SUBCASE("reset unread: nobody can tell the difference") {
    const Crossing race(nullptr, close_it);
    CHECK(race.answer.status == 0);
    CHECK(race.forwarding.retries() == 0);
  }
  SUBCASE("only the server's own direction was ended, and it reads on") {
    const Crossing race(end_it, read_it);
    CHECK(race.answer.status == 0);
    CHECK(race.forwarding.retries() == 0);
  }
  SUBCASE("read, then closed in order") {
    const Crossing race(nullptr, [](net::Fd& server) {
      read_it(server);
      close_it(server);
    });
    CHECK(race.answer.status == 0);
    CHECK(race.forwarding.retries() == 0);
  }
}

constexpr std::string_view nothing_new = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

// Two kept connections; the one that is used next is `used`.
struct Unasked : Bench {
  Unasked() {
    pool->at_unasked([this](std::size_t) {
      ++episodes;
      if (stops) loop.stop();
    });
    Answer first(loop), second(loop);
    Forwarding one(first), other(second);
    one.start(*pool, request(true));
    idle = accept();
    other.start(*pool, request(true));
    used = accept();
    for (const net::Fd* server : {&idle, &used}) {
      say(*server, nothing_new);
      loop.run();
    }
    REQUIRE(pool->idle_count() == 2);
  }
  bool is_distrusted() { return pool->servers().speaks_unasked(0, loop.now()); }
  net::Fd idle, used;
  int episodes = 0;
  bool stops = true;
};

TEST_CASE("after the first word of a server that was not asked no connection is used twice") {
  Unasked bench;
  Bench::say(bench.idle, nothing_new);
  bench.loop.run();
  CHECK(bench.episodes == 1);
  CHECK(bench.is_distrusted());
  CHECK(bench.pool->idle_count() == 1);
  std::vector<net::Fd> servers;
  for (int i = 0; i < 3; ++i) {
    Answer answer(bench.loop);
    Forwarding forwarding(answer);
    forwarding.start(*bench.pool, bench.request(false));
    servers.push_back(bench.accept());
    REQUIRE(servers.back());
    Bench::say(servers.back(), nothing_new);
    bench.loop.run();
    CHECK(answer.status == 200);
  }
  // They are listened to: one more word prolongs the pause, and is no new episode.
  bench.stops = false;
  Bench::say(servers.back(), nothing_new);
  Answer answer(bench.loop);
  Forwarding forwarding(answer);
  forwarding.start(*bench.pool, bench.request(false));
  servers.push_back(bench.accept());
  Bench::say(servers.back(), nothing_new);
  bench.loop.run();
  CHECK(answer.status == 200);
  CHECK(bench.pool->servers().unasked(0) == 2);
  CHECK(bench.episodes == 1);
}

TEST_CASE("an answer that is due on a used connection is given to nobody once the server lies") {
  // Shifted by one, it may be another client's.
  for (const bool is_idempotent : {false, true}) {
    Unasked bench;
    Answer answer(bench.loop);
    Forwarding forwarding(answer);
    forwarding.start(*bench.pool, bench.request(is_idempotent));
    Bench::say(bench.idle, nothing_new);
    bench.loop.run();
    REQUIRE(bench.episodes == 1);
    std::array<char, 1000> heard{};
    REQUIRE(::recv(bench.used.get(), heard.data(), heard.size(), 0) > 0);
    net::Fd again;
    const net::Watch later(bench.loop, bench.socket.fd.get(), [&] {
      again = bench.accept();
      Bench::say(again, nothing_new);
    });
    Bench::say(bench.used, "HTTP/1.1 299 Other\r\nContent-Length: 0\r\n\r\n");
    bench.loop.run();
    CHECK(answer.status == (is_idempotent ? 200 : 0));
    CHECK(forwarding.retries() == (is_idempotent ? 1 : 0));
  }
}

TEST_CASE("what comes behind an answer is noticed, in the same read or left in the socket") {
  for (const std::size_t size : {std::size_t{0}, net::Loop::scratch_size}) {
    Bench bench;
    int episodes = 0;
    bench.pool->at_unasked([&](std::size_t) { ++episodes; });
    Answer answer(bench.loop);
    Forwarding forwarding(answer);
    forwarding.start(*bench.pool, bench.request(false));
    const net::Fd server = bench.accept();
    // A read that the answer fills to its end leaves the rest, and no event would tell.
    std::string text = "HTTP/1.1 200 OK\r\nContent-Length: 00000\r\n\r\n";
    if (size > 0) {
      const std::string length = std::to_string(size - text.size());
      text.replace(text.find("00000"), 5, length);
      text.resize(size, 'x');
    }
    Bench::say(server, text + std::string(nothing_new));
    bench.loop.run();
    CHECK(answer.status == 200);
    CHECK(episodes == 1);
    CHECK(bench.pool->idle_count() == 0);
    CHECK(bench.pool->servers().may_shift_answers(0, bench.loop.now()));
  }
}

TEST_CASE("a server that says 408 and closes an unused connection is not taken to shift answers") {
  Unasked bench;
  Bench::say(bench.idle, unasked);
  bench.loop.run();
  CHECK(bench.is_distrusted());
  CHECK_FALSE(bench.pool->servers().may_shift_answers(0, bench.loop.now()));
}

}  // namespace
}  // namespace classgate::proxy
