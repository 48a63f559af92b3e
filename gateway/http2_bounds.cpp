// What an HTTP/2 connection and its streams may hold, and for how long they may do nothing.

#include <algorithm>
#include <utility>

#include "gateway/http2_connection.h"
#include "gateway/station.h"

namespace classgate::gateway {

using proxy::wire::Http2Error;

namespace {

// What a stream may hold of an answer that never has to give way.
constexpr std::size_t light_output = 6 * 1024;

}  // namespace

// ---- Memory ------------------------------------------------------------------------------------

std::size_t Http2Connection::held_bytes() const {
  return sizeof *this + session_.held_bytes() + (head_ ? head_->held_bytes() : 0) + streams_bytes_ +
         streams_.capacity() * sizeof(streams_[0]);
}

std::size_t Http2Connection::exchange_bytes() const {
  std::size_t bytes = 0;
  for (const auto& stream : streams_) bytes += stream->exchange_bytes();
  return bytes;
}

// Between requests all of it.
std::size_t Http2Connection::bytes_to_give() const {
  if (streams_.empty()) return held_bytes();
  std::size_t bytes = 0;
  for (const auto& stream : streams_) bytes += stream->bytes_to_give();
  return bytes;
}

void Http2Connection::give_way() {
  if (ending_.has_ended) return;
  if (streams_.empty()) return end(Http2Error::none);
  for (std::size_t i = streams_.size(); i-- > 0;)
    if (i < streams_.size() && streams_[i]->bytes_to_give() > 0) streams_[i]->give_way();
  look_soon();
}

void Http2Stream::count_memory() {
  if (is_closed_) return;
  const std::size_t before = counted_;
  counted_ = sizeof *this + output_.held.capacity();
  if (tunnel_) counted_ += sizeof *tunnel_ + tunnel_->early.capacity();
  for (const auto& trailer : input_.trailers)
    counted_ += trailer.name.size() + trailer.value.size();
  connection_.change_held(before, counted_);
  if (exchange_ != nullptr) exchange_->count_memory();
}

std::size_t Http2Stream::exchange_bytes() const {
  return exchange_ != nullptr ? exchange_->held_bytes() : 0;
}

// As of HTTP/1: who waits or is being served is the books' business, but for what a slow reader
// leaves standing.
std::size_t Http2Stream::bytes_to_give() const {
  if (is_closed_) return 0;
  if (exchange_ != nullptr && exchange_->is_collecting()) return counted_ + exchange_bytes();
  return held_size() > light_output ? held_size() : 0;
}

void Http2Stream::give_way() {
  guard([this] {
    if (exchange_ != nullptr && exchange_->is_collecting())
      return exchange_->on_body_fault(conf::Reason::memory_pressure);
    if (exchange_ != nullptr) std::exchange(exchange_, nullptr)->on_client_gone();
    end_with(Http2Error::enhance_your_calm);
  });
}

// ---- The connection's time ---------------------------------------------------------------------

// A reader's comes first: nothing else goes on before it has read. PING does not keep an idle
// connection.
Http2Connection::Wait Http2Connection::what_is_awaited() {
  if (owner_.stream().pending() > 0) return Wait::reader;
  if (head_of_ != nullptr) return Wait::head;
  if (!streams_.empty()) return must_look_ ? Wait::client : Wait::nothing;
  return requests_ == 0 ? Wait::first_request : Wait::request;
}

void Http2Connection::watch() {
  if (ending_.has_ended) return;
  const Wait wanted = what_is_awaited();
  if (wanted == wait_ && (due_.is_set() || wanted == Wait::nothing)) return;
  wait_ = wanted;
  Station::Timeouts& timeouts = station_.timeouts();
  switch (wanted) {
    case Wait::nothing: return due_.cancel();
    case Wait::client: return timeouts.look.set(due_);
    case Wait::first_request:
    case Wait::head: return timeouts.header.set(due_);
    case Wait::request: return timeouts.idle.set(due_);
    case Wait::reader:
      written_mark_ = owner_.stream().bytes_written();
      return timeouts.send.set(due_);
  }
}

void Http2Connection::on_timeout(void* self) {
  auto& connection = *static_cast<Http2Connection*>(self);
  connection.station_.loop().guard([&connection] { connection.on_due(); },
                                   [&connection] { connection.owner_.on_http2_fault(); });
}

void Http2Connection::on_due() {
  if (wait_ != what_is_awaited()) return watch();
  LoopMetrics& metrics = station_.metrics();
  if (wait_ == Wait::client) {
    must_look_ = false;
    return owner_.stream().peer_is_gone() ? owner_.on_http2_gone() : watch();
  }
  if (wait_ == Wait::reader) {
    if (owner_.stream().bytes_written() != written_mark_) return watch();
    metrics.reached(Limit::send_timeout);
    return owner_.on_http2_gone();
  }
  if (station_.is_making_room()) {
    if (streams_.size() > 1) return station_.timeouts().header.set(due_);  // others are served
    metrics.reached(Limit::max_connections);
    return owner_.on_http2_gone();
  }
  metrics.reached(wait_ == Wait::request ? Limit::idle_timeout : Limit::header_timeout);
  end(Http2Error::none);
}

// The client has not said that it knows: it has had the time.
void Http2Connection::on_notice_timeout(void* self) {
  auto& connection = *static_cast<Http2Connection*>(self);
  connection.station_.loop().guard(
      [&connection] {
        if (connection.station_.is_making_room() && connection.streams_.empty())
          return connection.owner_.on_http2_gone();
        connection.go_away(Http2Error::none);
        connection.look_soon();
      },
      [&connection] { connection.owner_.on_http2_fault(); });
}

// ---- A stream's time ---------------------------------------------------------------------------

void Http2Stream::stop_timers() {
  input_due_.cancel();
  output_due_.cancel();
}

proxy::net::TimeoutList& Http2Stream::input_timeouts() {
  Station::Timeouts& timeouts = connection_.station().timeouts();
  return input_.is_streaming ? timeouts.stream : timeouts.body;
}

// Begins a window.
void Http2Stream::watch_input() {
  if (input_.is_whole || !input_.has_head || exchange_ == nullptr || tunnel_) return;
  input_.bytes = input_.stream_mark = 0;
  input_.begin = connection_.station().loop().now();
  input_timeouts().set(input_due_);
}

void Http2Stream::on_input_timeout(void* self) {
  auto& stream = *static_cast<Http2Stream*>(self);
  stream.guard([&stream] { stream.on_input_due(); });
}

// As of HTTP/1: silence on both sides for a whole window.
void Http2Stream::watch_tunnel() {
  tunnel_->mark = input_.bytes + output_.taken;
  Station::Timeouts& timeouts = connection_.station().timeouts();
  (output_.is_all ? timeouts.linger : timeouts.idle).set(input_due_);
}

void Http2Stream::on_tunnel_due() {
  if (is_closed_ || tunnel_->mark != input_.bytes + output_.taken) return watch_tunnel();
  connection_.station().metrics().reached(Limit::idle_timeout);
  std::exchange(exchange_, nullptr)->on_client_gone();
  end_with(Http2Error::cancel);
}

// As of HTTP/1 (client_connection_bounds.cpp).
void Http2Stream::on_input_due() {
  if (exchange_ != nullptr && tunnel_) return on_tunnel_due();
  if (exchange_ == nullptr || input_.is_whole) return;
  if (!exchange_->wants_body()) return watch_input();  // we are the ones who open no window
  if (exchange_->paces_itself()) return watch_input();
  Station& station = connection_.station();
  const conf::ClientSettings& limits = station.settings().client;
  if (input_.is_streaming && station.is_too_slow_for_waiters(input_.bytes - input_.stream_mark)) {
    station.metrics().reached(Limit::stream_rate_min);
    return exchange_->on_body_fault(conf::Reason::client_timeout);
  }
  if (station.loop().now() - input_.begin < limits.body_timeout) {
    input_.stream_mark = input_.bytes;
    return input_timeouts().set(input_due_);
  }
  const double seconds = std::chrono::duration<double>(limits.body_timeout).count();
  if (static_cast<double>(input_.bytes) >=
      static_cast<double>(limits.body_rate_min.count) * seconds)
    return watch_input();
  station.metrics().reached(Limit::body_rate_min);
  exchange_->on_body_fault(conf::Reason::client_timeout);
}

void Http2Stream::watch_output() {
  if (output_due_.is_set()) return;
  output_.mark = output_.taken;
  connection_.station().timeouts().send.set(output_due_);
}

void Http2Stream::on_output_timeout(void* self) {
  auto& stream = *static_cast<Http2Stream*>(self);
  stream.guard([&stream] { stream.on_output_due(); });
}

// Its window is closed, and so much has not gone through it as a client must bring of a body: that
// it is opened by a byte now and then makes no difference.
bool Http2Stream::is_output_too_slow() const {
  if (!connection_.session().is_window_closed(id_)) return false;  // others came first
  const conf::ClientSettings& limits = connection_.station().settings().client;
  const double seconds = std::chrono::duration<double>(limits.send_timeout).count();
  const double least = std::max(1.0, static_cast<double>(limits.body_rate_min.count) * seconds);
  return static_cast<double>(output_.taken - output_.mark) < least;
}

void Http2Stream::on_output_due() {
  if (is_closed_ || held_size() == 0) return;
  if (!is_output_too_slow()) return watch_output();
  connection_.station().metrics().reached(Limit::send_timeout);
  if (exchange_ != nullptr) std::exchange(exchange_, nullptr)->on_client_gone();
  end_with(Http2Error::cancel);
}

}  // namespace classgate::gateway
