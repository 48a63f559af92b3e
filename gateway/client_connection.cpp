// Longer than most: what a connection reads, its turns and its end follow from each other, and
// stand in one place.

#include "gateway/client_connection.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "conf/format.h"
#include "conf/invariant.h"
#include "gateway/first_look.h"
#include "gateway/station.h"

namespace classgate::gateway {
namespace {

using proxy::net::Stream;
using proxy::wire::Framing;
using proxy::wire::Parser;

constexpr int reads_in_a_turn = 16;  // then the others' turn

}  // namespace

ClientConnection::ClientConnection(Station& station, proxy::net::Fd fd,
                                   const conf::IpAddress& address,
                                   std::shared_ptr<const proxy::net::TlsAcceptor> acceptor,
                                   bool awaits_introduction,
                                   std::shared_ptr<const ClientIdentities::Listener> listener)
    : station_(station),
      acceptor_(awaits_introduction ? acceptor : nullptr),
      state_(awaits_introduction ? State::introduction : State::idle),
      timeout_(on_timeout, this),
      stream_(station.loop(), std::move(fd), *this,
              acceptor && !awaits_introduction
                  ? acceptor->accept(station.rules().speaks_http2(listener.get()))
                  : nullptr) {
  facts_ = {.ip = address,
            .address = address.text(),
            .listener = std::move(listener),
            .tls = stream_.tls()};
  judge_sender();
  station_.timeouts().header.set(timeout_);  // the first request has to come soon
  timed_state_ = State::idle;
}

void ClientConnection::judge_sender() {
  facts_.is_trusted = station_.rules().trusted_proxies.include(facts_.ip);
}

proxy::net::TlsProof ClientConnection::judge_certificate() const {
  using proxy::net::TlsProof;
  if (facts_.tls == nullptr) return TlsProof::good;
  if (const auto& acceptor = station_.policy().tls.clients) return acceptor->proof_of(*facts_.tls);
  return facts_.tls->has_certificate() ? TlsProof::not_asked : TlsProof::good;
}

// ---- Reading -----------------------------------------------------------------------------------

void ClientConnection::on_readable() {
  read_readable();
  after_event();
}

void ClientConnection::read_readable() {
  if (state_ == State::closed) return;
  if (state_ == State::introduction) return read_introduction();
  if (!wants_input()) {
    // Nothing is read while an answer is due, but a client that has gone must be noticed. What it
    // said in a tunnel before it went is still to be read.
    if (exchange_ != nullptr && state_ != State::tunnel && stream_.peer_is_gone()) on_gone();
    return;
  }
  read_on();
}

bool ClientConnection::wants_input() const {
  switch (state_) {
    case State::idle: return stream_.pending() == 0;
    case State::head:
    case State::lingering: return true;
    case State::tunnel:
      return exchange_ != nullptr && !tunnel_.input_has_ended && exchange_->wants_body();
    case State::body: return exchange_ == nullptr || exchange_->wants_body();
    case State::http2: return !input_ && http2_->wants_input();
    default: return false;
  }
}

bool ClientConnection::is_mid_request() const {
  return state_ == State::head || state_ == State::body ||
         (state_ == State::http2 && http2_->is_mid_request());
}

// While nothing is read. Whether a reset stands behind what was read last must be asked for, when
// more was to come.
bool ClientConnection::client_has_left() {
  if (exchange_ == nullptr || state_ == State::tunnel || wants_input()) return false;
  return stream_.peer_has_closed() || (is_mid_request() && stream_.peer_is_gone());
}

void ClientConnection::read_on() {
  if (state_ == State::tunnel && input_) process_buffer();
  for (int i = 0; i < reads_in_a_turn; ++i) {
    if (client_has_left()) return on_gone();
    if (!wants_input() || !stream_.may_read()) return set_timer();
    const std::span<char> scratch = station_.loop().read_scratch();
    const Stream::ReadResult result = stream_.read(scratch);
    switch (result.what) {
      case Stream::Read::nothing_now: return set_timer();
      case Stream::Read::end:
        if (state_ != State::tunnel) return on_gone();
        tunnel_.input_has_ended = true;
        set_timer();
        return exchange_->on_tunnel_client_ended();
      case Stream::Read::broken: return on_gone();
      case Stream::Read::some: break;
    }
    if (state_ == State::lingering) {
      window_.bytes += result.size;
      if (window_.bytes > station_.settings().client.linger_bytes.count) return close();
      continue;
    }
    take({scratch.data(), result.size});
    if (!is_mid_request()) continue;
    stream_.look_again();
    station_.memory().look();
    if (station_.memory().is_used_up()) [[unlikely]]
      refuse_growth();
  }
  if (state_ == State::closed) return;
  set_timer();
  stream_.read_again_soon();
}

// Bytes are used where they were read; only what can't be used yet is kept.
void ClientConnection::take(std::string_view bytes) {
  if (input_) {
    input_->append(bytes);
    return process_buffer();
  }
  const std::size_t used = process(bytes);
  if (used == bytes.size() || is_ending()) return;
  input_ = std::make_unique<std::string>(bytes.substr(used));
  wait_for_turn();
}

void ClientConnection::process_buffer() {
  const std::size_t used = process(*input_);
  if (used == input_->size() || is_ending())
    input_.reset();  // an idle connection holds no buffer
  else
    input_->erase(0, used);
  wait_for_turn();
}

// Cuts requests out of the bytes as long as the exchanges let it; says how many bytes are used.
std::size_t ClientConnection::process(std::string_view bytes) {
  CLASSGATE_INVARIANT(!is_processing_);
  is_processing_ = true;
  std::size_t used = 0;
  bool goes_on = true;
  while (goes_on && used < bytes.size()) {
    switch (state_) {
      case State::idle:
        if (stream_.pending() > 0) {
          goes_on = false;
          break;
        }
        // Empty lines before a request line mean nothing (RFC 9112 section 2.2).
        if (bytes.substr(used).starts_with("\r\n")) {
          used += 2;
          break;
        }
        parser_ = station_.take_parser();
        parser_->begin(Parser::Kind::request, station_.request_limits());
        change_state(State::head);
        break;
      case State::head: goes_on = take_head(bytes.substr(used), used); break;
      case State::body: used += take_body(bytes.substr(used)); break;
      case State::tunnel:
        window_.bytes += bytes.size() - used;
        exchange_->on_tunnel_bytes(bytes.substr(used));
        used = bytes.size();
        break;
      case State::http2:
        used += http2_->receive(bytes.substr(used));
        goes_on = false;  // what is left waits for its turn
        break;
      default: goes_on = false;
    }
  }
  is_processing_ = false;
  return used;
}

// False when more bytes are needed.
bool ClientConnection::take_head(std::string_view bytes, std::size_t& taken) {
  switch (parser_->parse_head(bytes)) {
    case Parser::Progress::need_more: return false;
    case Parser::Progress::fault:
      if (begins_http2(bytes)) [[unlikely]] {
        begin_http2();
        return true;
      }
      refuse_head(reason_of(parser_->fault()), bytes);
      return false;
    case Parser::Progress::done: break;
  }
  taken += parser_->head_size();
  bytes.remove_prefix(parser_->head_size());
  const proxy::wire::Head& head = parser_->head();
  const bool has_length = head.framing == Framing::length;
  const bool body_is_here =
      head.framing == Framing::none || (has_length && bytes.size() >= head.content_length);
  body_left_ = has_length ? head.content_length : 0;
  window_.bytes = window_.stream_mark = 0;
  is_streaming_ = false;
  change_state(State::body);
  const bool expects_continue = head.expects_continue && !body_is_here;
  CLASSGATE_INVARIANT(exchange_ == nullptr);
  ++requests_;
  if (has_had_its_requests()) station_.metrics().reached(Limit::requests_per_connection);
  facts_.proof = judge_certificate();
  // What its certificate is worth now a new connection shows.
  const bool is_last = has_had_its_requests() || facts_.proof != proxy::net::TlsProof::good;
  answer_.begin(head, body_is_here, station_.settings().client.body_buffer.count, is_last);
  exchange_ = &station_.take_exchange();
  exchange_->on_head(*this, head, body_is_here);
  if (expects_continue && exchange_ != nullptr) send_continue();
  if (head.framing == Framing::none && state_ == State::body) end_of_request();
  return true;
}

// One more request, and it has had all that one connection may have.
bool ClientConnection::has_had_its_requests() const {
  const std::uint32_t most = station_.settings().client.requests_per_connection;
  return most != 0 && requests_ >= most;
}

// Nobody knows where the next request would begin: this answer is the last.
void ClientConnection::refuse_head(conf::Reason reason, std::string_view head_so_far) {
  CLASSGATE_INVARIANT(exchange_ == nullptr);
  change_state(State::answering);
  has_unread_input_ = true;
  answer_.begin_unreadable();
  exchange_ = &station_.take_exchange();
  facts_.proof = judge_certificate();
  exchange_->on_unreadable(*this, reason,
                           {.bytes = head_so_far,
                            .head = &parser_->head_so_far(head_so_far),
                            .is_whole = parser_->head_size() > 0});
}

std::size_t ClientConnection::take_body(std::string_view bytes) {
  answer_.note_body();
  if (parser_->head().framing == Framing::length) {
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(body_left_, bytes.size()));
    body_left_ -= size;
    window_.bytes += size;
    if (exchange_ != nullptr) exchange_->on_body(bytes.substr(0, size));
    if (body_left_ > 0)
      end_of_body_part();
    else if (state_ == State::body)
      end_of_request();
    return size;
  }
  const Parser::Progress progress = parser_->parse_chunked(bytes);
  for (const std::string_view span : parser_->spans()) {
    window_.bytes += span.size();
    if (exchange_ != nullptr && state_ == State::body) exchange_->on_body(span);
  }
  if (progress == Parser::Progress::fault) {
    const conf::Reason reason = reason_of(parser_->fault());
    if (exchange_ != nullptr)
      exchange_->on_body_fault(reason);
    else if (state_ == State::body)
      linger();
    return bytes.size();
  }
  const std::size_t used = parser_->consumed();
  if (progress != Parser::Progress::done)
    end_of_body_part();
  else if (state_ == State::body)
    end_of_request();
  return used;
}

