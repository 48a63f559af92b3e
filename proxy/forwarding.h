#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "proxy/http1_upstream.h"
#include "proxy/upstream_pool.h"
#include "proxy/upstream_stream.h"

namespace classgate::proxy {

// Carries one exchange to the upstream: chooses a server, sends the request on a stream to it,
// hands the answer back; should the request be lost, decides whether it is sent once more. Handed
// an exchange that may run now; does no waiting of its own. Lives on one loop.
//
// A request is sent a second time, on another connection, only when nothing of an answer has been
// seen, all of the request is still at hand, and either the server provably did not take it
// (http1_upstream.h) or its method is idempotent (RFC 9110 section 9.2.2) and the pool's retry
// budget has room. To a server that can't be connected to nothing was sent: another is tried. One
// that may have been taken, and was lost with a connection that others shared (HTTP/2), is sent
// again only on one to itself (UpstreamPool::Which::isolated), however long that takes to be had:
// it may be what the server closes connections for.
class Forwarding final : private UpstreamStream::Listener {
 public:
  enum class Failure : std::uint8_t {
    unreachable,
    broken,
    head_too_large,  // broken, too
    no_server,       // all are unreachable, or have as many requests as they may
  };

  // Who the answer is for. None of these may destroy the Forwarding.
  class Client : public UpstreamStream::Reader {
   public:
    virtual void on_answer_head(const wire::Head& head, wire::Framing framing) = 0;
    // The upstream is done, and the connection has been given back.
    virtual void on_answer_end(const std::vector<wire::Parser::Trailer>& trailers) = 0;
    virtual void on_answer_failed(Failure failure, const std::string& why) = 0;

   protected:
    ~Client() = default;
  };

  using Request = UpstreamStream::Request;

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
    return (http1_ ? sizeof *http1_ : 0) + (stream_ != nullptr ? stream_->held_bytes() : 0);
  }

  // Ready for another exchange: nothing is said of the last one any more.
  void forget();

  bool is_active() const { return stream_ != nullptr; }
  // The last attempt since start().
  UpstreamStream::Carrier carried_by() const { return carried_by_; }
  // The server may have all of it.
  bool request_is_sent() const { return stream_ != nullptr && stream_->request_is_sent(); }
  unsigned retries() const { return retries_; }
  // When each attempt since start() began; from the fourth on they count as one.
  std::span<const net::Time> attempts() const { return {attempts_.data(), attempt_count_}; }
  // The budget did not allow a second attempt.
  bool retry_was_denied() const { return retry_was_denied_; }
  // It may only go on a connection to itself: Request::needs_isolation of whoever starts it anew.
  bool needs_isolation() const { return request_.needs_isolation; }
  const std::string& server_name() const;

 private:
  // UpstreamStream::Listener
  void on_answer_head(const wire::Head& head, wire::Framing framing) override;
  void on_answer_end(const std::vector<wire::Parser::Trailer>& trailers) override;
  void on_lost(const UpstreamStream::Loss& loss) override;

  void connect(UpstreamPool::Which which);
  void on_unreachable(const std::string& why, int error);
  void go_elsewhere(const std::string& why);
  bool may_go_elsewhere() const;
  bool has_all_for_another() const;
  bool may_send_again(const UpstreamStream::Loss& loss);
  void fail(Failure failure, const std::string& why);
  void fail_at_server(Failure failure, const std::string& why);

  UpstreamPool* pool_ = nullptr;  // of the current exchange
  Client& client_;
  Request request_;
  std::unique_ptr<Http1Upstream> http1_;  // from the first request on: who waits has none yet
  UpstreamStream* stream_ = nullptr;      // null: nothing is under way
  std::size_t server_ = UpstreamPool::none;
  unsigned retries_ = 0;
  std::array<net::Time, 4> attempts_{};
  std::size_t attempt_count_ = 0;
  std::size_t unreachable_count_ = 0;  // servers that this one could not be taken to
  unsigned moves_ = 0;                 // to another connection, before anything was sent
  unsigned not_taken_ = 0;             // times that it was sent and not taken
  bool was_sent_again_ = false;        // though it may have been taken
  bool retry_was_denied_ = false;
  bool answer_has_begun_ = false;
  bool retry_is_forbidden_ = false;
  bool body_went_on_ = false;  // parts were sent that are no longer at hand
  UpstreamStream::Carrier carried_by_ = UpstreamStream::Carrier::none;
};

}  // namespace classgate::proxy
