#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <string_view>

#include "proxy/wire/begun_streams.h"
#include "proxy/wire/http2_frames.h"

struct nghttp2_session;

namespace classgate::proxy::wire {

// What goes wrong with a stream or a connection (RFC 9113 section 7).
enum class Http2Error : std::uint32_t {
  none = 0x0,
  protocol_error = 0x1,
  internal_error = 0x2,
  stream_closed = 0x5,
  refused_stream = 0x7,
  cancel = 0x8,
  enhance_your_calm = 0xb,
};

// RFC 9113 section 6.
enum class Http2FrameType : std::uint8_t {
  data = 0x0,
  headers = 0x1,
  priority = 0x2,
  rst_stream = 0x3,
  settings = 0x4,
  ping = 0x6,
  goaway = 0x7,
  window_update = 0x8,
  continuation = 0x9,
  priority_update = 0x10,  // RFC 9218
};

using Http2StreamId = std::int32_t;

struct Http2Field {
  std::string_view name;  // in any case: it is sent in lower case
  std::string_view value;
  // It stays out of the tables of HPACK, this hop's and all others' (RFC 7541 section 7.1.3).
  bool is_never_indexed = false;
};

// Of one who calls itself a server here, a session is the server's; as a client's it begins the
// requests.
enum class Http2Role : std::uint8_t { server, client };

// What the other side is told of us, and what it may cost.
struct Http2Limits {
  std::uint32_t streams = 100;          // at once; of a server only
  std::uint32_t stream_window = 0;      // bytes of a body that may come before any is taken
  std::uint32_t connection_window = 0;  // and of all bodies together
  std::uint32_t header_list_bytes = 0;  // as RFC 9113 section 6.5.2 counts
  std::size_t acknowledgements = 0;     // of PING and SETTINGS that wait to be sent
  bool takes_extended_connect = false;  // RFC 8441; of a server only
};

inline constexpr std::string_view http2_preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// One side of one HTTP/2 connection: framing, HPACK, stream states and windows by nghttp2, for
// whoever reads and writes the bytes. What is said below of requests and answers is said of a
// server's; a client's session hears the answer (on_field() to on_request_end(), more than once
// where 1xx come first) and sends the request (ready() to on_answer_sent()). Nobody's window is
// opened but by took(). Nothing here waits, knows the time or destroys a stream. What a Handler or
// Stream throws comes out of receive() or next_output(); then, as when these fail, the session is
// of no use any more. One thread.
class Http2Session {
 public:
  struct Frame {
    Http2FrameType type{};
    bool is_ack = false;       // of SETTINGS and PING
    bool ends_stream = false;  // of DATA and HEADERS
    std::size_t size = 0;      // of its payload
  };

  // One request and its answer, as the session tells of it.
  class Stream {
   public:
    // Within receive().
    virtual void on_field(std::string_view name, std::string_view value) = 0;
    // One that must never be indexed, on its way on neither.
    virtual void on_never_indexed_field(std::string_view name, std::string_view value) {
      on_field(name, value);
    }
    virtual void on_fields_end(bool ends_stream) = 0;  // of the head; or of the trailers
    virtual void on_body(std::string_view part) = 0;
    virtual void on_body_part_end() = 0;  // of a frame that is not the last
    virtual void on_request_end() = 0;
    // Within either; the last that it hears.
    virtual void on_closed(Http2Error error) = 0;

    // Within next_output(): how much of the body may go out now, of `most`.
    struct Ready {
      std::size_t size = 0;
      bool is_all = false;          // and that is the end of the body
      bool has_trailers = false;    // add_trailers() has been called
      bool waits_for_room = false;  // what has been written must go first
    };
    virtual Ready ready(std::size_t most) = 0;
    // A frame of that many bytes goes out: its head, then they.
    virtual void put_frame(std::string_view head, std::size_t size) = 0;
    virtual void on_answer_sent() = 0;  // with its last byte
    virtual void on_request_sent() {}   // of a client: its head, with what next_output() gives next

   protected:
    ~Stream() = default;
  };