void ClientConnection::end_of_body_part() {
  if (exchange_ == nullptr || state_ != State::body) return;
  exchange_->on_body_part_end();
  look_after_waiting();
}

// The request has been read to its last byte.
void ClientConnection::end_of_request() {
  change_state(State::answering);
  answer_.note_request_end();
  if (exchange_ != nullptr)
    exchange_->on_body_end(parser_->trailers());
  else
    change_state(State::idle);  // it was refused before its body had come
  station_.return_parser(std::move(parser_));
  look_after_waiting();
}

// A reset may have come together with the last of the request, and no event tells of it (see
// Stream::look_again()). Who waits is looked after in the next turn; who has a worker when the
// answer has taken a while, so that most cost no call.
void ClientConnection::look_after_waiting() {
  if (exchange_ == nullptr) return;
  if (exchange_->is_waiting()) stream_.read_again_soon();
  if (state_ != State::answering || stream_.pending() > 0) return;
  timed_state_ = State::looking;
  station_.timeouts().look.set(timeout_);
}

// ---- Going on ---------------------------------------------------------------------------------

void ClientConnection::go_on() {
  if (input_) process_buffer();
  if (!is_ending()) read_on();
}

// Of HTTP/2, where one read may hold many requests. Those that nobody takes now wait for
// on_drained().
void ClientConnection::wait_for_turn() {
  if (state_ == State::http2 && input_ && http2_->wants_input()) station_.wait_for_turn(*this);
}

