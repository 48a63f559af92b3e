#pragma once

#include <string>
#include <string_view>

#include "proxy/upstream_pool.h"
#include "proxy/wire/serialise.h"

namespace classgate::proxy {

// Carries one exchange over one upstream connection: sends the request, streams the answer back,
// keeps or closes the connection. Handed an exchange that may run now; does no waiting of its own
// but for the connection. Lives on one loop.
//
//   idle -> sending (head, then body as it comes) -> ended
// The answer is read all the while; its own state is: before the head (interim answers may come),
// in the body, complete. A request is sent a second time, on another connection, only when nothing
// of an answer has been seen, all of the request is still at hand, and either the server provably
// did not take it or its method is idempotent (RFC 9110 section 9.2.2) and the pool's retry budget
// has room. To a server that can't be connected to nothing was sent: another is tried.
//
// What proves that it was not taken (RFC 9110 section 9.2.2, "some means to detect"):
// - no byte of it was accepted by our kernel; or
// - over TCP, the server's FIN came, its kernel has acknowledged no byte of the request, and then
// it
//   reset the connection. A FIN acknowledges all that has come before it, so the request came after
//   it, to a socket that its process had closed. The FIN alone does not do: of a server, or a proxy
//   before it, that only ended its own direction the process may read on. A reset alone does not:
//   the process may have read the request and the acknowledgement been delayed (40 ms and more).
//   Not caught: a process that has ended its direction, so that it can't answer, runs what comes
//   all the same, and resets before its kernel has acknowledged it.
// When the FIN has come first, the rest is waited for (in doubt), a second at most. Over Unix
// sockets nothing is acknowledged. With TLS it is the records' bytes that count.
class Forwarding final : private UpstreamConnection::User {
 public:
  enum class Failure : std::uint8_t {
    unreachable,
    broken,
    head_too_large,  // broken, too
    no_server,       // all are unreachable, or have as many requests as they may
  };

  // Who the answer is for. None of these may destroy the Forwarding.
  class Client {
   public:
    virtual void on_interim_answer(const wire::Head& head) = 0;
    // The server agrees to WebSocket: what comes from now on, as the answer's body, and what goes
    // by send_raw(), is no HTTP. May cancel().
    virtual void on_switched(const wire::Head& head) = 0;
    virtual void on_answer_head(const wire::Head& head, wire::Framing framing) = 0;
    virtual void on_answer_body(std::string_view part) = 0;
    // Of a tunnel: the server has said its last, and may still hear. on_answer_end() comes when the
    // client has, too (end_raw()), or the server is gone.
    virtual void on_server_ended() = 0;
    // The upstream is done, and the connection has been given back.
    virtual void on_answer_end(const std::vector<wire::Parser::Trailer>& trailers) = 0;
    virtual void on_answer_failed(Failure failure, const std::string& why) = 0;
    // All parts of one read have been handed over: time to write them out.
    virtual void on_answer_part_end() = 0;
    // Whether the answer must stop for now; resume() goes on.
    virtual bool is_answer_blocked() = 0;
    // The upstream has taken what was given: more of the body may come.
    virtual void on_upload_drained() = 0;
    // An exception came out of one of these or of the Forwarding: the exchange ends now, and
    // cancels it.
    virtual void on_fault() = 0;

   protected:
    ~Client() = default;
  };

  // What to send. The views must stay valid until the answer begins or the Forwarding ends.
  struct Request {
    std::string_view head;  // without framing (wire::append_request_head)
    std::string_view body;  // what is there of it
    bool is_whole = true;   // nothing more will come
    wire::Framing framing = wire::Framing::none;
    std::uint64_t length = 0;  // with Framing::length
    bool is_idempotent = false;
    bool is_head_method = false;
    bool wants_websocket = false;
    bool lacks_host = false;  // the server's own name is said
    const std::vector<wire::Parser::Trailer>* trailers = nullptr;
  };

  explicit Forwarding(Client& client) : client_(client) {}
  ~Forwarding();

  // The pool must outlive the forwarding's use of its connection (UpstreamPool::is_in_use()) and
  // of server_name().
  void start(UpstreamPool& pool, const Request& request);
  // More of a body that was not whole.
  void send_body(std::string_view part);
  void end_body(const std::vector<wire::Parser::Trailer>& trailers);
  // After on_switched(). end_raw(): the client has said its last; what the server still says goes
  // on.
  void send_raw(std::string_view bytes);
  void end_raw();
  std::size_t upload_pending() const;
  // The client can take more of the answer.
  void resume();
  // Nobody waits for the answer any more: it is not worth a second request.
  void forbid_retry() { retry_is_forbidden_ = true; }
  // It did not answer in time.
  void blame_server();
  // Ends it now: the upstream connection is closed, nobody is told.
  void cancel();

  // Bytes of memory, beside itself, for the exchange that it carries.
  std::size_t held_bytes() const {
    return partial_head_.capacity() + (connection_ ? connection_->stream().held_bytes() : 0);
  }

  // Ready for another exchange: nothing is said of the last one any more.
  void forget();

  bool is_active() const { return connection_ != nullptr; }
  // The server may have all of it.
  bool request_is_sent() const {
    return request_is_sent_ && connection_ && !connection_->stream().is_connecting() &&
           upload_pending() == 0;
  }
  unsigned retries() const { return retries_; }
  // The budget did not allow a second attempt.
  bool retry_was_denied() const { return retry_was_denied_; }
  const std::string& server_name() const;

 private:
  enum class Stage : std::uint8_t { head, body, tunnel, complete, in_doubt };  // of the answer
  enum class Taken : std::uint8_t { no, perhaps, not_known_yet };

  void on_upstream_readable() override;
  void on_upstream_drained() override;
  void on_connect_timeout() override;
  void on_proof_timeout() override;
  void on_fault() override { client_.on_fault(); }

  void connect(bool fresh);
  void send_request();
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
  void on_unreachable(const std::string& why, int error);
  void retry_or_fail(std::string why);
  void look_for_proof();
  void conclude(bool again);
  bool may_go_elsewhere() const;
  bool has_all_for_another() const;
  bool may_send_again(Taken taken);
  Taken was_taken();
  void fail(Failure failure, const std::string& why);
  void fail_at_server(Failure failure, const std::string& why);
  void close_connection();

  UpstreamPool* pool_ = nullptr;  // of the current exchange
  Client& client_;
  Request request_;
  UpstreamPool::Connection connection_;
  wire::Parser parser_;
  std::string partial_head_;
  std::string framing_text_;  // of the request that is being sent; keeps its memory
  Stage stage_ = Stage::head;
  std::string why_lost_;  // in doubt
  wire::Framing framing_ = wire::Framing::none;
  std::uint64_t body_left_ = 0;
  std::size_t server_ = UpstreamPool::none;
  unsigned retries_ = 0;
  std::size_t unreachable_count_ = 0;  // servers that this one could not be taken to
  bool was_sent_again_ = false;
  bool retry_was_denied_ = false;
  net::Time sent_at_{};               // the request's first byte
  std::uint64_t written_before_ = 0;  // on this connection
  bool seen_answer_bytes_ = false;
  bool request_is_sent_ = false;  // all of it has been given to the stream
  bool retry_is_forbidden_ = false;
  bool body_went_on_ = false;   // parts were sent that are no longer at hand
  bool raw_has_ended_ = false;  // of a tunnel: each side's last word
  bool server_has_ended_ = false;
};

}  // namespace classgate::proxy