  class Handler {
   public:
    // Within receive(). A frame begins, whatever comes of it.
    virtual void on_frame(const Frame& frame) = 0;
    // A request begins; null: it is refused.
    virtual Stream* begin_stream(Http2StreamId id) = 0;
    // Asked between frames: then receive() leaves the rest for later.
    virtual bool has_had_its_turn() const { return false; }
    virtual void on_window_update(std::uint32_t increment) = 0;
    virtual void on_ping_answered() = 0;
    // The other side's SETTINGS have come, which are in force now.
    virtual void on_settings() {}
    // It takes no requests after `last`; those after it that have begun are closed as refused.
    virtual void on_go_away(Http2StreamId last, Http2Error error) {
      static_cast<void>(last), static_cast<void>(error);
    }
    // Within next_output(): RST_STREAM has gone out.
    virtual void on_reset_sent(Http2Error error) = 0;

   protected:
    ~Handler() = default;
  };

  // Its SETTINGS wait to be sent. Throws std::bad_alloc.
  Http2Session(Handler& handler, const Http2Limits& limits, Http2Role role = Http2Role::server);
  ~Http2Session();
  Http2Session(const Http2Session&) = delete;
  Http2Session& operator=(const Http2Session&) = delete;

  // All bytes of the connection in their order, from the preface on. False when the connection
  // can't go on, beyond what GOAWAY in the output says; why() then says it.
  bool receive(std::string_view bytes);
  // How many of them it used: all, unless the handler had had its turn. The next call begins with
  // the others.
  std::size_t used() const { return used_; }
  Http2Error why() const { return why_; }
  // What is to be written next, valid until the next call; empty: nothing, or put_frame() has put
  // it. False: as for receive().
  bool next_output(std::string_view& bytes);
  // Nothing will be read or written any more: both sides have said goodbye.
  bool is_over() const;

  // --- The answer. Whoever calls these has something to send afterwards. Texts are copied. ---
  void send_interim(Http2StreamId id, std::span<const Http2Field> fields);
  void send_head(Http2StreamId id, std::span<const Http2Field> fields, bool has_body);
  void add_trailers(Http2StreamId id, std::span<const Http2Field> fields);  // within ready() only
  void resume(Http2StreamId id);  // there is more to be had from ready()
  void reset(Http2StreamId id, Http2Error error);
  // So much of a body has been taken: the client may send as much again.
  void took(Http2StreamId id, std::size_t size);
  void took_of_connection(std::size_t size);
  // Who says nothing of priorities (RFC 9218) shares the connection with the others.
  void share(Http2StreamId id);
  // The client could send no byte more of it, were there any.
  bool is_window_closed(Http2StreamId id) const;

  // --- Of a client. ---
  // Begins a request, which `stream` hears of. 0: this connection can't have one more, ever. What
  // is more than most_requests() at once would wait within the session.
  Http2StreamId send_request(std::span<const Http2Field> fields, bool has_body, Stream& stream);
  std::uint32_t most_requests() const;
  // Its stream hears nothing any more.
  void forget(Http2StreamId id);

  // --- The end. ---
  // No more requests are wanted, but what is under way is taken (GOAWAY without an end).
  void give_notice();
  void ping();
  // None but those that have come are taken.
  void go_away(Http2Error error);
  std::size_t output_frames() const;
  // Bytes of memory, all that nghttp2 has asked for with them.
  std::size_t held_bytes() const;
  // For a connection whose session is of no use any more: GOAWAY as bytes.
  struct Goodbye {
    char bytes[17];
    std::string_view text() const { return {bytes, sizeof bytes}; }
  };
  Goodbye goodbye(Http2Error error) const;

 private:
  struct Callbacks;
  struct Memory;
  void must(int result) const;
  void rethrow();
  bool fail(long long result);
  Http2Error judge(const Http2FrameCutter::Head& head);
  bool begin_frame(const Http2FrameCutter::Head& head);
  bool receive_cut(std::string_view bytes);
  bool receive_whole(std::string_view bytes);

  Handler& handler_;
  std::unique_ptr<Memory> memory_;
  nghttp2_session* session_ = nullptr;
  BegunStreams begun_;
  std::size_t used_ = 0;
  Http2Error why_ = Http2Error::none;
  std::exception_ptr thrown_;
};

}  // namespace classgate::proxy::wire
