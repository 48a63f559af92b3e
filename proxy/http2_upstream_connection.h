#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/http2_upstream.h"
#include "proxy/net/timeout_list.h"
#include "proxy/upstream_connection.h"
#include "proxy/wire/http2_answer_head.h"
#include "proxy/wire/http2_request.h"
#include "proxy/wire/http2_session.h"

namespace classgate::proxy {

class UpstreamPool;

// "CANCEL", "error 9".
std::string text_of_http2_error(wire::Http2Error error);

// One connection to one server by HTTP/2, and the requests that share it.
//
//   connecting -> greeting -> open -> going away -> ended
// greeting: it stands, and the server's SETTINGS are waited for, which say how many requests it
// takes at once. Until then none is sent, so that a server that speaks something else has provably
// taken none, and what it allows is never exceeded. going away: GOAWAY has come, or the ids are
// used up: it ends with the requests that it has. It also ends when it was not used for
// upstream.idle_timeout.
//
// What comes is handed on at once, stream by stream: touch() has the one before write out what it
// has, since all of them write by way of the same memory. What ends by itself within the session is
// told in settle(), when nghttp2 is not on the stack. What requests that begin, or that take more
// of their answers, have to say is written in the next turn, in one piece for all of them. Owned by
// its Owner, on the loop.
class Http2UpstreamConnection final : public net::Retirable,
                                      private net::Deferred,
                                      private UpstreamConnection::User,
                                      private wire::Http2Session::Handler {
 public:
  class Owner {
   public:
    // A request is over; its stream goes.
    virtual void on_stream_over(Http2UpstreamConnection& connection,
                                const Http2Upstream& stream) = 0;
    // The server chose HTTP/1 (ALPN): this is its connection, and nothing was said on it. The
    // requests are told that they need another one; ours has ended.
    virtual void on_http1_chosen(std::unique_ptr<UpstreamConnection> connection) = 0;
    // It has ended; to be retired.
    virtual void on_connection_over(Http2UpstreamConnection& connection) = 0;

   protected:
    ~Owner() = default;
  };

  Http2UpstreamConnection(UpstreamPool& pool, Owner& owner, std::size_t server);
  ~Http2UpstreamConnection() override;
  // Once. Returns an errno value, or 0.
  int connect(bool is_of_check = false);

  std::size_t server() const { return server_; }
  // How many more requests it takes now.
  std::size_t room() const;
  // Requests of it have come to nothing, and nothing has come since: another one is better.
  bool is_doubted() const { return is_doubted_; }
  std::size_t stream_count() const { return streams_.size(); }
  Http2Upstream& open(UpstreamStream::Listener& listener, UpstreamStream::Reader& reader,
                      bool is_counted);
  // It is for the one request that it has: no other one would be lost with it.
  void isolate() { ending_.is_isolated = true; }
  // What it had is told so, and it ends.
  bool is_lost() const { return ending_.is_lost; }
  // No more requests are to come: it ends with those that it has, or now. Not while it is told of
  // something.
  void wind_up();
  std::size_t held_bytes() const;

  // --- For its streams. ---
  net::Loop& loop() { return loop_; }
  wire::Http2Session& session() { return *session_; }
  wire::Http2AnswerHead& answer_head() { return answer_head_; }
  const wire::HeadLimits& answer_limits() const;
  bool is_encrypted() const { return connection_->stream().tls() != nullptr; }
  std::string_view authority() const;
  void send_soon(Http2Upstream& stream);
  wire::Http2StreamId begin_request(wire::Http2Session::Stream& stream, std::string_view head,
                                    const wire::Http2Request::Facts& facts, bool has_body);
  void add_trailers(wire::Http2StreamId id, const std::vector<wire::Parser::Trailer>& trailers);
  void flush();
  void flush_soon();
  bool has_room() const;
  std::string& output() { return output_; }
  void on_output(Http2Upstream& stream);
  // Bytes that have been made for the server, in all.
  std::uint64_t bytes_made() const { return bytes_given_ + output_.size(); }
  void touch(Http2Upstream& stream);
  void on_closed(Http2Upstream& stream) { closed_.push_back(&stream); }
  void on_refused() { is_doubted_ = true; }
  void on_sign_of_life() { is_doubted_ = false; }
  std::string why_closed(wire::Http2Error error) const;
  void doubt() { is_doubted_ = true; }
  void remove(Http2Upstream& stream);
  std::size_t share_of_memory() const;
  // It must end: with the next settle().
  void fail(std::string why);

 private:
  void on_next_turn() override { flush(); }
  // UpstreamConnection::User
  void on_upstream_readable() override;
  void on_upstream_drained() override;
  void on_connect_timeout() override;
  void on_proof_timeout() override {}
  void on_fault() override;
  // wire::Http2Session::Handler
  void on_frame(const wire::Http2Session::Frame&) override {}
  wire::Http2Session::Stream* begin_stream(wire::Http2StreamId) override { return nullptr; }
  void on_window_update(std::uint32_t) override {}
  void on_ping_answered() override {}
  void on_reset_sent(wire::Http2Error) override {}
  void on_settings() override { has_settings_ = true; }
  void on_go_away(wire::Http2StreamId last, wire::Http2Error error) override;

  void on_stood();
  bool read_once();
  void receive(std::string_view bytes);
  void send() noexcept;
  void put_output();
  void begin_waiting();
  bool has_news() const { return !closed_.empty() || !sending_.empty(); }
  void tell_streams();
  void settle();
  void end_part();
  void on_lost(bool ended);
  // Whether a byte of what was said to it may have been understood is each stream's to say.
  void lose_all(UpstreamStream::Lost what, const std::string& why, int error = 0);
  void end();
  std::uint64_t bytes_taken() const;
  bool is_busy() const { return busy_.is_receiving || busy_.is_sending || busy_.is_settling; }

  // What the timer is set for.
  enum class Wait : std::uint8_t { nothing, settings, use, silence, ping };
  void watch();
  void wait_for(Wait what);
  static void on_timeout(void* self);
  void on_due();

  struct Ending {
    bool is_going_away = false;
    bool is_isolated = false;
    bool is_lost = false;
  };
  // What is on the stack.
  struct Busy {
    bool is_receiving = false;
    bool is_sending = false;
    bool is_settling = false;
  };

  net::Loop& loop_;
  UpstreamPool& pool_;  // may go before it, when it has been retired
  Owner& owner_;
  const std::size_t server_;
  std::unique_ptr<UpstreamConnection> connection_;  // null: ended
  std::unique_ptr<wire::Http2Session> session_;     // null: connecting
  std::vector<std::unique_ptr<Http2Upstream>> streams_;
  std::vector<Http2Upstream*> closed_;   // since the last settle()
  std::vector<Http2Upstream*> sending_;  // likewise, something has gone out
  Http2Upstream* current_ = nullptr;     // it has said something that is not written out
  wire::Http2AnswerHead answer_head_;
  wire::Http2Request request_fields_;
  std::string output_;  // about to be written
  std::uint64_t bytes_given_ = 0;
  std::uint64_t bytes_read_ = 0;
  std::string why_failed_;                   // not empty: it must end
  std::optional<wire::Http2Error> gone_by_;  // GOAWAY
  Wait wait_ = Wait::nothing;
  bool has_settings_ = false;
  bool has_greeted_ = false;  // and the requests that waited for that have been begun
  bool is_doubted_ = false;
  Ending ending_;
  Busy busy_;
  net::Timeout due_;
};

}  // namespace classgate::proxy
