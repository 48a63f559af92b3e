#include "proxy/http2_upstream_connection.h"

#include <algorithm>
#include <utility>

#include "conf/format.h"
#include "conf/invariant.h"
#include "conf/printable.h"
#include "proxy/upstream_pool.h"

namespace classgate::proxy {

using wire::Http2Error;

namespace {

constexpr std::size_t upstream_output_room = 64 * 1024;  // bytes that are made at once
constexpr std::size_t kept_output = 16 * 1024;           // of its buffer, while nothing is said
constexpr int reads_of_http2_in_a_turn = 16;             // then the others' turn
constexpr int tells_in_a_turn = 16;                      // likewise

// The first frame is SETTINGS (RFC 9113 section 3.4), whatever its length.
bool may_be_http2(std::string_view first) {
  constexpr std::size_t type_at = 3;
  return first.size() <= type_at ||
         first[type_at] == static_cast<char>(wire::Http2FrameType::settings);
}

// A stream's window is what comes for a reader that has stopped reading; the connection's is
// opened as soon as something comes, so that no stream waits for another one's reader.
wire::Http2Limits limits_towards_server(const UpstreamPool& pool) {
  constexpr std::uint32_t least_window = 64 * 1024, of_connection = 16 * 1024 * 1024;
  constexpr std::uint64_t most_window = of_connection;
  const auto window = static_cast<std::uint32_t>(std::min(pool.answer_window(), most_window));
  return {.streams = 0,
          .stream_window = std::max(window, least_window),
          .connection_window = of_connection,
          .header_list_bytes = static_cast<std::uint32_t>(pool.answer_limits().header_bytes),
          .acknowledgements = 1000};
}

}  // namespace

Http2UpstreamConnection::Http2UpstreamConnection(UpstreamPool& pool, Owner& owner,
                                                 std::size_t server)
    : loop_(pool.loop()), pool_(pool), owner_(owner), server_(server), due_(on_timeout, this) {}

Http2UpstreamConnection::~Http2UpstreamConnection() { loop_.forget_deferred(*this); }

int Http2UpstreamConnection::connect(bool is_of_check) {
  int error = 0;
  connection_ = pool_.connect(server_, *this, true, error);
  if (connection_ && is_of_check) connection_->belong_to_check();
  return connection_ ? 0 : error;
}

const wire::HeadLimits& Http2UpstreamConnection::answer_limits() const {
  return pool_.answer_limits();
}

std::string_view Http2UpstreamConnection::authority() const {
  return pool_.servers().authority(server_);
}

std::size_t Http2UpstreamConnection::room() const {
  if (!connection_ || ending_.is_going_away || ending_.is_isolated || !why_failed_.empty())
    return 0;
  const std::size_t wanted = pool_.settings().streams_per_connection;
  const std::size_t allowed =
      has_settings_ ? session_->most_requests() : pool_.streams_allowed(server_);
  const std::size_t most = std::min(wanted, allowed);
  return most > streams_.size() ? most - streams_.size() : 0;
}

Http2Upstream& Http2UpstreamConnection::open(UpstreamStream::Listener& listener,
                                             UpstreamStream::Reader& reader, bool is_counted) {
  streams_.push_back(std::make_unique<Http2Upstream>(*this, listener, reader, is_counted));
  streams_.back()->index = streams_.size() - 1;
  closed_.reserve(streams_.size());  // who ends asks for no memory
  sending_.reserve(streams_.size());
  watch();
  return *streams_.back();
}

void Http2UpstreamConnection::remove(Http2Upstream& stream) {
  const std::size_t index = stream.index;
  CLASSGATE_INVARIANT(index < streams_.size() && streams_[index].get() == &stream);
  std::erase(closed_, &stream);
  std::erase(sending_, &stream);
  if (current_ == &stream) current_ = nullptr;
  owner_.on_stream_over(*this, stream);
  std::swap(streams_[index], streams_.back());
  streams_[index]->index = index;
  std::unique_ptr<Http2Upstream> gone = std::move(streams_.back());
  streams_.pop_back();
  loop().retire(std::move(gone));
  // The others wait for nothing; whether it ends now is seen when nobody is told of anything.
  if (streams_.empty() && !is_busy() && connection_) connection_->stream().read_again_soon();
}

std::size_t Http2UpstreamConnection::held_bytes() const {
  std::size_t bytes = sizeof *this + output_.capacity() + answer_head_.held_bytes();
  if (session_) bytes += session_->held_bytes();
  if (connection_) bytes += connection_->stream().held_bytes();
  return bytes;
}

std::size_t Http2UpstreamConnection::share_of_memory() const {
  return streams_.empty() ? 0 : held_bytes() / streams_.size();
}

void Http2UpstreamConnection::fail(std::string why) {
  if (why_failed_.empty()) why_failed_ = std::move(why);
}

std::string Http2UpstreamConnection::why_closed(Http2Error error) const {
  if (!why_failed_.empty()) return why_failed_;
  if (gone_by_ && error == Http2Error::refused_stream)
    return "it took no more requests on this connection (GOAWAY " + text_of_http2_error(*gone_by_) +
           ")";
  return "it reset the stream (" + text_of_http2_error(error) + ")";
}

// ---- The beginning -----------------------------------------------------------------------------

void Http2UpstreamConnection::on_upstream_drained() {
  if (!connection_) return;
  if (!session_) return on_stood();
  settle();
}

void Http2UpstreamConnection::on_stood() {
  if (connection_->stream().is_broken()) return on_upstream_readable();
  const net::TlsSession* const tls = connection_->stream().tls();
  if (tls != nullptr && !tls->chose_http2()) {
    due_.cancel();
    owner_.on_http1_chosen(std::move(connection_));
    lose_all(UpstreamStream::Lost::elsewhere, "it chose HTTP/1.1 (ALPN)");
    return owner_.on_connection_over(*this);
  }
  wire::Http2Session::Handler& handler = *this;
  session_ = std::make_unique<wire::Http2Session>(handler, limits_towards_server(pool_),
                                                  wire::Http2Role::client);
  settle();
}

// The streams that were opened before it was known how many there may be.
void Http2UpstreamConnection::begin_waiting() {
  pool_.note_streams_allowed(server_, session_->most_requests());
  const std::size_t most =
      std::min<std::size_t>(pool_.settings().streams_per_connection, session_->most_requests());
  std::vector<Http2Upstream*> waiting;
  std::size_t begun = 0;
  for (const auto& stream : streams_)
    if (stream->is_waiting())
      waiting.push_back(stream.get());
    else
      ++begun;
  for (Http2Upstream* const stream : waiting) {
    // Each of those that are told may end others.
    if (stream->is_over()) continue;
    if (begun++ < most && !ending_.is_going_away) {
      stream->submit();
      if (!stream->is_over()) on_output(*stream);
    } else {
      stream->lose({.what = UpstreamStream::Lost::elsewhere,
                    .why = ending_.is_going_away
                               ? "it says that it takes no more on this connection (GOAWAY)"
                               : fmt::format("it takes {} requests at once on a connection "
                                             "(MAX_CONCURRENT_STREAMS)",
                                             session_->most_requests()),
                    .taken = UpstreamStream::Taken::no});
    }
  }
}

void Http2UpstreamConnection::send_soon(Http2Upstream& stream) {
  if (!has_settings_) return;  // begin_waiting()
  stream.submit();
  flush_soon();
}

wire::Http2StreamId Http2UpstreamConnection::begin_request(wire::Http2Session::Stream& stream,
                                                           std::string_view head,
                                                           const wire::Http2Request::Facts& facts,
                                                           bool has_body) {
  request_fields_.take(head, facts);
  const wire::Http2StreamId id = session_->send_request(request_fields_.list(), has_body, stream);
  if (id == 0) ending_.is_going_away = true;
  return id;
}

void Http2UpstreamConnection::add_trailers(wire::Http2StreamId id,
                                           const std::vector<wire::Parser::Trailer>& trailers) {
  request_fields_.take_trailers(trailers);
  session_->add_trailers(id, request_fields_.list());
}

// ---- What comes --------------------------------------------------------------------------------

void Http2UpstreamConnection::on_upstream_readable() {
  if (!connection_) return;
  for (int i = 0; i < reads_of_http2_in_a_turn; ++i) {
    if (!read_once()) break;
    settle();
    if (!connection_) return;
    if (i + 1 == reads_of_http2_in_a_turn) connection_->stream().read_again_soon();
  }
  if (connection_) settle();
}

// One read and what follows from it. False when there is no use in another.
bool Http2UpstreamConnection::read_once() {
  net::Stream& stream = connection_->stream();
  if (stream.is_connecting()) return false;
  if (stream.is_broken() && !stream.has_stood()) {
    lose_all(UpstreamStream::Lost::unreachable, stream.why_broken(), stream.broken_errno());
    end();
    return false;
  }
  if (!session_ || !stream.may_read()) {
    if (stream.is_broken()) on_lost(false);
    return false;
  }
  const std::span<char> buffer = pool_.read_buffer();
  const net::Stream::ReadResult result = stream.read(buffer);
  switch (result.what) {
    case net::Stream::Read::nothing_now:
      if (stream.is_broken()) on_lost(false);
      return false;
    case net::Stream::Read::end: on_lost(true); return false;
    case net::Stream::Read::broken: on_lost(false); return false;
    case net::Stream::Read::some: break;
  }
  receive({buffer.data(), result.size});
  return true;
}

void Http2UpstreamConnection::receive(std::string_view bytes) {
  if (bytes_read_ == 0 && !may_be_http2(bytes))
    return fail("it does not speak HTTP/2, as h2c:// in servers says: it answered \"" +
                conf::printable(bytes.substr(0, std::min<std::size_t>(bytes.find('\r'), 40))) +
                "\"");
  bytes_read_ += bytes.size();
  if (wait_ == Wait::silence || wait_ == Wait::ping) wait_ = Wait::nothing;  // set anew
  busy_.is_receiving = true;
  // An exception of one stream's has ended that one; this is one of the session's own.
  loop().guard(
      [&] {
        if (!session_->receive(bytes))
          fail("it broke a rule of HTTP/2 (" + text_of_http2_error(session_->why()) + ")");
      },
      [this] { fail("the connection failed within the gateway: see the log"); });
  busy_.is_receiving = false;
  end_part();
  if (!streams_.empty() && !connection_->stream().is_broken()) connection_->stream().look_again();
}

void Http2UpstreamConnection::on_go_away(wire::Http2StreamId, Http2Error error) {
  ending_.is_going_away = true;
  gone_by_ = error;
}

// Whoever has something to say has written out what came before it.
void Http2UpstreamConnection::touch(Http2Upstream& stream) {
  if (current_ == &stream) return;
  end_part();
  current_ = &stream;
}

void Http2UpstreamConnection::end_part() {
  if (current_ != nullptr) std::exchange(current_, nullptr)->tell_part_end();
}

// ---- What goes out -----------------------------------------------------------------------------

bool Http2UpstreamConnection::has_room() const {
  return output_.size() + connection_->stream().pending() < upstream_output_room;
}

void Http2UpstreamConnection::on_output(Http2Upstream& stream) {
  if (std::ranges::find(sending_, &stream) == sending_.end()) sending_.push_back(&stream);
}

void Http2UpstreamConnection::flush_soon() {
  if (connection_ && session_ && !is_busy()) loop().call_next_turn(*this);
}

// When something is going on, it is sent at the end of that.
void Http2UpstreamConnection::flush() {
  if (!connection_ || !session_ || is_busy()) return;
  send();
  if (has_news() || !why_failed_.empty() || streams_.empty() || session_->is_over())
    connection_->stream().read_again_soon();
}

// An exception would go up to a request that has nothing to do with it.
void Http2UpstreamConnection::send() noexcept {
  if (busy_.is_sending || !connection_ || !session_ || !why_failed_.empty()) return;
  busy_.is_sending = true;
  loop().guard([this] { put_output(); },
               [this] { fail("the connection failed within the gateway: see the log"); });
  busy_.is_sending = false;
}

void Http2UpstreamConnection::put_output() {
  net::Stream& stream = connection_->stream();
  while (!stream.is_broken()) {
    while (has_room()) {
      std::string_view bytes;
      if (!session_->next_output(bytes)) return fail("what is to be said to it can't be written");
      if (bytes.empty()) break;
      output_.append(bytes);
    }
    if (output_.empty()) break;
    stream.write(output_);
    bytes_given_ += output_.size();
    output_.clear();
    if (stream.pending() > 0) break;
  }
  if (output_.capacity() > kept_output) output_.shrink_to_fit();
  std::erase_if(sending_, [](Http2Upstream* stream_of) {
    stream_of->after_output();
    return !stream_of->waits_to_drain();
  });
  if (stream.is_broken()) stream.read_again_soon();
}

std::uint64_t Http2UpstreamConnection::bytes_taken() const {
  if (!connection_) return 0;
  return bytes_given_ - std::min<std::uint64_t>(bytes_given_, connection_->stream().pending());
}

// ---- After all that has happened ---------------------------------------------------------------

// Nobody's call is on the stack that could not bear to be told.
void Http2UpstreamConnection::settle() {
  if (busy_.is_settling || !connection_) return;
  busy_.is_settling = true;
  if (session_) {
    if (has_settings_ && !has_greeted_) {
      has_greeted_ = true;
      begin_waiting();
    }
    send();
    for (int i = 0; i < tells_in_a_turn && has_news(); ++i) {
      tell_streams();
      send();
    }
    if (has_news()) connection_->stream().read_again_soon();
  }
  busy_.is_settling = false;
  if (why_failed_.empty() && session_ && session_->is_over()) {
    if (streams_.empty()) return end();
    fail("it broke a rule of HTTP/2");
  }
  if (!why_failed_.empty()) {
    lose_all(UpstreamStream::Lost::broken, why_failed_);
    return end();
  }
  if (streams_.empty() && (ending_.is_going_away || ending_.is_isolated)) return end();
  watch();
}

void Http2UpstreamConnection::tell_streams() {
  while (!closed_.empty()) {
    Http2Upstream* const stream = closed_.back();
    closed_.pop_back();
    stream->tell_closed();
  }
  while (!sending_.empty()) {
    Http2Upstream* const stream = sending_.back();
    sending_.pop_back();
    stream->tell_drained();
  }
}

}  // namespace classgate::proxy
