#include <memory>
#include <string>
#include <vector>

#include "proxy/net/stream.h"
#include "proxy/net/tls_context.h"
#include "tests/connection/tls_end.h"
#include "tests/gateway/certificate.h"
#include "tests/proxy/stream_kit.h"

namespace classgate::proxy::net {
namespace {

using connection_test::TlsEnd;
using Reads = Witness::Reads;

std::unique_ptr<TlsSession> accept() {
  static const auto acceptor = [] {
    conf::TlsSettings settings;
    settings.certificates = {gateway::test::some_certificate()};
    auto made = TlsAcceptor::open(settings, TicketKeys::fresh());
    REQUIRE(made.has_value());
    return *made;
  }();
  return acceptor->accept();
}

std::unique_ptr<TlsSession> connect() {
  static const auto connector = [] {
    conf::UpstreamTlsSettings settings;
    settings.verify = false;
    auto made = TlsConnector::open(settings);
    REQUIRE(made.has_value());
    return *made;
  }();
  return connector->connect("localhost", TlsConnector::make_memory());
}

// Two streams of one loop, one each side of a TLS connection.
struct Both {
  explicit Both(Pair pair = unix_pair())
      : server(std::make_unique<Stream>(loop, std::move(pair.ours), at_server, accept())),
        client(std::make_unique<Stream>(loop, std::move(pair.theirs), at_client, connect())) {
    at_server.stream = server.get();
    at_client.stream = client.get();
  }
  void shake_hands() {
    turn_until(loop, [&] { return server->has_stood() && client->has_stood(); });
  }
  Loop loop;
  Witness at_server;
  Witness at_client;
  std::unique_ptr<Stream> server;
  std::unique_ptr<Stream> client;
};

// A stream that is the server's, and a client of which the test decides how many bytes arrive.
struct Wire {
  explicit Wire(bool is_old = false, Pair pair = unix_pair())
      : theirs(std::move(pair.theirs)), client(nullptr, is_old) {
    stream = std::make_unique<Stream>(loop, std::move(pair.ours), witness, accept());
    witness.stream = stream.get();
  }
  // Lets so many bytes of the client's more through at most, and all of the server's.
  void carry(std::size_t most) {
    outgoing += client.take_outgoing();
    const std::size_t size = std::min(most, outgoing.size());
    if (size > 0) say(theirs, outgoing.substr(0, size));
    outgoing.erase(0, size);
    carried += size;
    client.receive(hear(theirs));
  }
  void shake_hands(std::size_t at_once = static_cast<std::size_t>(-1)) {
    turn_until(loop, [&] {
      carry(at_once);
      return stream->has_stood() && client.is_established();
    });
  }
  Loop loop;
  Witness witness;
  Fd theirs;
  TlsEnd client;
  std::string outgoing;
  std::size_t carried = 0;
  std::unique_ptr<Stream> stream;
};

TEST_CASE("TLS: what is written before the handshake and after it arrives, both ways, in order") {
  for (Pair (*make)() : {unix_pair, tcp_pair}) {
    Pair pair = make();
    make_small(pair);
    Both both(std::move(pair));
    CHECK(both.server->is_connecting());
    const std::string question = long_text(300'000);
    const std::string answer = long_text(400'000);
    both.client->write(question.substr(0, 100'000));
    both.server->write(answer.substr(0, 1));
    CHECK(both.client->pending() == 100'000);  // kept until it is secret
    CHECK(both.client->bytes_written() == 0);
    both.shake_hands();
    both.client->write(question.substr(100'000));
    both.server->write(answer.substr(1));
    CHECK(both.server->pending() > 0);
    turn_until(both.loop, [&] {
      return both.at_server.text.size() == question.size() &&
             both.at_client.text.size() == answer.size();
    });
    CHECK(both.at_server.text == question);
    CHECK(both.at_client.text == answer);
    turn_until(both.loop, [&] { return both.client->pending() + both.server->pending() == 0; });
    CHECK(both.client->bytes_written() > question.size());  // records are a little longer
    CHECK(both.at_client.breaks + both.at_server.breaks == 0);
  }
}

TEST_CASE(
    "TLS: parts are put into records together, however many there are and whatever their size") {
  Both both;
  both.shake_hands();
  std::string text = long_text(50'000);
  std::vector<iovec> parts;
  for (std::size_t at = 0, size = 0; at < text.size(); at += size) {
    size = std::min(parts.size() % 700, text.size() - at);  // the first is empty
    parts.push_back({text.data() + at, size});
  }
  both.client->write(parts);
  turn_until(both.loop, [&] { return both.at_server.text.size() == text.size(); });
  CHECK(both.at_server.text == text);
  const std::uint64_t before = both.client->bytes_written();
  both.client->write("");
  CHECK(both.client->bytes_written() == before);
}

TEST_CASE("TLS: a client whose every byte comes alone is understood") {
  for (const bool is_old : {false, true}) {
    Wire wire(is_old);
    wire.stream->write("answer");
    wire.client.write("a question", 3);
    std::string heard;
    turn_until(wire.loop, [&] {
      wire.carry(1);
      heard += wire.client.take_incoming();
      return wire.witness.text == "a question" && heard == "answer";
    });
    CHECK(wire.stream->tls()->version() == (is_old ? "TLSv1.2" : "TLSv1.3"));
    CHECK_FALSE(wire.stream->is_broken());
  }
}

TEST_CASE("TLS: a reader that takes little at a time is told as long as there is more") {
  Both both;
  both.at_server.reads = Reads::once_a_turn;  // asks may_read() whether to come again
  both.at_server.read_size = 999;
  both.shake_hands();
  const std::string text = long_text(100'000);
  both.client->write(text);
  turn_until(both.loop, [&] { return both.at_server.text.size() == text.size(); });
  CHECK(both.at_server.text == text);
}

TEST_CASE("TLS: a connection that ends in its handshake, wherever, has never stood") {
  for (const bool is_old : {false, true}) {
    Wire whole(is_old);
    whole.shake_hands();
    const std::size_t all = whole.carried;  // of the client's bytes
    REQUIRE(all > 100);
    for (const bool is_reset : {false, true})
      for (std::size_t let_through = 0; let_through < all;
           let_through += let_through < 12 || let_through + 12 > all ? 1 : 17) {
        CAPTURE(let_through);
        Wire wire(is_old, is_reset ? tcp_pair() : unix_pair());
        wire.stream->write("secret");
        turn_until(wire.loop, [&] {
          wire.carry(let_through - wire.carried);
          return wire.carried == let_through;
        });
        is_reset ? reset(wire.theirs) : wire.theirs.reset();
        turn_until(wire.loop, [&] { return wire.witness.drained > 0; });
        turn(wire.loop);
        CHECK(wire.witness.drained == 1);
        CHECK(wire.witness.readable == 0);
        CHECK(wire.stream->is_broken());
        CHECK_FALSE(wire.stream->has_stood());
        CHECK(wire.stream->pending() == 0);
        CHECK(wire.stream->why_broken().starts_with("TLS: "));
        std::array<char, 8> bytes;
        CHECK(wire.stream->read(bytes).what == Stream::Read::broken);
      }
  }
}

TEST_CASE("TLS: who speaks no TLS has never stood") {
  Wire wire;
  say(wire.theirs, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  turn_until(wire.loop, [&] { return wire.witness.drained > 0; });
  CHECK(wire.stream->is_broken());
  CHECK_FALSE(wire.stream->has_stood());
}

TEST_CASE(
    "TLS: an end that was not announced is a break, wherever it comes, and no half record is "
    "read") {
  Wire whole;
  whole.shake_hands();
  const std::string text = "0123456789";
  whole.client.write(text, 2);
  const std::size_t all = whole.client.take_outgoing().size();
  for (const bool is_reset : {false, true})
    for (std::size_t let_through = 0; let_through <= all; let_through += 3) {
      CAPTURE(let_through);
      Wire wire(false, is_reset ? tcp_pair() : unix_pair());
      wire.shake_hands();
      wire.client.write(text, 2);
      const std::size_t until = wire.carried + let_through;
      turn_until(wire.loop, [&] {
        wire.carry(until - wire.carried);
        return wire.carried == until;
      });
      is_reset ? reset(wire.theirs) : wire.theirs.reset();
      turn_until(wire.loop, [&] { return wire.witness.breaks > 0; });
      CHECK(wire.witness.ends == 0);
      CHECK(text.starts_with(wire.witness.text));
      const std::size_t whole_records = let_through / (all / 5);
      CHECK(wire.witness.text.size() <= 2 * whole_records);
      if (!is_reset) CHECK(wire.witness.text.size() == 2 * whole_records);
      CHECK(wire.stream->is_broken());
    }
}

TEST_CASE("TLS: an end that was announced is an end, behind all that was sent") {
  Wire wire;
  wire.shake_hands();
  wire.client.write("last words", 4);
  wire.client.say_end();
  turn_until(wire.loop, [&] {
    wire.carry(1);
    return wire.witness.ends > 0;
  });
  CHECK(wire.witness.text == "last words");
  CHECK(wire.witness.breaks == 0);
  CHECK_FALSE(wire.stream->is_broken());
}

TEST_CASE("TLS: a stream that goes says so, but not when something of it is missing") {
  enum class How : std::uint8_t { well, with_reset, with_rest };
  for (const How how : {How::well, How::with_reset, How::with_rest}) {
    Pair pair = unix_pair();
    make_small(pair);
    Both both(std::move(pair));
    both.shake_hands();
    turn(both.loop);
    both.at_client.reads = Reads::never;
    both.server->write(how == How::with_rest ? long_text(100'000) : "bye");
    CHECK((both.server->pending() > 0) == (how == How::with_rest));
    if (how == How::with_reset) both.server->reset_on_close();
    both.server.reset();
    both.at_client.reads = Reads::all;
    both.client->read_again_soon();
    turn_until(both.loop, [&] { return both.at_client.ends + both.at_client.breaks > 0; });
    CHECK((both.at_client.ends > 0) == (how == How::well));
    if (how != How::with_rest) CHECK(both.at_client.text == "bye");
  }
}

TEST_CASE("TLS: who has said its end still hears the other side") {
  Both both;
  both.shake_hands();
  both.server->write("done");
  both.server->shutdown_write();
  turn_until(both.loop, [&] { return both.at_client.ends > 0; });
  CHECK(both.at_client.text == "done");
  both.client->write("not yet");
  turn_until(both.loop, [&] { return both.at_server.text == "not yet"; });
  CHECK(both.at_server.breaks == 0);
}

TEST_CASE("TLS may begin behind words in the clear") {
  Pair pair = unix_pair();
  Loop loop;
  Witness witness;
  witness.reads = Reads::never;
  Stream stream(loop, std::move(pair.ours), witness);
  witness.stream = &stream;
  TlsEnd client(nullptr, false);
  client.write("in secret", 100);
  say(pair.theirs, "introduction" + client.take_outgoing());
  turn_until(loop, [&] { return witness.readable > 0; });
  std::array<char, 12> bytes;
  CHECK(stream.peek(bytes).size == 12);
  stream.skip(12);
  witness.reads = Reads::all;
  stream.start_tls(accept());
  CHECK(stream.is_connecting());
  turn_until(loop, [&] {
    client.receive(hear(pair.theirs));
    if (const std::string outgoing = client.take_outgoing(); !outgoing.empty())
      say(pair.theirs, outgoing);
    return witness.text == "in secret";
  });
  CHECK(stream.has_stood());
}

}  // namespace
}  // namespace classgate::proxy::net
