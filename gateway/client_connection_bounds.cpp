// What a client connection may hold, and for how long it may do nothing.

#include <utility>

#include "gateway/client_connection.h"
#include "gateway/station.h"

namespace classgate::gateway {
namespace {

// Of the kernel's event library and the allocator, for each connection.
constexpr std::size_t connection_overhead = 256;
// What a client may hold that never has to give way: a plain connection between two requests, or
// with a small one.
constexpr std::size_t light_max = sizeof(ClientConnection) + connection_overhead + 6 * 1024;

}  // namespace

// ---- Memory ------------------------------------------------------------------------------------

// Whoever has been served by the loop: what it holds is counted once for all that has happened.
void ClientConnection::after_event() {
  if (state_ == State::closed) return;
  if (state_ == State::http2) http2_->settle();
  count_memory();
  station_.relieve_memory();
}

void ClientConnection::on_shaking_hands() { after_event(); }

void ClientConnection::count_memory() {
  if (state_ == State::closed) return;
  if (is_ending() && !is_processing_) {  // no byte of it will be used
    input_.reset();
    if (parser_) station_.return_parser(std::move(parser_));
  }
  const std::size_t now = sizeof *this + connection_overhead +
                          (parser_ ? parser_->held_bytes() : 0) + input_bytes() +
                          stream_.held_bytes() + (http2_ ? http2_->held_bytes() : 0);
  if (exchange_ != nullptr) exchange_->count_memory();
  if (now != counted_)
    station_.memory().change(static_cast<std::int64_t>(now) - static_cast<std::int64_t>(counted_));
  counted_ = now;
  if (!http2_ && held_bytes() <= light_max)
    heavy_since_ = {};
  else if (heavy_since_ == proxy::net::Time{})
    heavy_since_ = station_.loop().now();
}

// Whoever waits in the queue or is being served is the books' business, with bounds of their own;
// of them only what a slow reader leaves standing counts.
double ClientConnection::weight() const {
  if (state_ == State::closed || heavy_since_ == proxy::net::Time{}) return 0;
  const bool is_served = exchange_ != nullptr && !exchange_->is_collecting();
  if (is_served && stream_.pending() <= light_max) return 0;
  const std::size_t bytes = state_ == State::http2 ? http2_->bytes_to_give() + input_bytes()
                            : is_served            ? stream_.held_bytes()
                                                   : held_bytes();
  const std::chrono::duration<double, std::milli> age = station_.loop().now() - heavy_since_;
  return static_cast<double>(bytes) * (1 + age.count());
}

void ClientConnection::give_way() {
  if (stream_.tls() != nullptr && !stream_.has_stood()) return close();
  if (state_ == State::http2) {
    if (input_) return on_http2_gone();  // it sends faster than it is served
    return http2_->give_way();
  }
  if (state_ == State::head) return refuse_head(conf::Reason::memory_pressure, head_so_far());
  if (exchange_ != nullptr && exchange_->is_collecting())
    return exchange_->on_body_fault(conf::Reason::memory_pressure);
  reset_if_unfinished();
  on_gone();
}

// Half a request, of which more has come than there is memory for.
void ClientConnection::refuse_growth() {
  count_memory();
  if (!station_.memory().is_used_up() || held_bytes() <= light_max) return;
  station_.metrics().memory_refused_growth.add();
  give_way();
}

// ---- Time --------------------------------------------------------------------------------------

void ClientConnection::on_timeout(void* self) {
  auto& connection = *static_cast<ClientConnection*>(self);
  connection.station_.loop().guard([&connection] { connection.on_due(); },
                                   [&connection] { connection.on_fault(); });
}

void ClientConnection::change_state(State state) {
  state_ = state;
  if (!is_timed_for_now()) timeout_.cancel();
}

// That of a reader holds in any state, as long as there is something to read; the first request's
// begins before the connection has said who it is.
bool ClientConnection::is_timed_for_now() const {
  if (timed_state_ == State::answering) return stream_.pending() > 0;
  if (timed_state_ == State::looking) return state_ == State::answering;
  return timed_state_ == state_ || (timed_state_ == State::idle && state_ == State::introduction);
}

// Each state has its own limit; it is set when the state is entered, not with every byte.
void ClientConnection::set_timer() {
  if (state_ == timed_state_ && timeout_.is_set()) return;
  Station::Timeouts& timeouts = station_.timeouts();
  switch (state_) {
    case State::idle:
      if (stream_.pending() > 0) return watch_reader();
      if (station_.is_draining() && !station_.serves_on()) return say_goodbye();
      timeouts.idle.set(timeout_);
      break;
    case State::head: timeouts.header.set(timeout_); break;
    case State::body:
      if (stream_.pending() > 0) return watch_reader();
      begin_body_window();
      break;
    case State::lingering: timeouts.linger.set(timeout_); break;
    case State::tunnel:
      if (stream_.pending() > 0) return watch_reader();
      tunnel_timeouts().set(timeout_);
      break;
    default: return;
  }
  timed_state_ = state_;
}

// A client that still speaks is heard; one that is silent has nothing to wait for.
proxy::net::TimeoutList& ClientConnection::tunnel_timeouts() {
  return tunnel_.output_has_ended ? station_.timeouts().linger : station_.timeouts().idle;
}

void ClientConnection::watch_reader() {
  if (timed_state_ == State::answering && timeout_.is_set()) return;
  timed_state_ = State::answering;
  window_.written_mark = stream_.bytes_written();
  station_.timeouts().send.set(timeout_);
}

// Of those that on_due() acts on whatever has come meanwhile.
void ClientConnection::note_limit() {
  LoopMetrics& metrics = station_.metrics();
  if (station_.is_making_room()) return metrics.reached(Limit::max_connections);
  switch (timed_state_) {
    case State::head: return metrics.reached(Limit::header_timeout);
    case State::idle:
      return metrics.reached(requests_ == 0 ? Limit::header_timeout : Limit::idle_timeout);
    case State::lingering:
      if (!lingers_on()) metrics.reached(Limit::linger_timeout);
      return;
    default: return;
  }
}

void ClientConnection::on_due() {
  // Only a reader's: it has taken all of it since, and on_drained() is still to come.
  if (!is_timed_for_now()) return set_timer();
  note_limit();
  switch (timed_state_) {
    case State::head: return refuse_head(conf::Reason::client_timeout, head_so_far());
    case State::body: return on_body_window_over();
    case State::tunnel: {  // silence on both sides for a whole window
      const std::uint64_t bytes = window_.bytes + stream_.bytes_written();
      if (bytes == window_.written_mark) {
        station_.metrics().reached(Limit::idle_timeout);
        return on_gone();
      }
      window_.written_mark = bytes;
      return tunnel_timeouts().set(timeout_);
    }
    case State::answering:  // a reader that took nothing for a whole window is gone
      if (stream_.bytes_written() == window_.written_mark) {
        station_.metrics().reached(Limit::send_timeout);
        reset_if_unfinished();
        return on_gone();
      }
      window_.written_mark = stream_.bytes_written();
      return station_.timeouts().send.set(timeout_);
    case State::looking:
      if (exchange_ != nullptr && stream_.peer_is_gone()) on_gone();
      return;
    case State::lingering:
      if (!lingers_on()) return close();
      window_.stream_mark = window_.bytes;
      return station_.timeouts().linger.set(timeout_);
    default: return close();  // idle for too long
  }
}

// From now on the body streams through a worker.
void ClientConnection::begin_streaming() {
  if (state_ != State::body || is_streaming_) return;
  is_streaming_ = true;
  station_.metrics().reached(Limit::body_buffer);
  begin_body_window();
  timed_state_ = State::body;
}

void ClientConnection::begin_body_window() {
  window_.bytes = window_.stream_mark = 0;
  window_.begin = station_.loop().now();
  body_timeouts().set(timeout_);
}

proxy::net::TimeoutList& ClientConnection::body_timeouts() {
  return is_streaming_ ? station_.timeouts().stream : station_.timeouts().body;
}

void ClientConnection::on_body_window_over() {
  const conf::ClientSettings& limits = station_.settings().client;
  if (!wants_input()) return begin_body_window();  // we are the ones who do not read
  if (holds_worker_too_slowly()) {
    station_.metrics().reached(Limit::stream_rate_min);
    return exchange_->on_body_fault(conf::Reason::client_timeout);
  }
  if (station_.loop().now() - window_.begin < limits.body_timeout) {
    window_.stream_mark = window_.bytes;
    return body_timeouts().set(timeout_);
  }
  const double seconds = std::chrono::duration<double>(limits.body_timeout).count();
  if (static_cast<double>(window_.bytes) >=
      static_cast<double>(limits.body_rate_min.count) * seconds)
    return begin_body_window();
  station_.metrics().reached(Limit::body_rate_min);
  if (exchange_ == nullptr) return close();
  exchange_->on_body_fault(conf::Reason::client_timeout);
}

// A slow upload does no harm as long as nobody waits for its worker.
bool ClientConnection::holds_worker_too_slowly() {
  return is_streaming_ && exchange_ != nullptr &&
         station_.is_too_slow_for_waiters(window_.bytes - window_.stream_mark);
}

}  // namespace classgate::gateway