void ClientConnection::on_turn() noexcept {
  station_.loop().guard(
      [this] {
        take_turn();
        after_event();
      },
      [this] { on_fault(); });
}

// Of a client that has left, what has not been begun is not wanted any more.
void ClientConnection::take_turn() {
  if (state_ != State::http2 || !input_ || !http2_->wants_input()) return;
  if (stream_.peer_has_closed()) return on_gone();
  process_buffer();
  if (!input_ && !is_ending()) read_on();
}

// Once for each connection with TLS: it stands, or has failed.
void ClientConnection::note_handshake() {
  if (stream_.tls() == nullptr || std::exchange(has_noted_handshake_, true)) return;
  LoopMetrics& metrics = station_.metrics();
  if (stream_.has_stood()) {
    if (state_ == State::idle && stream_.tls()->chose_http2()) begin_http2();
    (stream_.tls()->was_resumed() ? metrics.handshakes_resumed : metrics.handshakes_full).add();
  } else {
    metrics.handshakes_failed.add();
    spdlog::debug("client {}: {}", facts_.address, stream_.why_broken());
  }
}

void ClientConnection::on_drained() {
  go_on_drained();
  after_event();
}

void ClientConnection::go_on_drained() {
  if (state_ == State::closed) return;
  note_handshake();
  if (stream_.is_broken()) return on_gone();
  if (state_ == State::http2) {
    if (input_) return wait_for_turn();
    if (stream_.may_read()) read_on();
    return;
  }
  if (state_ == State::finishing) return linger();
  if (timed_state_ == State::answering) timeout_.cancel();
  if (exchange_ != nullptr) {
    if (tunnel_.output_has_ended && stream_.pending() == 0) stream_.shutdown_write();
    exchange_->on_client_drained();
    if (state_ == State::tunnel) set_timer();
    return;
  }
  if (state_ != State::idle) return set_timer();
  go_on();  // what was pipelined has waited for this
}

