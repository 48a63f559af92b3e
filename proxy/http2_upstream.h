#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/net/loop.h"
#include "proxy/upstream_stream.h"
#include "proxy/wire/http2_session.h"
#include "proxy/wire/parser.h"

namespace classgate::proxy {

class Http2UpstreamConnection;

// HTTP/2 of one request and its answer: a stream of a connection that it shares with others.
//
//   waiting -> sent -> (head -> body) -> over
// waiting: the connection does not stand yet, or the server has not said yet how many streams it
// takes: nothing of the request has been sent. What proves that a request was not taken:
// - no byte of its head was accepted by our kernel; or
// - the server has said so: REFUSED_STREAM, or GOAWAY with a lower last stream (RFC 9113 sections
//   8.7 and 6.8).
// Of the request's body, what is not sent yet lies with whoever gave it, until the answer begins;
// what comes in further parts is kept here, within client.body_buffer. Of the answer nothing is
// kept: its window is opened as the client takes it. Owned by the connection, on its loop.
class Http2Upstream final : public UpstreamStream,
                            public net::Retirable,
                            private wire::Http2Session::Stream {
 public:
  // `is_counted`: a request of a client, which the connection's owner counts.
  Http2Upstream(Http2UpstreamConnection& connection, Listener& listener, Reader& reader,
                bool is_counted)
      : connection_(connection), listener_(listener), reader_(reader), is_counted_(is_counted) {}

  void send(const Request& request) override;
  void send_body(std::string_view part) override;
  void end_body(const std::vector<wire::Parser::Trailer>& trailers) override;
  // Never asked for: nobody switches protocols (RFC 9113 section 8.6).
  void send_raw(std::string_view bytes) override;
  void end_raw() override;
  std::size_t pending() const override;
  bool request_is_sent() const override { return upload_.is_all_sent; }
  void resume() override;
  void await_proof() override;
  void cancel() override;
  void note_late() override;
  std::size_t held_bytes() const override;

  // --- For its connection. ---
  std::size_t index = 0;  // among the connection's
  bool is_counted() const { return is_counted_; }
  bool is_waiting() const { return !is_submitted_; }
  bool is_over() const { return is_over_; }
  bool waits_to_drain() const { return upload_.waits_to_drain; }
  void submit();
  void tell_part_end();  // of what has come; then others may speak
  void tell_drained();
  void tell_closed();  // after on_closed()
  void on_fault();
  // Its connection is lost, or not for it.
  void lose(Loss loss);
  // `bytes_taken`: of the connection's, by our kernel.
  Taken was_taken(std::uint64_t bytes_taken) const {
    return !is_head_sent_ || bytes_taken <= head_at_ ? Taken::no : Taken::perhaps;
  }
  void after_output();

 private:
  // wire::Http2Session::Stream
  void on_field(std::string_view name, std::string_view value) override;
  void on_never_indexed_field(std::string_view name, std::string_view value) override;
  void on_fields_end(bool ends_stream) override;
  void on_body(std::string_view part) override;
  void on_body_part_end() override {}
  void on_request_end() override;
  void on_closed(wire::Http2Error error) override;
  Ready ready(std::size_t most) override;
  void put_frame(std::string_view head, std::size_t size) override;
  void on_answer_sent() override;
  void on_request_sent() override;

  template <typename Deed>
  void guard(Deed&& deed);
  void begin_head();
  void take_field(std::string_view name, std::string_view value, bool is_never_indexed);
  void take_interim();
  void take_trailer(std::string_view name, std::string_view value);
  void give_credit();
  void keep_rest();
  void look_for_drain();
  void finish(wire::Http2Error error);
  void refuse(Lost what, std::string why);

  // Of the request's body.
  struct Upload {
    std::string_view first;  // what the request came with and is not sent
    std::string kept;        // what follows it, from `kept_begin` on
    std::size_t kept_begin = 0;
    std::vector<wire::Parser::Trailer> trailers;
    bool is_whole = false;     // nothing more of it will come
    bool is_all_sent = false;  // and all of it has gone out
    bool waits_to_drain = false;
    std::size_t unsent() const { return first.size() + kept.size() - kept_begin; }
  };
  struct Answer {
    std::vector<wire::Parser::Trailer> trailers;
    std::size_t trailer_bytes = 0;
    std::size_t uncredited = 0;  // bytes that have come, and opened no window yet
    unsigned interims = 0;
    bool is_in_head = false;  // its fields are coming
    bool has_head = false;
    bool has_begun() const { return has_head || interims > 0; }
  };

  Http2UpstreamConnection& connection_;
  Listener& listener_;
  Reader& reader_;
  const bool is_counted_;
  Request request_;
  wire::Http2StreamId id_ = 0;  // 0: not submitted, or over
  Upload upload_;
  Answer answer_;
  std::uint64_t head_at_ = 0;  // of the connection's output
  wire::Http2Error closed_by_ = wire::Http2Error::none;
  bool is_submitted_ = false;
  bool is_head_sent_ = false;
  bool is_closed_ = false;  // nghttp2 has no such stream any more
  bool is_over_ = false;
};

}  // namespace classgate::proxy
