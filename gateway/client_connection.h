#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "gateway/client_stream.h"
#include "gateway/exchange.h"
#include "gateway/http1_answer.h"
#include "gateway/http2_connection.h"
#include "gateway/turn_line.h"
#include "proxy/net/stream.h"
#include "proxy/net/timeout_list.h"
#include "proxy/net/tls_context.h"
#include "proxy/wire/parser.h"

namespace classgate::gateway {

class Station;

// One client connection, of HTTP/1 unless the client has chosen HTTP/2 (by ALPN, or by beginning
// with its preface): then what is read and written is Http2Connection's business. Of HTTP/1: cuts
// the bytes into requests and hands them, one at a time, to an Exchange; pipelined ones wait in the
// buffer or in the kernel, so that answers come in order.
//
//   introduction -> idle                                 (PROXY protocol, before TLS)
//   idle -> head -> body -> answering -> idle ...        (keep-alive)
//   answering -> tunnel                                  (WebSocket)
//   idle, head -> http2                                  (all that follows is)
//   any  -> finishing -> lingering -> closed
// finishing: the last answer is being taken by the client. lingering: it has been; what the client
// still sends is thrown away for a bounded time, so that a reset can't destroy the answer.
// A request is begun only when the client has taken all of the answers before it: what is held for
// a client is one answer, and a worker never waits for the reading of another one. Owned by its
// Station.
class ClientConnection final : public proxy::net::Retirable,
                               public ClientStream,
                               public TurnLine::Member,
                               private Http2Connection::Owner,
                               private proxy::net::Stream::Handler {
 public:
  // With `acceptor`, which is of the policy that it came under, it speaks TLS. With
  // `awaits_introduction` the address is a proxy's, which first says who its client is.
  // `listener`: where it connected; what is spoken there is as of now.
  ClientConnection(Station& station, proxy::net::Fd fd, const conf::IpAddress& address,
                   std::shared_ptr<const proxy::net::TlsAcceptor> acceptor,
                   bool awaits_introduction,
                   std::shared_ptr<const ClientIdentities::Listener> listener);

  // By the trusted proxies of the policy in force.
  void judge_sender();
  // By the authorities in force.
  proxy::net::TlsProof judge_certificate() const;

  // --- Memory. ---
  // Tells the station what it holds by now.
  void count_memory() override;
  // With its exchange, as of the last count.
  std::size_t held_bytes() const {
    return counted_ + (exchange_ != nullptr ? exchange_->held_bytes() : 0) +
           (http2_ ? http2_->exchange_bytes() : 0);
  }
  // How soon it goes when memory is needed: 0 not at all, else bytes times milliseconds.
  double weight() const;
  // Its memory is needed: it goes, and hears so where an answer can be given.
  void give_way();

  // An exception came out of it or its exchange, which are in no known state: both end now, and the
  // client sees a reset.
  void on_fault() override;
  // Its client has not taken all of an answer, and never will: what it has may look whole.
  void reset_if_unfinished();
  // The gateway drains: an idle connection has nothing to wait for.
  void drain();
  // --- The station's business only. ---
  std::uint32_t index() const { return index_; }  // in its list
  void set_index(std::size_t index) { index_ = static_cast<std::uint32_t>(index); }
  bool& is_counted() { return is_counted_; }  // among its address's connections

 private:
  enum class State : std::uint8_t {
    introduction,
    idle,
    head,
    body,
    answering,
    tunnel,
    http2,
    looking,  // of a timeout only: while answering
    finishing,
    lingering,
    closed
  };

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
  void cut(conf::Reason) override;
  void reset() override;
  bool begin_tunnel(const proxy::wire::Head& head) override;
  void end_tunnel_output() override;
  void stream_body() override;
  Progress progress() const override { return {stream_.pending(), stream_.bytes_written()}; }

  // Http2Connection::Owner
  proxy::net::Stream& stream() override { return stream_; }
  const ClientFacts& client_facts() override;
  void on_http2_end() override;
  void on_http2_gone() override;
  void on_http2_fault() override { on_fault(); }

  void on_readable() override;
  void on_drained() override;
  void on_shaking_hands() override;
  void read_readable();
  void go_on_drained();
  void after_event();
  std::size_t input_bytes() const { return input_ ? sizeof *input_ + input_->capacity() : 0; }
  void refuse_growth();
  static void on_timeout(void* self);
  void on_due();
  // The one place where the state changes: a timeout is void in any state but the one that it was
  // set for.
  void change_state(State state);
  bool is_timed_for_now() const;
  void go_on();
  void on_body_window_over();
  void begin_streaming();
  void begin_body_window();
  proxy::net::TimeoutList& body_timeouts();
  bool holds_worker_too_slowly();
  void note_limit();

  void on_turn() noexcept override;
  void take_turn();
  void wait_for_turn();
  bool begins_http2(std::string_view bytes) const;
  void begin_http2();
  void read_introduction();
  void refuse_introduction();
  void introduce(const conf::IpAddress& client);
  void read_on();
  bool wants_input() const;
  bool is_mid_request() const;
  bool client_has_left();
  bool is_ending() const { return state_ >= State::finishing; }
  void take(std::string_view bytes);
  void process_buffer();
  std::size_t process(std::string_view bytes);
  bool take_head(std::string_view bytes, std::size_t& taken);
  bool has_had_its_requests() const;
  void send_continue();
  Http1Answer::Circumstances circumstances();
  void refuse_head(conf::Reason reason, std::string_view head_so_far);
  std::string_view head_so_far() const { return input_ ? *input_ : std::string_view(); }
  std::size_t take_body(std::string_view bytes);
  void end_of_body_part();
  void end_of_request();
  void look_after_waiting();
  void on_gone();
  void note_handshake();
  void linger();
  bool lingers_on() const;
  void say_goodbye();
  void close();
  void watch_reader();
  void set_timer();
  proxy::net::TimeoutList& tunnel_timeouts();

  // What has moved since it was last looked whether that is enough.
  struct Window {
    std::uint64_t bytes = 0;  // of the body in this window; of a tunnel, or while it lingers, all
                              // from the client
    std::uint64_t stream_mark = 0;  // `bytes` a stream (or linger) window ago
    proxy::net::Time begin{};
    // Written bytes when the reader was last looked at; of a tunnel, bytes either way.
    std::uint64_t written_mark = 0;
  };
  // Each side's last word.
  struct Tunnel {
    bool input_has_ended = false;
    bool output_has_ended = false;
  };

  // In an order that leaves no holes: ten thousand idle connections are nothing out of the common.
  Station& station_;
  // Of the handshake that comes after the introduction; null without TLS, and once it has begun.
  std::shared_ptr<const proxy::net::TlsAcceptor> acceptor_;
  State state_;
  // The state that the timeout was set for; answering: a reader, in whatever state.
  State timed_state_ = State::closed;
  bool is_processing_ = false;
  bool has_unread_input_ = false;
  bool has_noted_handshake_ = false;
  bool is_streaming_ = false;
  Tunnel tunnel_;
  Http1Answer answer_;
  bool is_counted_ = false;
  std::uint32_t index_ = 0;
  std::uint32_t requests_ = 0;
  Exchange* exchange_ = nullptr;
  std::unique_ptr<proxy::wire::Parser> parser_;  // while a request is being read
  std::unique_ptr<std::string> input_;           // read but not yet used
  std::size_t counted_ = 0;                      // bytes held, as the station knows
  proxy::net::Time heavy_since_{};               // has held more than a quiet client does
  std::uint64_t body_left_ = 0;
  Window window_;
  proxy::net::Timeout timeout_;
  std::unique_ptr<Http2Connection> http2_;  // null: it is one of HTTP/1
  proxy::net::Stream stream_;
};

}  // namespace classgate::gateway