void ClientConnection::on_gone() {
  if (exchange_ != nullptr) std::exchange(exchange_, nullptr)->on_client_gone();
  close();
}

// The answer is out. A close while the client still sends would reset the connection and could
// destroy the answer on its way, so reading goes on for a while (RFC 9112 section 9.6).
void ClientConnection::linger() {
  const bool may_send_more =
      has_unread_input_ || (state_ != State::answering && state_ != State::finishing);
  if (stream_.peer_has_closed() || station_.is_making_room() ||
      (!may_send_more && !input_ && !stream_.may_read()))
    return close();
  say_goodbye();
}

void ClientConnection::say_goodbye() {
  change_state(State::lingering);
  window_.bytes = window_.stream_mark = 0;
  window_.begin = station_.loop().now();
  stream_.shutdown_write();
  set_timer();
  if (stream_.may_read()) stream_.read_again_soon();
}

// Its client is still sending, as many do before they read: closed now, it would lose the answer.
bool ClientConnection::lingers_on() const {
  return window_.bytes > window_.stream_mark && !station_.is_making_room() &&
         !station_.is_draining() &&
         station_.loop().now() - window_.begin < station_.settings().client.linger_max;
}

void ClientConnection::reset_if_unfinished() {
  if (stream_.pending() > 0) stream_.reset_on_close();
}

void ClientConnection::close() {
  if (state_ == State::closed) return;
  state_ = State::closed;
  timeout_.cancel();
  leave_line();
  note_handshake();
  if (exchange_ != nullptr) std::exchange(exchange_, nullptr)->on_client_gone();
  if (http2_) http2_->leave();
  station_.memory().change(-static_cast<std::int64_t>(std::exchange(counted_, 0)));
  station_.close_connection(*this);
}

void ClientConnection::on_fault() {
  station_.gather().clear();  // half of an answer, perhaps
  if (exchange_ != nullptr) std::exchange(exchange_, nullptr)->on_fault();
  if (http2_) http2_->on_fault();
  stream_.reset_on_close();
  close();
}

void ClientConnection::drain() {
  if (state_ == State::http2) {
    http2_->drain();
    return after_event();
  }
  if (station_.serves_on()) return;
  if (station_.spares_silent() && requests_ == 0) return;
  const bool is_idle = state_ == State::idle && !input_ && stream_.pending() == 0;
  if (is_idle && !stream_.has_input()) say_goodbye();
}

}  // namespace classgate::gateway
