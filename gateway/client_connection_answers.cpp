// What an exchange says to the client of its connection.

#include "conf/format.h"
#include "gateway/client_connection.h"
#include "gateway/station.h"

namespace classgate::gateway {

void ClientConnection::send_continue() {
  stream_.write("HTTP/1.1 100 Continue\r\n\r\n");
  if (stream_.pending() > 0) watch_reader();
}

void ClientConnection::send_interim(const proxy::wire::Head& head) {
  answer_.put_interim(head, station_.gather());
}

void ClientConnection::send_head(const proxy::wire::Head& head, proxy::wire::Framing framing,
                                 std::string_view request_id) {
  answer_.put_head(head, framing, request_id, circumstances(), station_.gather());
}

void ClientConnection::send_body(std::string_view part) {
  answer_.put_body(part, station_.gather());
}

void ClientConnection::send_end(const std::vector<proxy::wire::Parser::Trailer>& trailers) {
  answer_.put_end(trailers, station_.gather());
}

void ClientConnection::send_refusal(const Refusals& texts, const Refusal& refusal) {
  const bool says_rate_limit =
      station_.settings().client.rate_limit_fields != conf::RateLimitFields::off;
  answer_.put_refusal(texts, refusal, says_rate_limit, circumstances(), station_.gather());
  flush();
}

void ClientConnection::send_own(const OwnAnswer& answer) {
  answer_.put_own(answer, circumstances(), station_.gather());
  flush();
}

Http1Answer::Circumstances ClientConnection::circumstances() {
  return {.date = station_.date_text(),
          .closes = station_.is_draining() || judge_certificate() != proxy::net::TlsProof::good,
          .rate_texts = &station_.rate_texts()};
}

void ClientConnection::flush() {
  station_.gather().send(stream_);
  if (stream_.pending() == 0) return;
  watch_reader();
  count_memory();
}

void ClientConnection::finish() {
  exchange_ = nullptr;
  if (state_ == State::closed) return;
  if (stream_.is_broken()) return close();
  if (!answer_.keeps_connection()) {
    has_unread_input_ = has_unread_input_ || state_ != State::answering || input_ != nullptr;
    change_state(State::finishing);
    if (stream_.pending() == 0) linger();
    return;
  }
  if (state_ == State::answering) change_state(State::idle);
  if (heavy_since_ != proxy::net::Time{}) heavy_since_ = station_.loop().now();
  // Within process() its loop goes on by itself; else what was pipelined is due now.
  if (is_processing_) return;
  // The next request: what may go wrong with it is no business of whoever has brought this answer.
  station_.loop().guard([this] { go_on(); }, [this] { on_fault(); });
}

// With a reset where an orderly close would look like the answer's end.
void ClientConnection::cut(conf::Reason) {
  if (answer_.ends_with_connection()) return reset();
  exchange_ = nullptr;
  close();
}

void ClientConnection::reset() {
  exchange_ = nullptr;
  stream_.reset_on_close();
  close();
}

// Called while the answer is being read: what the client has said already is looked at in the next
// turn.
bool ClientConnection::begin_tunnel(const proxy::wire::Head& head) {
  answer_.put_switch(head, station_.gather());
  change_state(State::tunnel);
  window_.bytes = 0;
  stream_.read_again_soon();
  set_timer();
  return true;  // it is the client's to judge
}

void ClientConnection::end_tunnel_output() {
  tunnel_.output_has_ended = true;
  timeout_.cancel();
  if (stream_.pending() == 0) stream_.shutdown_write();
  set_timer();
}

void ClientConnection::stream_body() {
  begin_streaming();
  if (stream_.may_read()) stream_.read_again_soon();
}

}  // namespace classgate::gateway
