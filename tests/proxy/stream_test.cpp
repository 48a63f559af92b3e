#include "proxy/net/stream.h"

#include <filesystem>
#include <memory>
#include <stdexcept>
#include <vector>

#include "proxy/net/socket_address.h"
#include "tests/proxy/stream_kit.h"

namespace classgate::proxy::net {
namespace {

using Reads = Witness::Reads;

struct Ends {
  explicit Ends(Pair pair = unix_pair()) : theirs(std::move(pair.theirs)) {
    stream = std::make_unique<Stream>(loop, std::move(pair.ours), witness);
    witness.stream = stream.get();
  }
  Loop loop;
  Witness witness;
  Fd theirs;
  std::unique_ptr<Stream> stream;
};

// In one call, in parts of this size.
void write_in_parts(Stream& stream, std::string& text, std::size_t size) {
  std::vector<iovec> parts;
  for (std::size_t at = 0; at < text.size(); at += size)
    parts.push_back({text.data() + at, std::min(size, text.size() - at)});
  stream.write(parts);
}

// ---- Writing ---

TEST_CASE(
    "what a full socket does not take is kept, written in order as it takes more, told once") {
  for (Pair (*make)() : {unix_pair, tcp_pair}) {
    Pair pair = make();
    make_small(pair);
    Ends ends(std::move(pair));
    Stream& stream = *ends.stream;
    std::string text = long_text(1'000'000);
    write_in_parts(stream, text, 333'333);
    const std::size_t taken = stream.bytes_written();
    CHECK(taken < text.size());
    CHECK(stream.pending() == text.size() - taken);
    CHECK(stream.held_bytes() >= stream.pending());
    stream.write("the end");  // behind all that waits, though the socket might take it
    CHECK(stream.bytes_written() == taken);
    CHECK(ends.witness.drained == 0);
    std::string heard;
    turn_until(ends.loop, [&] {
      heard += hear(ends.theirs);
      return ends.witness.drained > 0;
    });
    turn_until(ends.loop, [&] {
      heard += hear(ends.theirs);
      return heard.size() == text.size() + 7;
    });
    CHECK(heard == text + "the end");
    CHECK(stream.bytes_written() == heard.size());
    CHECK(stream.pending() == 0);
    CHECK(stream.held_bytes() == 0);
    CHECK(ends.witness.drained == 1);
  }
}

TEST_CASE("more parts than one call takes go out all the same") {
  Ends ends;
  std::string text = long_text(21'000);
  write_in_parts(*ends.stream, text, 7);  // 3,000 parts: IOV_MAX is 1,024
  CHECK(ends.stream->pending() == 0);
  CHECK(hear(ends.theirs) == text);
}

TEST_CASE("parts may be empty, and nothing at all is written for nothing") {
  Ends ends;
  std::string first = "GET ", second = "/x";
  std::array parts{iovec{nullptr, 0}, iovec{first.data(), first.size()}, iovec{nullptr, 0},
                   iovec{second.data(), second.size()}};
  ends.stream->write(parts);
  CHECK(hear(ends.theirs) == "GET /x");
  std::array nothing{iovec{nullptr, 0}, iovec{nullptr, 0}};
  ends.stream->write(nothing);
  ends.stream->write("");
  ends.stream->write(std::span<iovec>());
  CHECK(ends.stream->bytes_written() == 6);
  CHECK(ends.stream->pending() == 0);
}

TEST_CASE("parts arrive whole on both sides of the size up to which they are put together") {
  for (const std::size_t size :
       {Stream::put_together_max - 1, Stream::put_together_max, Stream::put_together_max + 1}) {
    Ends ends;
    std::string text = long_text(size);
    write_in_parts(*ends.stream, text, size / 3);
    CHECK(hear(ends.theirs) == text);
  }
}

TEST_CASE("what is dropped is not written, and the rest of the stream's life goes on") {
  Pair pair = unix_pair();
  make_small(pair);
  Ends ends(std::move(pair));
  ends.stream->write(long_text(100'000));
  REQUIRE(ends.stream->pending() > 0);
  const std::size_t sent = ends.stream->bytes_written();
  ends.stream->drop_pending();
  CHECK(ends.stream->pending() == 0);
  CHECK(hear(ends.theirs).size() == sent);
  ends.stream->write("new");
  CHECK(hear(ends.theirs) == "new");
}

// ---- Reading ---

TEST_CASE("a reader is told once for what has come, and again for what comes then") {
  Ends ends;
  ends.witness.reads = Reads::never;
  say(ends.theirs, "0123456789");
  turn_until(ends.loop, [&] { return ends.witness.readable > 0; });
  turn(ends.loop);
  CHECK(ends.witness.readable == 1);
  CHECK(ends.stream->may_read());
  std::array<char, 10> exact;
  CHECK(ends.stream->read(exact).size == 10);
  CHECK(ends.stream->may_read());  // nobody knows: it was full
  CHECK(ends.stream->read(exact).what == Stream::Read::nothing_now);
  CHECK_FALSE(ends.stream->may_read());
  say(ends.theirs, "abc");
  turn_until(ends.loop, [&] { return ends.witness.readable == 2; });
  CHECK(ends.stream->read(exact).size == 3);
  CHECK_FALSE(ends.stream->may_read());  // a short read has emptied the socket
}

TEST_CASE("a reader that stops before the end is told again when it asks for it, and only then") {
  Ends ends;
  ends.witness.reads = Reads::never;
  say(ends.theirs, "0123456789");
  turn_until(ends.loop, [&] { return ends.witness.readable > 0; });
  std::array<char, 4> few;
  CHECK(ends.stream->read(few).size == 4);
  turn(ends.loop);
  CHECK(ends.witness.readable == 1);
  CHECK(ends.stream->may_read());
  ends.stream->read_again_soon();
  ends.stream->read_again_soon();
  turn(ends.loop);
  CHECK(ends.witness.readable == 2);
  ends.witness.read();
  CHECK(ends.witness.text == "456789");
}

TEST_CASE("what is peeked at stays there until it is skipped") {
  Ends ends;
  ends.witness.reads = Reads::never;
  std::array<char, 64> some;
  CHECK(ends.stream->peek(some).what == Stream::Read::nothing_now);
  CHECK_FALSE(ends.stream->has_input());
  const std::string text = long_text(700);
  say(ends.theirs, text);
  CHECK(ends.stream->has_input());
  for (int again = 0; again < 2; ++again) {
    CHECK(ends.stream->peek(some).size == some.size());
    CHECK(std::string_view(some.data(), some.size()) == text.substr(0, some.size()));
  }
  ends.stream->skip(600);
  CHECK(ends.stream->may_read());
  ends.witness.read();
  CHECK(ends.witness.text == text.substr(600));
  ends.theirs.reset();
  CHECK(ends.stream->peek(some).what == Stream::Read::end);
}

TEST_CASE("a stream that goes does not call its reader again") {
  Ends ends;
  ends.stream->read_again_soon();
  ends.stream.reset();
  turn(ends.loop);
  CHECK(ends.witness.readable == 0);
}

TEST_CASE("what a handler throws ends what the stream belongs to, and nothing else") {
  Ends ends;
  std::string told;
  ends.loop.at_exception([&told](const std::exception& thrown) { told += thrown.what(); });
  ends.witness.at_readable = [] { throw std::runtime_error("oh"); };
  say(ends.theirs, "x");
  turn_until(ends.loop, [&] { return ends.witness.faults > 0; });
  ends.stream->read_again_soon();
  turn_until(ends.loop, [&] { return ends.witness.faults == 2; });
  CHECK(told == "ohoh");
}

// ---- Ends ---

TEST_CASE("the end comes behind all that was sent, wherever the other side ends") {
  for (Pair (*make)() : {unix_pair, tcp_pair})
    for (std::size_t sent = 0; sent <= 12; ++sent)
      for (const bool is_half : {false, true}) {
        CAPTURE(sent);
        Ends ends(make());
        ends.witness.read_size = 4;  // some end where a read ends
        const std::string text = long_text(sent);
        if (sent > 0) say(ends.theirs, text);
        if (is_half)
          ::shutdown(ends.theirs.get(), SHUT_WR);
        else
          ends.theirs.reset();
        turn_until(ends.loop, [&] { return ends.witness.ends > 0; });
        CHECK(ends.witness.text == text);
        CHECK(ends.witness.breaks == 0);
        CHECK(ends.stream->peer_has_closed());
        CHECK(ends.stream->peer_is_gone());
        CHECK_FALSE(ends.stream->is_broken());
        if (!is_half) continue;
        ends.stream->write("still here");
        CHECK(hear(ends.theirs) == "still here");
      }
}

TEST_CASE("a reset is told as one, behind what was read before it, wherever it comes") {
  for (std::size_t sent = 0; sent <= 12; ++sent)
    for (const bool is_read_before : {false, true}) {
      CAPTURE(sent);
      Ends ends(tcp_pair());
      ends.witness.read_size = 4;
      const std::string text = long_text(sent);
      if (sent > 0) say(ends.theirs, text);
      if (is_read_before) turn_until(ends.loop, [&] { return ends.witness.text == text; });
      reset(ends.theirs);
      turn_until(ends.loop, [&] { return ends.witness.breaks > 0; });
      CHECK(text.starts_with(ends.witness.text));
      CHECK(ends.witness.ends == 0);
      CHECK(ends.stream->is_broken());
      CHECK(ends.stream->broken_errno() == ECONNRESET);
      CHECK_FALSE(ends.stream->why_broken().empty());
      ends.stream->write("into the void");
      CHECK(ends.stream->pending() == 0);
    }
}

TEST_CASE("a reset takes away what was kept to be written, and the writer is told") {
  Pair pair = tcp_pair();
  make_small(pair);
  Ends ends(std::move(pair));
  ends.witness.reads = Reads::never;
  ends.stream->write(long_text(1'000'000));
  REQUIRE(ends.stream->pending() > 0);
  reset(ends.theirs);
  turn_until(ends.loop, [&] { return ends.witness.drained > 0; });
  CHECK(ends.witness.drained == 1);
  CHECK(ends.stream->is_broken());
  CHECK(ends.stream->pending() == 0);
}

TEST_CASE("who writes to somebody that is gone finds out, and gets no signal") {
  Ends ends;
  ends.theirs.reset();
  ends.stream->write("x");
  CHECK(ends.stream->is_broken());
  CHECK(ends.stream->broken_errno() == EPIPE);
}

TEST_CASE("that the other side is gone is found out without taking what it has sent") {
  Ends ends;
  ends.witness.reads = Reads::never;
  CHECK_FALSE(ends.stream->peer_is_gone());
  say(ends.theirs, "last words");
  CHECK_FALSE(ends.stream->peer_is_gone());
  ends.theirs.reset();
  CHECK(ends.stream->peer_is_gone());
  ends.witness.reads = Reads::all;
  ends.witness.read();
  CHECK(ends.witness.text == "last words");
  CHECK(ends.witness.ends == 1);
}

TEST_CASE("a connection that is to end with a reset does not look as if it had ended well") {
  for (const bool resets : {false, true}) {
    Ends ends(tcp_pair());
    ends.stream->write("half of it");
    if (resets) ends.stream->reset_on_close();
    ends.stream.reset();
    ssize_t size = 0;
    turn_until(ends.loop, [&] {
      std::array<char, 64> part;
      size = ::recv(ends.theirs.get(), part.data(), part.size(), 0);
      return size == 0 || (size < 0 && errno != EAGAIN);
    });
    CHECK(size == (resets ? -1 : 0));
  }
}

TEST_CASE("who shuts down at the end of the other side rests, however often it does so") {
  // The other side closes; the reader shuts its side down each time that it reads the end. On a
  // connection that is over each shutdown(2) would make another event, and that another reading.
  Ends ends;
  ends.witness.at_readable = [&] {
    ends.stream->shutdown_write();
    ends.stream->shutdown_write();
  };
  ends.theirs.reset();
  turn(ends.loop, 100);
  CHECK(ends.witness.ends >= 1);
  CHECK(ends.witness.readable <= 3);  // the event of the close, and at most those of our own end
}

TEST_CASE("the other side hears one end, behind all that was written, and may still speak") {
  Ends ends;
  ends.stream->write("last words");
  ends.stream->shutdown_write();
  ends.stream->shutdown_write();
  std::array<char, 64> bytes;
  CHECK(::recv(ends.theirs.get(), bytes.data(), bytes.size(), 0) == 10);
  CHECK(::recv(ends.theirs.get(), bytes.data(), bytes.size(), 0) == 0);
  say(ends.theirs, "answer");
  turn_until(ends.loop, [&] { return ends.witness.text == "answer"; });
  CHECK(ends.witness.ends == 0);
  CHECK_FALSE(ends.stream->is_broken());
}

TEST_CASE(
    "of a TCP connection the kernel tells what was acknowledged, that it ended, that it is over") {
  Pair pair = tcp_pair();
  std::swap(pair.ours, pair.theirs);  // ours is the one that connected
  Ends ends(std::move(pair));
  ends.witness.reads = Reads::never;
  ends.stream->write("12345");
  turn_until(ends.loop, [&] { return ends.stream->peer_facts()->bytes_acknowledged == 5; });
  CHECK_FALSE(ends.stream->peer_facts()->has_ended);
  say(ends.theirs, "abc");
  turn_until(ends.loop, [&] { return ends.stream->has_input(); });
  CHECK_FALSE(ends.stream->peer_facts()->has_ended);
  ::shutdown(ends.theirs.get(), SHUT_WR);
  turn_until(ends.loop, [&] { return ends.stream->peer_facts()->has_ended; });  // though unread
  CHECK_FALSE(ends.stream->peer_facts()->is_over);
  reset(ends.theirs);
  turn_until(ends.loop, [&] { return ends.stream->peer_facts()->is_over; });
  CHECK_FALSE(Ends().stream->peer_facts());
}

// ---- Connecting ---

TEST_CASE("what is written before the connection stands goes out when it does") {
  Door door;
  Loop loop;
  Witness witness;
  Stream stream(loop, Door::tcp_socket(), witness);
  witness.stream = &stream;
  REQUIRE(stream.connect(door.get(), sizeof door.address) == 0);
  CHECK(stream.is_connecting());
  CHECK_FALSE(stream.has_stood());
  stream.write("hello ");
  stream.write("there");
  CHECK(stream.pending() == 11);
  turn_until(loop, [&] { return witness.drained > 0; });
  CHECK(stream.has_stood());
  CHECK_FALSE(stream.is_connecting());
  CHECK(stream.pending() == 0);
  const Fd accepted = door.accept();
  std::string heard;
  turn_until(loop, [&] { return (heard += hear(accepted)).size() == 11; });
  CHECK(heard == "hello there");
}

TEST_CASE("a connection that is refused has never stood, and its reader hears nothing") {
  sockaddr_in nobody{};
  {
    Door door;
    nobody = door.address;
  }
  Loop loop;
  Witness witness;
  Stream stream(loop, Door::tcp_socket(), witness);
  witness.stream = &stream;
  const int error = stream.connect(reinterpret_cast<const sockaddr*>(&nobody), sizeof nobody);
  if (error != 0) {
    CHECK(error == ECONNREFUSED);  // the kernel knew at once
    return;
  }
  stream.write("hello");
  turn_until(loop, [&] { return witness.drained > 0; });
  turn(loop);
  CHECK(stream.broken_errno() == ECONNREFUSED);
  CHECK_FALSE(stream.has_stood());
  CHECK_FALSE(stream.is_connecting());
  CHECK(stream.pending() == 0);
  CHECK(witness.drained == 1);
  CHECK(witness.readable == 0);
}

TEST_CASE("where the backlog of a Unix socket is full it is waited for, however long") {
  std::string folder =
      (std::filesystem::temp_directory_path() / "classgate-stream-XXXXXX").string();
  REQUIRE(::mkdtemp(folder.data()) != nullptr);
  const auto address = unix_address(folder + "/door");
  REQUIRE(address.has_value());
  const auto make = [](int flags) {
    return Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
  };
  const Fd door = make(SOCK_NONBLOCK);
  REQUIRE(::bind(door.get(), address->get(), address->length) == 0);
  REQUIRE(::listen(door.get(), 0) == 0);  // room for one
  const Fd first = make(0);
  REQUIRE(::connect(first.get(), address->get(), address->length) == 0);

  Loop loop;
  Witness witness;
  Stream stream(loop, make(SOCK_NONBLOCK), witness);
  witness.stream = &stream;
  REQUIRE(stream.connect(address->get(), address->length) == 0);
  stream.write("hello");
  turn(loop, 100);
  CHECK(stream.is_connecting());
  CHECK(witness.drained == 0);
  const Fd before(::accept4(door.get(), nullptr, nullptr, SOCK_NONBLOCK));  // there is room now
  REQUIRE(before);
  turn_until(loop, [&] { return witness.drained > 0; });
  CHECK(stream.has_stood());
  const Fd accepted(::accept4(door.get(), nullptr, nullptr, SOCK_NONBLOCK));
  CHECK(hear(accepted) == "hello");
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace classgate::proxy::net
