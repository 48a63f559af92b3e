#include "proxy/wire/http2_session.h"

#include <doctest/doctest.h>
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace classgate::proxy::wire {
namespace {

constexpr std::uint32_t window = 20'000;

class Server;

// One request on the server's side: says what it hears, and answers with `body`.
struct Heard final : Http2Session::Stream {
  Heard(Server& of, Http2StreamId number) : server(of), id(number) {}
  void on_field(std::string_view name, std::string_view value) override {
    said.append(name).append("=").append(value).append(" ");
  }
  void on_fields_end(bool ends_stream) override { said += ends_stream ? "end. " : "go on. "; }
  void on_body(std::string_view part) override;
  void on_body_part_end() override { ++parts; }
  void on_request_end() override;
  void on_closed(Http2Error error) override {
    is_closed = true;
    closed_by = error;
  }
  Ready ready(std::size_t most) override;
  void put_frame(std::string_view head, std::size_t size) override;
  void on_answer_sent() override { ++sent; }

  Server& server;
  const Http2StreamId id;
  std::string said, body, upload;
  std::vector<Http2Field> trailers;
  int parts = 0, sent = 0;
  bool throws = false, is_closed = false;
  Http2Error closed_by{};
};

class Server final : public Http2Session::Handler {
 public:
  Server()
      : session(*this, {.streams = 2,
                        .stream_window = window,
                        .connection_window = 1 << 20,
                        .header_list_bytes = 8'000,
                        .acknowledgements = 10}) {}
  void on_frame(const Http2Session::Frame&) override { ++frames; }
  Http2Session::Stream* begin_stream(Http2StreamId id) override {
    return (requests[id] = std::make_unique<Heard>(*this, id)).get();
  }
  bool has_had_its_turn() const override { return frames >= turn_ends_at; }
  void on_window_update(std::uint32_t) override {}
  void on_ping_answered() override { ++answered_pings; }
  void on_reset_sent(Http2Error error) override { resets.push_back(error); }
  std::string output() {
    for (std::string_view bytes; session.next_output(bytes) && !bytes.empty();) out += bytes;
    return std::exchange(out, {});
  }

  std::map<Http2StreamId, std::unique_ptr<Heard>> requests;
  std::vector<Http2Error> resets;
  std::vector<Http2Field> fields{{":status", "200"}, {"X-Upper", "a"}};
  std::string out;
  int frames = 0, answered_pings = 0;
  bool takes_bodies = true;
  int turn_ends_at = 1'000'000;  // of its frames
  Http2Session session;
};

void Heard::on_body(std::string_view part) {
  if (throws) throw std::runtime_error("of the test's");
  upload += part;
  if (server.takes_bodies) server.session.took(id, part.size());
}

void Heard::on_request_end() {
  said += "all.";
  server.session.send_head(id, server.fields, !body.empty() || !trailers.empty());
}

Http2Session::Stream::Ready Heard::ready(std::size_t most) {
  Ready ready{.size = std::min(most, body.size()), .is_all = body.size() <= most};
  ready.has_trailers = ready.is_all && !trailers.empty();
  if (ready.has_trailers) server.session.add_trailers(id, trailers);
  return ready;
}

void Heard::put_frame(std::string_view head, std::size_t size) {
  server.out.append(head).append(body.substr(0, size));
  body.erase(0, size);
}

// nghttp2's client, which is told what it gets.
class NgClient {
 public:
  NgClient() {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(
        callbacks,
        [](nghttp2_session*, const nghttp2_frame*, const std::uint8_t* name, std::size_t name_size,
           const std::uint8_t* value, std::size_t value_size, std::uint8_t flags, void* self) {
          if ((flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0)
            static_cast<NgClient*>(self)->got += "never indexed: ";
          auto& told = static_cast<NgClient*>(self)->got;
          told.append(reinterpret_cast<const char*>(name), name_size).append("=");
          told.append(reinterpret_cast<const char*>(value), value_size).append(" ");
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        callbacks, [](nghttp2_session*, std::uint8_t, std::int32_t, const std::uint8_t*,
                      std::size_t size, void* self) {
          static_cast<NgClient*>(self)->body_bytes += size;
          return 0;
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
          auto& client = *static_cast<NgClient*>(self);
          if (frame->hd.type == NGHTTP2_GOAWAY)
            client.goaways.push_back(frame->goaway.last_stream_id);
          if (frame->hd.type == NGHTTP2_RST_STREAM) client.got += "reset ";
          return 0;
        });
    nghttp2_session_client_new(&session, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, nullptr, 0);
  }
  ~NgClient() { nghttp2_session_del(session); }
  NgClient(const NgClient&) = delete;
  NgClient& operator=(const NgClient&) = delete;

  int ask(std::string_view upload = {}) {
    const auto field = [](std::string_view name, std::string_view value) {
      const auto bytes = [](std::string_view text) {
        return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));
      };
      return nghttp2_nv{bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
    };
    const std::vector<nghttp2_nv> fields{field(":method", "POST"), field(":scheme", "http"),
                                         field(":authority", "a"), field(":path", "/x")};
    left = upload.size();
    nghttp2_data_provider provider{
        {.ptr = this},
        [](nghttp2_session*, std::int32_t, std::uint8_t* into, std::size_t most,
           std::uint32_t* flags, nghttp2_data_source* source, void*) -> ssize_t {
          auto& client = *static_cast<NgClient*>(source->ptr);
          const std::size_t size = std::min(most, client.left);
          std::fill_n(into, size, std::uint8_t{'x'});
          client.left -= size;
          if (client.left == 0) *flags |= NGHTTP2_DATA_FLAG_EOF;
          return static_cast<ssize_t>(size);
        }};
    return nghttp2_submit_request(session, nullptr, fields.data(), fields.size(),
                                  upload.empty() ? nullptr : &provider, nullptr);
  }
  // Until neither has anything to say. False: the server's session has failed.
  bool talk(Server& server) {
    for (;;) {
      std::string to_server;
      const std::uint8_t* bytes = nullptr;
      for (ssize_t size; (size = nghttp2_session_mem_send(session, &bytes)) > 0;)
        to_server.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
      if (!to_server.empty() && !server.session.receive(to_server)) return false;
      const std::string back = server.output();
      if (back.empty()) return true;
      nghttp2_session_mem_recv(session, reinterpret_cast<const std::uint8_t*>(back.data()),
                               back.size());
    }
  }

  nghttp2_session* session = nullptr;
  std::string got;
  std::size_t body_bytes = 0, left = 0;
  std::vector<std::int32_t> goaways;
};

TEST_CASE("http2 session: a request, its answer in frames, its trailers") {
  Server server;
  NgClient client;
  REQUIRE(client.talk(server));
  client.ask();
  std::string bytes;
  server.session.held_bytes();
  REQUIRE(client.talk(server));
  Heard& first = *server.requests.at(1);
  CHECK(first.said == ":method=POST :scheme=http :authority=a :path=/x end. all.");
  CHECK(client.got == ":status=200 x-upper=a ");
  CHECK(first.is_closed);
  CHECK(first.sent == 1);
}

// Seen: a table full of ids, each of which the next one was compared with.
TEST_CASE("http2 session: what is another each time, or secret, goes into no table") {
  Server server;
  NgClient client;
  REQUIRE(client.talk(server));
  server.fields = {{":status", "200"},   {"Via", "1.1 a"},   {"X-Request-Id", "1"},
                   {"traceparent", "2"}, {"x-api-key", "3"}, {"x-request-ids", "4"}};
  client.ask();
  REQUIRE(client.talk(server));
  CHECK(client.got ==
        ":status=200 via=1.1 a never indexed: x-request-id=1 never indexed: traceparent=2 "
        "never indexed: x-api-key=3 x-request-ids=4 ");
}

TEST_CASE("http2 session: a body comes as far as its window, and on when it has been taken") {
  Server server;
  server.takes_bodies = false;
  NgClient client;
  REQUIRE(client.talk(server));
  client.ask(std::string(50'000, 'x'));
  REQUIRE(client.talk(server));
  Heard& upload = *server.requests.at(1);
  CHECK(upload.upload.size() == window);
  server.session.took(1, window);
  server.takes_bodies = true;
  upload.body = std::string(40'000, 'y');
  upload.trailers = {{"x-sum", "1"}};
  const std::string more = server.output();
  nghttp2_session_mem_recv(client.session, reinterpret_cast<const std::uint8_t*>(more.data()),
                           more.size());
  REQUIRE(client.talk(server));
  CHECK(upload.upload.size() == 50'000);
  CHECK(client.body_bytes == 40'000);
  CHECK(client.got == ":status=200 x-upper=a x-sum=1 ");
  CHECK(upload.is_closed);
}

TEST_CASE("http2 session: what is thrown comes out of receive(), and crosses nothing") {
  Server server;
  NgClient client;
  REQUIRE(client.talk(server));
  client.ask("x");
  const std::uint8_t* bytes = nullptr;
  std::string request;
  for (ssize_t size; (size = nghttp2_session_mem_send(client.session, &bytes)) > 0;)
    request.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
  const std::size_t data_at = request.size() - 10;
  REQUIRE(server.session.receive(request.substr(0, data_at)));
  server.requests.at(1)->throws = true;
  CHECK_THROWS_AS(server.session.receive(request.substr(data_at)), std::runtime_error);
}

TEST_CASE("http2 session: a stream that is reset hears so, once") {
  Server server;
  server.takes_bodies = false;
  NgClient client;
  REQUIRE(client.talk(server));
  client.ask(std::string(50'000, 'x'));
  REQUIRE(client.talk(server));
  server.session.reset(1, Http2Error::cancel);
  CHECK(!server.output().empty());
  CHECK(server.requests.at(1)->is_closed);
  CHECK(server.requests.at(1)->closed_by == Http2Error::cancel);
  CHECK(server.resets == std::vector{Http2Error::cancel});
}

TEST_CASE("http2 session: GOAWAY twice, and a PING in between") {
  Server server;
  NgClient client;
  REQUIRE(client.talk(server));
  client.ask();
  REQUIRE(client.talk(server));
  server.session.give_notice();
  server.session.ping();
  std::string said = server.output();
  nghttp2_session_mem_recv(client.session, reinterpret_cast<const std::uint8_t*>(said.data()),
                           said.size());
  REQUIRE(client.talk(server));
  CHECK(server.answered_pings == 1);
  CHECK(!server.session.is_over());
  server.session.go_away(Http2Error::none);
  said = server.output();
  CHECK(client.goaways == std::vector<std::int32_t>{0x7fffffff});
  CHECK(said == std::string_view("\0\0\10\7\0\0\0\0\0\0\0\0\1\0\0\0\0", 17));
  CHECK(server.session.is_over());
}

TEST_CASE("http2 session: bytes that are no HTTP/2 end it, and GOAWAY can still be said") {
  Server server;
  CHECK(!server.session.receive("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  CHECK(server.session.why() == Http2Error::protocol_error);
  const auto goodbye = server.session.goodbye(Http2Error::enhance_your_calm);
  CHECK(goodbye.text() == std::string_view("\0\0\10\7\0\0\0\0\0\0\0\0\0\0\0\0\13", 17));
}

TEST_CASE(
    "http2 session: what is left when its turn is over is heard in the next ones, all of it") {
  Server server;
  NgClient client;
  REQUIRE(client.talk(server));
  client.ask("x");
  client.ask("yz");
  const std::uint8_t* bytes = nullptr;
  std::string both;
  for (ssize_t size; (size = nghttp2_session_mem_send(client.session, &bytes)) > 0;)
    both.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
  int turns = 0;
  for (std::string_view left = both; !left.empty(); ++turns) {
    server.turn_ends_at = server.frames + 1;
    REQUIRE(server.session.receive(left));
    REQUIRE(server.session.used() > 0);
    left.remove_prefix(server.session.used());
    if (turns == 0) CHECK(server.requests.at(1)->said == ":method=POST ");  // within a frame
  }
  CHECK(turns == 4);
  const std::string said = ":method=POST :scheme=http :authority=a :path=/x go on. all.";
  CHECK(server.requests.at(1)->said == said);
  CHECK(server.requests.at(3)->said == said);
  CHECK(server.requests.at(1)->upload == "xx");
}

TEST_CASE("http2 session: PING without end, none of them read, is a flood") {
  Server server;
  NgClient client;
  REQUIRE(client.talk(server));
  std::string pings;
  for (int i = 0; i < 20; ++i)
    pings.append(
        std::string_view("\0\0\10\6\0\0\0\0\0"
                         "12345678",
                         17));
  CHECK(!server.session.receive(pings));
  CHECK(server.session.why() == Http2Error::enhance_your_calm);
}

}  // namespace
}  // namespace classgate::proxy::wire
