#pragma once

// What the tests of Stream have in common: real sockets, one loop on the test's own thread, and
// turns until a condition holds instead of sleeps.

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "proxy/net/handles.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"

namespace classgate::proxy::net {

struct Pair {
  Fd ours;
  Fd theirs;
};

inline Pair unix_pair() {
  std::array<int, 2> ends{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) == 0);
  return {Fd(ends[0]), Fd(ends[1])};
}

// A listening socket on the loopback, and where.
struct Door {
  Door() {
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    REQUIRE(::bind(fd.get(), get(), length) == 0);
    REQUIRE(::listen(fd.get(), 8) == 0);
    REQUIRE(::getsockname(fd.get(), get(), &length) == 0);
  }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&address); }
  Fd accept() const { return Fd(::accept4(fd.get(), nullptr, nullptr, SOCK_NONBLOCK)); }
  static Fd tcp_socket(int flags = SOCK_NONBLOCK) {
    return Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
  }

  Fd fd = tcp_socket(0);
  sockaddr_in address{};
};

inline Pair tcp_pair() {
  Door door;
  Fd theirs = Door::tcp_socket();
  ::connect(theirs.get(), door.get(), sizeof door.address);
  Fd ours = door.accept();
  REQUIRE(ours);
  return {std::move(ours), std::move(theirs)};
}

// So that much less than the tests write goes in at once. (Over TCP not less than a segment of the
// loopback: what is smaller is acknowledged only after 40 ms.)
inline void make_small(const Pair& pair) {
  int domain = 0;
  socklen_t length = sizeof domain;
  REQUIRE(::getsockopt(pair.ours.get(), SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0);
  const int size = domain == AF_UNIX ? 4096 : 64 * 1024;
  for (const Fd* fd : {&pair.ours, &pair.theirs})
    for (const int buffer : {SO_SNDBUF, SO_RCVBUF})
      REQUIRE(::setsockopt(fd->get(), SOL_SOCKET, buffer, &size, sizeof size) == 0);
}

inline void reset(Fd& fd) {
  const linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  fd.reset();
}

// No two neighbourhoods of it are alike.
inline std::string long_text(std::size_t size) {
  std::string text;
  for (std::size_t i = 0; text.size() < size; ++i) text += std::to_string(i) + ',';
  text.resize(size);
  return text;
}

inline void say(const Fd& fd, std::string_view text) {
  REQUIRE(::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(text.size()));
}

// Whatever lies there now.
inline std::string hear(const Fd& fd) {
  std::string text;
  std::array<char, 16 * 1024> part;
  for (ssize_t size; (size = ::recv(fd.get(), part.data(), part.size(), MSG_DONTWAIT)) > 0;)
    text.append(part.data(), static_cast<std::size_t>(size));
  return text;
}

// Keeps what a stream tells and gives. Reads all there is, unless it is told otherwise.
class Witness final : public Stream::Handler {
 public:
  Stream* stream = nullptr;
  std::size_t read_size = 4096;
  enum class Reads : std::uint8_t { all, once_a_turn, never } reads = Reads::all;
  std::function<void()> at_readable = [] {};

  std::string text;
  int readable = 0;
  int drained = 0;
  int ends = 0;
  int breaks = 0;
  int faults = 0;

  void read() {
    std::string part(read_size, '\0');
    for (;;) {
      const Stream::ReadResult result = stream->read(part);
      if (result.what == Stream::Read::end) ++ends;
      if (result.what == Stream::Read::broken) ++breaks;
      if (result.what != Stream::Read::some) return;
      text.append(part, 0, result.size);
      if (reads == Reads::all) continue;
      if (stream->may_read()) stream->read_again_soon();
      return;
    }
  }

 private:
  void on_readable() override {
    ++readable;
    at_readable();
    if (reads != Reads::never) read();
  }
  void on_drained() override { ++drained; }
  void on_fault() override { ++faults; }
};

// Turns of the loop, until the condition holds; it is asked after each. Fails after a while.
template <typename Condition>
class TurnsUntil final : private Deferred {
 public:
  TurnsUntil(Loop& loop, Condition condition) : loop_(loop), condition_(std::move(condition)) {
    loop_.call_next_turn(*this);
    loop_.run();
    CHECK_MESSAGE(holds_, "it did not come to pass");
  }

 private:
  void on_next_turn() override {
    holds_ = condition_();
    if (holds_ || std::chrono::steady_clock::now() > latest_) return loop_.stop();
    loop_.call_next_turn(*this);
  }

  Loop& loop_;
  Condition condition_;
  const std::chrono::steady_clock::time_point latest_ =
      std::chrono::steady_clock::now() + std::chrono::seconds(30);
  bool holds_ = false;
};

template <typename Condition>
void turn_until(Loop& loop, Condition condition) {
  TurnsUntil<Condition>(loop, std::move(condition));
}

// In which something may happen that has been caused before them.
inline void turn(Loop& loop, int count = 3) {
  turn_until(loop, [&count] { return --count <= 0; });
}

}  // namespace classgate::proxy::net
