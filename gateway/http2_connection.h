#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "gateway/client_stream.h"
#include "gateway/http2_stream.h"
#include "gateway/misuse_budget.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"
#include "proxy/net/timeout_list.h"
#include "proxy/wire/http2_head.h"
#include "proxy/wire/http2_session.h"

namespace classgate::gateway {

class Station;

// HTTP/2 with one client: its bytes become streams, each with an exchange of its own, and what
// these say becomes bytes.
//
//   receive() takes what has been read; settle() writes what is to be said, tells the exchanges
//   what has come of it, and sets the timer: once for whatever has happened, when no exchange is on
//   the stack. An exchange that speaks at another time has its words written at once (flush()),
//   unless they are few and other streams may have some, too: then, and for whatever follows from
//   what was written, settle() comes in the next turn, and one write is for all.
//
//   open -> notice given -> going away -> ended
// notice given: GOAWAY has said that no more requests are wanted, but what is under way is taken; a
// PING that comes back tells that the client knows. going away: the second GOAWAY has said which
// requests are the last; the connection ends with them. What the connection may cost is in
// http2_bounds.cpp. Owned by its ClientConnection, which reads and writes; on the loop.
class Http2Connection final : private proxy::wire::Http2Session::Handler,
                              private proxy::net::Deferred {
 public:
  class Owner {
   public:
    virtual proxy::net::Stream& stream() = 0;
    // As of now.
    virtual const ClientFacts& client_facts() = 0;
    // All has been said; the connection is to be closed in order.
    virtual void on_http2_end() = 0;
    // The client takes nothing any more, or must be gone at once.
    virtual void on_http2_gone() = 0;
    // As Stream::Handler::on_fault().
    virtual void on_http2_fault() = 0;
    virtual void count_memory() = 0;

   protected:
    ~Owner() = default;
  };

  Http2Connection(Station& station, Owner& owner);
  ~Http2Connection();
  Http2Connection(const Http2Connection&) = delete;
  Http2Connection& operator=(const Http2Connection&) = delete;

  // What one turn allows of it; says how many bytes that were.
  std::size_t receive(std::string_view bytes);
  void settle();
  // Not while the client does not take what it has asked for.
  bool wants_input() const;
  // A head or a body is under way: the client may vanish unnoticed (Stream::look_again()).
  bool is_mid_request() const { return head_of_ != nullptr || awaits_body_; }
  // The gateway drains, or the connection has had its share.
  void drain();
  // Nothing will be read or written any more: who is served hears that the client has left; or,
  // with on_fault(), ends without a word.
  void leave();
  void on_fault();

  // --- Memory. ---
  std::size_t held_bytes() const;  // without the exchanges
  std::size_t exchange_bytes() const;
  std::size_t bytes_to_give() const;
  void give_way();

  // --- For its streams. ---
  Station& station() { return station_; }
  proxy::wire::Http2Session& session() { return session_; }
  const ClientFacts& facts() { return owner_.client_facts(); }
  proxy::wire::Http2Head& head() { return *head_; }
  void on_head_end() { head_of_ = nullptr; }
  void on_part_of_body() { awaits_body_ = true; }  // and more is to come
  void flush(Http2Stream& stream);                 // after what it has said
  void note_output(Http2Stream& stream, std::size_t size);
  bool has_room() const;
  bool is_receiving() const { return is_receiving_; }
  void on_drained(Http2Stream& stream) { drained_.push_back(&stream); }
  void on_left(Http2Stream& stream) { left_.push_back(&stream); }
  void note_answer() { misuse_.make_up(); }
  void note_misuse();
  void change_held(std::size_t before, std::size_t now) { streams_bytes_ += now - before; }
  void remove(Http2Stream& stream);
  void on_finished(Http2Stream& stream);  // it has closed before; by its exchange
  // Once, in a while: a reset that came together with a request is told by no event.
  void look_later() { must_look_ = true; }
  void look_soon();  // settle() in the next turn, and whether the client is still there
  // It must end: with the next settle().
  void give_up(proxy::wire::Http2Error error);

 private:
  void on_next_turn() override;
  // Http2Session::Handler
  void on_frame(const proxy::wire::Http2Session::Frame& frame) override;
  proxy::wire::Http2Session::Stream* begin_stream(proxy::wire::Http2StreamId id) override;
  bool has_had_its_turn() const override;
  void on_window_update(std::uint32_t increment) override;
  void on_ping_answered() override;
  void on_reset_sent(proxy::wire::Http2Error error) override;

  void send() noexcept;
  void put_output();
  void tell_exchanges();
  bool is_at_end();
  void obey_budget();
  void go_away(proxy::wire::Http2Error error);
  void end(proxy::wire::Http2Error error);

  // What the timer is set for.
  enum class Wait : std::uint8_t { nothing, first_request, request, head, reader, client };
  Wait what_is_awaited();
  void watch();
  static void on_timeout(void* self);
  void on_due();
  static void on_notice_timeout(void* self);

  // The two steps of GOAWAY, and what comes after them.
  struct Ending {
    bool has_given_notice = false;
    bool is_going_away = false;
    std::optional<proxy::wire::Http2Error> due;  // with the next settle()
    bool has_failed = false;
    bool has_ended = false;
  };

  Station& station_;
  Owner& owner_;
  std::vector<std::unique_ptr<Http2Stream>> streams_;
  Http2Stream* head_of_ = nullptr;  // whose head is coming
  // Since the last settle().
  std::vector<Http2Stream*> sending_;
  std::vector<Http2Stream*> drained_;
  std::vector<Http2Stream*> left_;
  std::unique_ptr<proxy::wire::Http2Head> head_;
  MisuseBudget misuse_;
  std::size_t gathered_ = 0;  // bytes that are about to be written
  std::size_t streams_bytes_ = 0;
  std::uint64_t requests_ = 0;
  std::uint64_t turn_mark_ = 0;     // these when its turn began
  std::uint64_t windows_due_ = 0;   // WINDOW_UPDATEs for which there is a cause
  std::uint64_t written_mark_ = 0;  // when the timer was set for a reader
  Wait wait_ = Wait::nothing;
  bool awaits_body_ = false;  // as of the last receive()
  bool is_receiving_ = false;
  bool is_sending_ = false;
  bool must_look_ = false;
  Ending ending_;
  proxy::net::Timeout due_;
  proxy::net::Timeout notice_due_;
  proxy::wire::Http2Session session_;  // last: it tells the others
};

}  // namespace classgate::gateway
