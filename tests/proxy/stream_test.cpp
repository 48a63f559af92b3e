#include "proxy/net/stream.h"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <array>
#include <functional>

#include "proxy/net/handles.h"
#include "proxy/net/loop.h"

namespace classgate::proxy::net {
namespace {

struct Pair {
  Fd ours;
  Fd theirs;
};

Pair make_pair() {
  std::array<int, 2> ends{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) == 0);
  return {Fd(ends[0]), Fd(ends[1])};
}

// Reads whatever there is, and does something at the end.
class Reader final : public Stream::Handler {
 public:
  explicit Reader(std::function<void(Stream&)> at_end) : at_end_(std::move(at_end)) {}
  Stream* stream = nullptr;
  int told = 0;
  int ends = 0;

 private:
  void on_readable() override {
    ++told;
    std::array<char, 64> bytes;
    for (;;) {
      const Stream::ReadResult result = stream->read(bytes);
      if (result.what == Stream::Read::some) continue;
      if (result.what == Stream::Read::end) {
        ++ends;
        at_end_(*stream);
      }
      return;
    }
  }
  void on_drained() override {}
  void on_fault() override { FAIL("nothing is thrown here"); }

  std::function<void(Stream&)> at_end_;
};

// Turns of the loop in which something may happen that has been caused before them.
class Turns final : private Deferred {
 public:
  Turns(Loop& loop, int count) : loop_(loop), left_(count) {
    loop_.call_next_turn(*this);
    loop_.run();
  }

 private:
  void on_next_turn() override {
    if (--left_ == 0) return loop_.stop();
    loop_.call_next_turn(*this);
  }

  Loop& loop_;
  int left_;
};

TEST_CASE("who shuts down at the end of the other side rests, however often it does so") {
  // The other side closes; the reader shuts its side down each time that it reads the end. On a
  // connection that is over each shutdown(2) would make another event, and that another reading.
  Loop loop;
  Pair pair = make_pair();
  Reader reader([](Stream& stream) {
    stream.shutdown_write();
    stream.shutdown_write();
  });
  Stream stream(loop, std::move(pair.ours), reader);
  reader.stream = &stream;
  pair.theirs.reset();
  Turns(loop, 100);
  CHECK(reader.ends >= 1);
  CHECK(reader.told <= 3);  // the event of the close, and at most those of our own end
}

TEST_CASE("the other side hears one end, behind all that was written, and may still speak") {
  Loop loop;
  Pair pair = make_pair();
  Reader reader([](Stream&) {});
  Stream stream(loop, std::move(pair.ours), reader);
  reader.stream = &stream;
  stream.write("last words");
  stream.shutdown_write();
  stream.shutdown_write();
  std::array<char, 64> bytes;
  CHECK(::recv(pair.theirs.get(), bytes.data(), bytes.size(), 0) == 10);
  CHECK(::recv(pair.theirs.get(), bytes.data(), bytes.size(), 0) == 0);
  REQUIRE(::send(pair.theirs.get(), "answer", 6, MSG_NOSIGNAL) == 6);
  Turns(loop, 3);
  CHECK(reader.told >= 1);
  CHECK(reader.ends == 0);
  CHECK_FALSE(stream.is_broken());
}

}  // namespace
}  // namespace classgate::proxy::net
