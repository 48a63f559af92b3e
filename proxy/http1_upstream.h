#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "proxy/upstream_connection.h"
#include "proxy/upstream_stream.h"
#include "proxy/wire/parser.h"

namespace classgate::proxy {

class UpstreamPool;

// HTTP/1 of one request and its answer, over one connection of the pool: writes the request, reads
// the answer, gives the connection back or closes it.
//
//   over -> open -> (head -> body | tunnel) -> over
//                -> in_doubt -> over                     (await_proof())
// What proves that a request was not taken (RFC 9110 section 9.2.2, "some means to detect"):
// - no byte of it was accepted by our kernel; or
// - over TCP, the server's FIN came, its kernel has acknowledged no byte of the request, and then
//   it reset the connection. A FIN acknowledges all that has come before it, so the request came
//   after it, to a socket that its process had closed. The FIN alone does not do: of a server, or a
//   proxy before it, that only ended its own direction the process may read on. A reset alone does
//   not: the process may have read the request and the acknowledgement been delayed (40 ms and
//   more). Not caught: a process that has ended its direction, so that it can't answer, runs what
//   comes all the same, and resets before its kernel has acknowledged it.
// When the FIN has come first, the rest may be waited for (in doubt), a second at most. Over Unix
// sockets nothing is acknowledged. With TLS it is the records' bytes that count.
//
// Lives in whoever uses it, again and again, so that a request costs no allocation.
class Http1Upstream final : public UpstreamStream, private UpstreamConnection::User {
 public:
  Http1Upstream(Listener& listener, Reader& reader) : listener_(listener), reader_(reader) {}
  ~Http1Upstream();

  // On a kept connection, or on a `fresh` one. False, with errno in `error`, when none can be had;
  // EBUSY: the server has all the requests it may have. The pool must outlive the stream's use of
  // its connection (UpstreamPool::is_in_use()).
  bool open(UpstreamPool& pool, std::size_t server, bool fresh, int& error);
  Listener& listener() { return listener_; }
  Reader& reader() { return reader_; }
  // It is over: of what came in pieces nothing is kept.
  void forget();

  void send(const Request& request) override;
  void send_body(std::string_view part) override;
  void end_body(const std::vector<wire::Parser::Trailer>& trailers) override;
  void send_raw(std::string_view bytes) override;
  void end_raw() override;
  std::size_t pending() const override { return connection_ ? connection_->stream().pending() : 0; }
  bool request_is_sent() const override {
    return request_is_sent_ && connection_ && !connection_->stream().is_connecting() &&
           pending() == 0;
  }
  void resume() override;
  void await_proof() override;
  void cancel() override;
  std::size_t held_bytes() const override {
    return partial_head_.capacity() + (connection_ ? connection_->stream().held_bytes() : 0);
  }

 private:
  enum class Stage : std::uint8_t { head, body, tunnel, complete, in_doubt };  // of the answer

  void on_upstream_readable() override;
  void on_upstream_drained() override;
  void on_connect_timeout() override;
  void on_proof_timeout() override;
  void on_fault() override { reader_.on_fault(); }

  bool read_once();
  bool take(std::string_view bytes);
  bool take_head(std::string_view& bytes);
  void refuse_head();
  bool take_body(std::string_view& bytes);
  void complete(std::string_view beyond);
  bool is_silent(std::string_view beyond, bool is_lost);
  void on_connection_lost(bool ended);
  void on_tunnel_lost(bool ended);
  void go_on_ending_tunnel();
  void on_unasked_answer(const char* why);
  void lose(Lost what, Taken taken, std::string why, int error = 0);
  void look_for_proof();
  Taken was_taken();
  void close_connection();

  Listener& listener_;
  Reader& reader_;
  UpstreamPool* pool_ = nullptr;
  std::unique_ptr<UpstreamConnection> connection_;  // null: over
  wire::Parser parser_;
  std::string partial_head_;
  std::string framing_text_;  // of the request that is being sent; keeps its memory
  std::string why_lost_;      // in doubt
  wire::Framing request_framing_ = wire::Framing::none;
  bool is_head_method_ = false;
  bool wants_websocket_ = false;
  Stage stage_ = Stage::head;
  wire::Framing framing_ = wire::Framing::none;
  std::uint64_t body_left_ = 0;
  net::Time sent_at_{};               // the request's first byte
  std::uint64_t written_before_ = 0;  // on this connection
  bool seen_answer_bytes_ = false;
  bool request_is_sent_ = false;  // all of it has been given to the stream
  bool raw_has_ended_ = false;    // of a tunnel: each side's last word
  bool server_has_ended_ = false;
};

}  // namespace classgate::proxy
