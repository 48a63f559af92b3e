#include "gateway/http2_connection.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "conf/invariant.h"
#include "gateway/first_look.h"
#include "gateway/station.h"

namespace classgate::gateway {

using proxy::wire::Http2Error;
using proxy::wire::Http2FrameType;
using proxy::wire::Http2Session;

namespace {

constexpr std::size_t output_room = 64 * 1024;   // bytes that are made for the socket at once
constexpr int outputs_in_a_turn = 16;            // then the others' turn
constexpr std::uint64_t requests_in_a_turn = 4;  // of one read, which may hold a thousand
// A frame smaller than the prefix of a gRPC message does nothing for anybody.
constexpr std::size_t useful_bytes = 5;

proxy::wire::Http2Limits limits_of(const conf::Settings& settings) {
  const conf::ClientSettings& client = settings.client;
  constexpr std::uint64_t least_window = 16 * 1024, least_of_connection = 1024 * 1024;
  const std::uint64_t window = std::max(client.body_buffer.count, least_window);
  return {.streams = client.streams_per_connection,
          .stream_window = static_cast<std::uint32_t>(window),
          .connection_window = static_cast<std::uint32_t>(std::max(window, least_of_connection)),
          .header_list_bytes = static_cast<std::uint32_t>(client.header_bytes.count),
          .acknowledgements = 2 * std::size_t{client.misuse_burst},
          .takes_extended_connect = gateway::takes_extended_connect(settings.upstream)};
}

}  // namespace

Http2Connection::Http2Connection(Station& station, Owner& owner)
    : station_(station),
      owner_(owner),
      misuse_(station.settings().client.misuse_burst, station.settings().client.misuse_rate,
              station.loop().now()),
      due_(on_timeout, this),
      notice_due_(on_notice_timeout, this),
      session_(*this, limits_of(station.settings())) {
  station_.metrics().http2_connections.add();
}

Http2Connection::~Http2Connection() { station_.loop().forget_deferred(*this); }

// ---- What comes --------------------------------------------------------------------------------

bool Http2Connection::wants_input() const {
  return !ending_.has_ended && !ending_.has_failed && !ending_.due &&
         owner_.stream().pending() < output_room;
}

std::size_t Http2Connection::receive(std::string_view bytes) {
  if (ending_.has_ended || ending_.has_failed || ending_.due) return bytes.size();
  is_receiving_ = true;
  awaits_body_ = false;
  turn_mark_ = requests_;
  const bool goes_on = session_.receive(bytes);  // throws: the connection's end
  is_receiving_ = false;
  if (!goes_on) give_up(session_.why());
  return ending_.due ? bytes.size() : session_.used();
}

// Of a connection that ends nothing is of interest any more.
bool Http2Connection::has_had_its_turn() const {
  return ending_.due || requests_ - turn_mark_ >= requests_in_a_turn;
}

void Http2Connection::on_frame(const Http2Session::Frame& frame) {
  const bool is_useless = [&] {
    switch (frame.type) {
      case Http2FrameType::data: return frame.size < useful_bytes && !frame.ends_stream;
      case Http2FrameType::headers: return ending_.is_going_away;
      case Http2FrameType::settings: return !frame.is_ack;
      case Http2FrameType::ping:
        return !frame.is_ack || !ending_.has_given_notice;  // we asked for none
      case Http2FrameType::window_update: return false;     // on_window_update()
      default: return true;
    }
  }();
  if (is_useless) note_misuse();
}

void Http2Connection::note_misuse() {
  misuse_.spend(station_.loop().now());
  if (misuse_.state() == MisuseBudget::State::over) give_up(Http2Error::enhance_your_calm);
}

// As many as there may be for what there is: each request and each DATA may open the stream's
// window and the connection's.
void Http2Connection::on_window_update(std::uint32_t increment) {
  const bool is_due = windows_due_ > 0;
  if (is_due) --windows_due_;
  if (increment < useful_bytes || !is_due) note_misuse();
}

// What we have reset because the client has done what it must not: it pays as for its own resets.
void Http2Connection::on_reset_sent(Http2Error error) {
  if (error == Http2Error::refused_stream)
    station_.metrics().reached(Limit::streams_per_connection);
  const bool is_ours = error == Http2Error::none || error == Http2Error::internal_error ||
                       error == Http2Error::cancel;
  if (!is_ours) note_misuse();
}

Http2Session::Stream* Http2Connection::begin_stream(proxy::wire::Http2StreamId id) {
  if (ending_.due) return nullptr;
  if (!head_) head_ = std::make_unique<proxy::wire::Http2Head>();
  head_->begin(station_.request_limits());
  ++requests_;
  windows_due_ += 2;
  station_.metrics().http2_requests.add();
  streams_.push_back(std::make_unique<Http2Stream>(*this, id));
  streams_.back()->index = streams_.size() - 1;
  head_of_ = streams_.back().get();
  return head_of_;
}

void Http2Connection::remove(Http2Stream& stream) {
  const std::size_t index = stream.index;
  CLASSGATE_INVARIANT(index < streams_.size() && streams_[index].get() == &stream);
  for (auto* const list : {&sending_, &drained_, &left_}) std::erase(*list, &stream);
  if (head_of_ == &stream) head_of_ = nullptr;
  streams_bytes_ -= stream.held_bytes();
  station_.loop().retire(std::move(streams_[index]));
  if (index + 1 < streams_.size()) {
    streams_[index] = std::move(streams_.back());
    streams_[index]->index = index;
  }
  streams_.pop_back();
}

void Http2Connection::on_finished(Http2Stream& stream) {
  remove(stream);
  if (ending_.has_ended || is_receiving_) return;
  if (is_at_end()) return look_soon();
  owner_.count_memory();
  watch();
}

// ---- What goes out -----------------------------------------------------------------------------

bool Http2Connection::has_room() const {
  return gathered_ + owner_.stream().pending() < output_room;
}

void Http2Connection::note_output(Http2Stream& stream, std::size_t size) {
  gathered_ += size;
  windows_due_ += 2;
  if (std::ranges::find(sending_, &stream) == sending_.end()) sending_.push_back(&stream);
}

// Within receive() there is more to come: all that is said goes out together.
void Http2Connection::flush(Http2Stream& stream) {
  CLASSGATE_INVARIANT(!is_sending_);  // nobody speaks then
  if (!is_receiving_ && stream.can_wait(streams_.size() == 1)) {
    stream.keep_parts();
    return station_.loop().call_next_turn(*this);
  }
  if (!is_receiving_) send();
  stream.after_output();
  if (is_receiving_) return;
  if (ending_.has_failed || !drained_.empty() || !left_.empty() || is_at_end()) return look_soon();
  owner_.count_memory();
  watch();
}

// An exception would go up to an exchange that has nothing to do with it.
void Http2Connection::send() noexcept {
  if (is_sending_ || ending_.has_failed || ending_.has_ended || ending_.due) return;
  is_sending_ = true;
  station_.loop().guard([this] { put_output(); },
                        [this] {
                          ending_.has_failed = true;
                          station_.gather().clear();
                        });
  is_sending_ = false;
}

void Http2Connection::put_output() {
  proxy::net::Gather& gather = station_.gather();
  proxy::net::Stream& stream = owner_.stream();
  for (int i = 0; i < outputs_in_a_turn; ++i) {
    gathered_ = 0;
    while (has_room()) {
      std::string_view bytes;
      if (!session_.next_output(bytes)) {
        gather.clear();  // the next one's, too
        return give_up(session_.why());
      }
      if (bytes.empty()) break;
      gather.begin_text().append(bytes);
      gather.end_text();
      gathered_ += bytes.size();
    }
    if (gather.is_empty()) return;
    gather.send(stream);
    gathered_ = 0;
    for (Http2Stream* const sent : std::exchange(sending_, {})) sent->after_output();
    if (stream.is_broken()) return look_soon();
    if (stream.pending() > 0) return;
  }
  stream.read_again_soon();
}

void Http2Connection::look_soon() { owner_.stream().read_again_soon(); }

// What several streams have had to say since the last turn.
void Http2Connection::on_next_turn() {
  station_.loop().guard(
      [this] {
        settle();
        if (!ending_.has_ended) owner_.count_memory();
      },
      [this] { owner_.on_http2_fault(); });
}

// ---- After all that has happened ---------------------------------------------------------------

void Http2Connection::settle() {
  if (ending_.has_ended) return;
  send();
  if (!drained_.empty() || !left_.empty()) {
    tell_exchanges();
    send();
  }
  if (ending_.has_failed) return owner_.on_http2_fault();
  if (ending_.due) return end(*ending_.due);
  obey_budget();
  if (station_.is_draining()) drain();
  if (is_at_end()) return end(Http2Error::none);
  if (streams_.empty()) head_.reset();  // an idle connection holds no buffer
  watch();
}

// None of them is on the stack; each may end others' streams.
void Http2Connection::tell_exchanges() {
  while (!left_.empty()) {
    Http2Stream* const stream = left_.back();
    left_.pop_back();
    stream->leave();
  }
  for (std::size_t i = 0; i < outputs_in_a_turn && !drained_.empty(); ++i) {
    Http2Stream* const stream = drained_.back();
    drained_.pop_back();
    stream->on_drained();
  }
  if (!drained_.empty()) look_soon();
}

// What waits to be sent is bounded, too: each of a client's frames may ask for one.
void Http2Connection::obey_budget() {
  const conf::ClientSettings& limits = station_.settings().client;
  constexpr std::size_t frames_of_stream = 4, others = 64;
  if (session_.output_frames() > frames_of_stream * limits.streams_per_connection +
                                     2 * std::size_t{limits.misuse_burst} + others) {
    station_.metrics().reached(Limit::misuse);
    return end(Http2Error::enhance_your_calm);
  }
  if (limits.requests_per_connection != 0 && requests_ >= limits.requests_per_connection &&
      !ending_.has_given_notice) {
    station_.metrics().reached(Limit::requests_per_connection);
    drain();
  }
  if (misuse_.state() != MisuseBudget::State::fine && !ending_.is_going_away) {
    station_.metrics().reached(Limit::misuse);
    spdlog::info("client {}: frames that help nobody (client.misuse_burst): it is told to go",
                 owner_.client_facts().address);
    go_away(Http2Error::enhance_your_calm);
  }
}

bool Http2Connection::is_at_end() {
  return ending_.due || session_.is_over() || (ending_.is_going_away && streams_.empty());
}

// ---- The end -----------------------------------------------------------------------------------

void Http2Connection::drain() {
  if (station_.spares_silent() && requests_ == 0) return;
  if (ending_.is_going_away || ending_.has_ended || std::exchange(ending_.has_given_notice, true))
    return;
  session_.give_notice();
  session_.ping();
  station_.timeouts().linger.set(notice_due_);
  send();
  look_soon();
}

void Http2Connection::on_ping_answered() {
  if (ending_.has_given_notice && !ending_.is_going_away) go_away(Http2Error::none);
}

void Http2Connection::go_away(Http2Error error) {
  ending_.is_going_away = true;
  notice_due_.cancel();
  session_.go_away(error);
  if (!is_receiving_) send();
}

void Http2Connection::give_up(Http2Error error) {
  if (!ending_.due) ending_.due = error;
}

// GOAWAY has been sent, or is as bytes where the session can send nothing.
void Http2Connection::end(Http2Error error) {
  if (ending_.has_ended) return;
  if (ending_.due) {
    if (error == Http2Error::enhance_your_calm) station_.metrics().reached(Limit::misuse);
    owner_.stream().write(session_.goodbye(error).text());
  } else if (!ending_.is_going_away && !session_.is_over()) {
    go_away(error);
  }
  leave();
  owner_.on_http2_end();
}

void Http2Connection::leave() {
  ending_.has_ended = true;
  due_.cancel();
  notice_due_.cancel();
  // A worker that one of them gives back may end another.
  for (std::size_t i = streams_.size(); i-- > 0;) {
    if (i >= streams_.size()) continue;
    streams_[i]->stop_timers();
    streams_[i]->leave();
  }
}

void Http2Connection::on_fault() {
  ending_.has_failed = ending_.has_ended = true;
  due_.cancel();
  notice_due_.cancel();
  for (std::size_t i = streams_.size(); i-- > 0;) {
    if (i >= streams_.size()) continue;
    streams_[i]->stop_timers();
    station_.loop().guard([&] { streams_[i]->on_fault(); });
  }
}

}  // namespace classgate::gateway
