#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/client_stream.h"
#include "gateway/exchange.h"
#include "proxy/net/timeout_list.h"
#include "proxy/net/websocket_handshake.h"
#include "proxy/wire/http2_session.h"

namespace classgate::gateway {

class Http2Connection;

// One request of an HTTP/2 connection and its answer: a stream of the session's on one side, an
// Exchange on the other.
//
//   head -> body -> whole      what comes: a HEADERS, DATA, trailers
//   nothing -> head -> all     what is said
// The client may send more of a body when the exchange wants more (credit); what it does not take
// of an answer is held here, up to client.response_buffer, then the service is not read. A stream
// that is done with before its request is whole is reset once its answer has gone out. Owned by its
// connection; what happens to it is told to its exchange at once within Http2Session::receive(),
// and with Http2Connection::settle() otherwise: never while the exchange itself is speaking.
class Http2Stream final : public proxy::net::Retirable,
                          public ClientStream,
                          public proxy::wire::Http2Session::Stream {
 public:
  Http2Stream(Http2Connection& connection, proxy::wire::Http2StreamId id);

  // It has closed, or will never be answered: the exchange hears that its client has left.
  void leave();
  // The client has taken what was held for it.
  void on_drained();
  // An exception came out of its exchange, which ends; the client sees a reset.
  void on_fault();
  // Output has been written: what was not is kept.
  void after_output();
  // What is to be said is so little that it is no loss to keep it until others speak, too; of one
  // that is alone, nothing but the head, for a body that is most likely there next.
  bool can_wait(bool is_alone) const;
  void keep_parts();
  // Where its memory is needed: bytes that it would give back.
  std::size_t bytes_to_give() const;
  void give_way();
  // Tells the station and the connection what it holds by now.
  void count_memory();
  std::size_t held_bytes() const { return counted_; }  // without its exchange
  std::size_t exchange_bytes() const;
  void stop_timers();

  // The connection's business only.
  std::size_t index = 0;  // in its list

 private:
  // Http2Session::Stream
  void on_field(std::string_view name, std::string_view value) override;
  void on_never_indexed_field(std::string_view name, std::string_view value) override;
  void on_fields_end(bool ends_stream) override;
  void on_body(std::string_view part) override;
  void on_body_part_end() override;
  void on_request_end() override;
  void on_closed(proxy::wire::Http2Error error) override;
  Ready ready(std::size_t most) override;
  void put_frame(std::string_view head, std::size_t size) override;
  void on_answer_sent() override;

  // ClientStream
  void send_interim(const proxy::wire::Head& head) override;
  void send_head(const proxy::wire::Head& head, proxy::wire::Framing framing,
                 std::string_view request_id) override;
  void send_body(std::string_view part) override;
  void send_end(const std::vector<proxy::wire::Parser::Trailer>& trailers) override;
  void send_refusal(const Refusals& texts, const Refusal& refusal) override;
  void send_own(const OwnAnswer& answer) override;
  void flush() override;
  void finish() override;
  void cut(conf::Reason why) override;
  void reset() override;
  bool begin_tunnel(const proxy::wire::Head& head) override;
  void end_tunnel_output() override;
  void stream_body() override;
  Progress progress() const override { return {held_size(), output_.taken}; }

  proxy::net::Loop& loop();
  // Whatever its exchange throws is that one's end, not the connection's.
  template <typename Deed>
  void guard(Deed&& deed) {
    loop().guard(deed, [this] { on_fault(); });
  }
  void take_field(std::string_view name, std::string_view value, bool is_never_indexed);
  void take_head(bool ends_stream);
  void end_request();
  void refuse_head(conf::Reason reason, const proxy::wire::Head& head);
  void take_trailer(std::string_view name, std::string_view value);
  void give_credit();
  void take_tunnel_bytes(std::string_view part);
  void go_on_with_tunnel();
  void watch_tunnel();
  void on_tunnel_due();
  void end_with(proxy::wire::Http2Error error);
  void say_text(std::string_view text);
  void refuse_call(const Refusals& texts, const Refusal& refusal);
  std::size_t held_size() const { return output_.held.size() - output_.begin; }
  std::size_t unsent() const;
  void watch_input();
  void watch_output();
  proxy::net::TimeoutList& input_timeouts();
  static void on_input_timeout(void* self);
  static void on_output_timeout(void* self);
  void on_input_due();
  void on_output_due();
  bool is_output_too_slow() const;

  struct Input {
    bool has_head = false;
    bool is_whole = false;
    bool is_streaming = false;      // through a worker
    std::size_t untaken = 0;        // bytes for which there has been no credit
    std::uint64_t bytes = 0;        // of the body, in this window of time
    std::uint64_t stream_mark = 0;  // these a stream window ago
    proxy::net::Time begin{};       // of this window
    std::size_t trailer_bytes = 0;
    std::vector<proxy::wire::Parser::Trailer> trailers{};
  };
  struct Output {
    bool is_open = false;  // the head has been said, and no length with it
    bool is_all = false;   // has been said, if not sent
    bool waits = false;    // held when the session was last asked
    std::string held{};    // what could not go out, from `begin` on
    std::size_t begin = 0;
    std::vector<std::string_view> parts{};  // what is said now; stays until it is flushed
    std::vector<proxy::wire::Parser::Trailer> trailers{};
    std::uint64_t taken = 0;  // bytes, since the stream began
    std::uint64_t mark = 0;   // these when output_due_ was set
  };

  // Of an extended CONNECT (RFC 8441).
  struct Tunnel {
    proxy::net::WebSocketHandshake handshake{};
    bool is_open = false;           // the service has agreed
    bool client_has_ended = false;  // and its exchange has heard so
    bool output_has_ended = false;  // END_STREAM has been sent
    std::string early{};            // what came before: within the stream's window
    std::uint64_t mark = 0;         // bytes either way when the timer was set
  };

  Http2Connection& connection_;
  const proxy::wire::Http2StreamId id_;
  Exchange* exchange_ = nullptr;
  bool is_closed_ = false;
  bool was_malformed_ = false;
  Input input_;
  Output output_;
  std::unique_ptr<Tunnel> tunnel_;  // null: it asks for none
  std::size_t counted_ = 0;
  proxy::net::Timeout input_due_;
  proxy::net::Timeout output_due_;
};

}  // namespace classgate::gateway
