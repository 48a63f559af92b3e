#include "proxy/http2_upstream.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "conf/format.h"
#include "conf/invariant.h"
#include "proxy/http2_upstream_connection.h"
#include "proxy/wire/http2_head.h"

namespace classgate::proxy {

using wire::Http2Error;

namespace {

constexpr unsigned interims_max = 100;  // answers that are none yet (1xx), of one request

std::string_view word_of_error(Http2Error error) {
  switch (error) {
    case Http2Error::none: return "NO_ERROR";
    case Http2Error::protocol_error: return "PROTOCOL_ERROR";
    case Http2Error::internal_error: return "INTERNAL_ERROR";
    case Http2Error::refused_stream: return "REFUSED_STREAM";
    case Http2Error::cancel: return "CANCEL";
    case Http2Error::enhance_your_calm: return "ENHANCE_YOUR_CALM";
    default: return "";
  }
}

}  // namespace

// RFC 9113 section 7; those that are rare by their number.
std::string text_of_http2_error(Http2Error error) {
  const std::string_view word = word_of_error(error);
  return word.empty() ? fmt::format("error {}", static_cast<std::uint32_t>(error))
                      : std::string(word);
}

template <typename Deed>
void Http2Upstream::guard(Deed&& deed) {
  connection_.loop().guard(std::forward<Deed>(deed), [this] { on_fault(); });
}

// Whoever it is for gives it up; if that is too much asked, it ends all the same.
void Http2Upstream::on_fault() {
  if (!is_over_) reader_.on_fault();
  cancel();
}

// ---- The request -------------------------------------------------------------------------------

void Http2Upstream::send(const Request& request) {
  CLASSGATE_INVARIANT(!is_over_ && !is_submitted_ && id_ == 0);
  request_ = request;
  upload_.first = request.body;
  upload_.is_whole = request.is_whole;
  if (upload_.is_whole && request.trailers != nullptr) upload_.trailers = *request.trailers;
  upload_.waits_to_drain = !upload_.is_whole;
  connection_.send_soon(*this);
}

void Http2Upstream::submit() {
  const bool has_body = request_.framing != wire::Framing::none || !upload_.is_whole ||
                        upload_.unsent() > 0 || !upload_.trailers.empty();
  const bool says_length = request_.framing == wire::Framing::length;
  // A length of nothing needs no frame to say so.
  const bool ends_with_head =
      !has_body || (upload_.is_whole && upload_.unsent() == 0 && upload_.trailers.empty());
  is_submitted_ = true;
  id_ = connection_.begin_request(*this, request_.head,
                                  {.is_encrypted = connection_.is_encrypted(),
                                   .authority = connection_.authority(),
                                   .says_length = says_length,
                                   .length = request_.length,
                                   .never_indexed = request_.never_indexed},
                                  !ends_with_head);
  if (id_ != 0) return;
  is_submitted_ = false;
  lose({.what = Lost::elsewhere,
        .why = "its connection has had all the requests it can have",
        .taken = Taken::no});
}

void Http2Upstream::send_body(std::string_view part) {
  if (is_over_ || part.empty()) return;
  upload_.kept.append(part);
  if (id_ == 0) return;
  connection_.session().resume(id_);
  connection_.flush();
  look_for_drain();
}

void Http2Upstream::end_body(const std::vector<wire::Parser::Trailer>& trailers) {
  if (is_over_ || upload_.is_whole) return;
  upload_.is_whole = true;
  upload_.trailers = trailers;
  if (id_ == 0) return;
  connection_.session().resume(id_);
  connection_.flush();
}

void Http2Upstream::send_raw(std::string_view) { CLASSGATE_INVARIANT(false); }
void Http2Upstream::end_raw() { CLASSGATE_INVARIANT(false); }

// While it waits its client is to send nothing that would have to go with it elsewhere.
std::size_t Http2Upstream::pending() const {
  if (is_over_) return 0;
  if (is_waiting())
    return upload_.is_whole ? upload_.unsent() : std::numeric_limits<std::size_t>::max() / 2;
  return upload_.unsent();
}

wire::Http2Session::Stream::Ready Http2Upstream::ready(std::size_t most) {
  if (!connection_.has_room()) return {.waits_for_room = true};
  const std::size_t all = upload_.unsent();
  Ready ready{.size = std::min(most, all), .is_all = upload_.is_whole && all <= most};
  ready.has_trailers = ready.is_all && !upload_.trailers.empty();
  if (ready.has_trailers) connection_.add_trailers(id_, upload_.trailers);
  return ready;
}

void Http2Upstream::put_frame(std::string_view head, std::size_t size) {
  std::string& out = connection_.output();
  out.append(head);
  const std::size_t of_first = std::min(size, upload_.first.size());
  out.append(upload_.first.substr(0, of_first));
  upload_.first.remove_prefix(of_first);
  out.append(upload_.kept, upload_.kept_begin, size - of_first);
  upload_.kept_begin += size - of_first;
  connection_.on_output(*this);
}

// Not within ready() and put_frame(): a buffer that has been sent goes.
void Http2Upstream::after_output() {
  if (upload_.kept_begin == 0 || upload_.kept_begin < upload_.kept.size() / 2) return;
  upload_.kept.erase(0, std::exchange(upload_.kept_begin, 0));
  if (upload_.kept.empty()) upload_.kept.shrink_to_fit();
}

void Http2Upstream::on_request_sent() {
  is_head_sent_ = true;
  head_at_ = connection_.bytes_made();
}

void Http2Upstream::on_answer_sent() { upload_.is_all_sent = true; }

void Http2Upstream::look_for_drain() {
  upload_.waits_to_drain = upload_.waits_to_drain || upload_.unsent() > 0;
}

void Http2Upstream::tell_drained() {
  if (is_over_ || is_waiting() || upload_.unsent() > 0 ||
      !std::exchange(upload_.waits_to_drain, false))
    return;
  guard([this] { reader_.on_upload_drained(); });
}

// ---- The answer --------------------------------------------------------------------------------

void Http2Upstream::on_field(std::string_view name, std::string_view value) {
  take_field(name, value, false);
}

void Http2Upstream::on_never_indexed_field(std::string_view name, std::string_view value) {
  take_field(name, value, true);
}

void Http2Upstream::take_field(std::string_view name, std::string_view value,
                               bool is_never_indexed) {
  if (is_over_) return;
  if (answer_.has_head) return take_trailer(name, value);
  begin_head();
  connection_.answer_head().add(name, value, is_never_indexed);
  if (connection_.answer_head().is_flood())
    connection_.fail("the head of an answer is many times upstream.header_bytes");
}

// No other stream's fields come between (RFC 9113 section 4.3).
void Http2Upstream::begin_head() {
  if (!std::exchange(answer_.is_in_head, true))
    connection_.answer_head().begin(connection_.answer_limits());
}

void Http2Upstream::take_trailer(std::string_view name, std::string_view value) {
  constexpr std::size_t overhead = 32;  // RFC 9113 section 10.5.1
  const wire::HeadLimits& limits = connection_.answer_limits();
  answer_.trailer_bytes += name.size() + value.size() + overhead;
  if (answer_.trailer_bytes > limits.header_bytes || answer_.trailers.size() >= limits.header_count)
    return refuse(Lost::broken, "the answer's trailers are too large (upstream.header_bytes)");
  if (!wire::Http2Head::is_good_trailer(name, value))
    return refuse(Lost::broken, "the answer's trailers are malformed");
  answer_.trailers.push_back({std::string(name), std::string(value)});
}

void Http2Upstream::on_fields_end(bool ends_stream) {
  if (is_over_) return;
  connection_.on_sign_of_life();
  if (answer_.has_head) {
    if (!ends_stream) refuse(Lost::broken, "the answer's trailers are not its end");
    return;
  }
  begin_head();
  answer_.is_in_head = false;
  wire::Http2AnswerHead& fields = connection_.answer_head();
  const wire::Fault fault = fields.finish(ends_stream, request_.is_head_method);
  if (fault == wire::Fault::header_too_large)
    return refuse(Lost::head_too_large, "the answer's head is too large (upstream.header_bytes)");
  if (fault != wire::Fault::none)
    return refuse(Lost::broken, "the answer's head is malformed: " + fields.why());
  connection_.touch(*this);
  const wire::Head& head = fields.head();
  if (head.status < 200) return take_interim();
  answer_.has_head = true;
  guard([&] {
    keep_rest();
    listener_.on_answer_head(head, wire::response_framing(head, request_.is_head_method));
  });
}

// Interim answers are under no window: who has not read the last ones gets no more.
void Http2Upstream::take_interim() {
  if (++answer_.interims > interims_max)
    return refuse(Lost::broken, "it answers with 1xx without end");
  guard([this] {
    if (!reader_.is_answer_blocked()) reader_.on_interim_answer(connection_.answer_head().head());
  });
}

// What is left of the request's body: whoever gave it need not keep it any longer.
void Http2Upstream::keep_rest() {
  if (upload_.first.empty()) return;
  upload_.kept.insert(0, std::exchange(upload_.first, {}));
}

void Http2Upstream::on_body(std::string_view part) {
  if (is_over_ || !answer_.has_head) return;
  connection_.on_sign_of_life();
  connection_.touch(*this);
  answer_.uncredited += part.size();
  guard([&] { reader_.on_answer_body(part); });
}

void Http2Upstream::tell_part_end() {
  if (is_over_) return;
  guard([this] { reader_.on_answer_part_end(); });
  give_credit();
}

// As much more may come as has come, once its reader has room.
void Http2Upstream::give_credit() {
  if (is_over_ || id_ == 0 || is_closed_ || answer_.uncredited == 0) return;
  guard([this] {
    if (!reader_.is_answer_blocked())
      connection_.session().took(id_, std::exchange(answer_.uncredited, 0));
  });
}

void Http2Upstream::resume() {
  if (is_over_ || answer_.uncredited == 0) return;
  give_credit();
  connection_.flush_soon();
}

// The answer's last byte.
void Http2Upstream::on_request_end() {
  if (is_over_ || !answer_.has_head) return;
  connection_.touch(*this);
  // Of a request that has its answer nothing more is sent (RFC 9113 section 8.1).
  finish(Http2Error::none);
  guard([this] { listener_.on_answer_end(answer_.trailers); });
}

// ---- The end -----------------------------------------------------------------------------------

// Within receive() or next_output(): who it is for hears of it afterwards.
void Http2Upstream::on_closed(Http2Error error) {
  is_closed_ = true;
  closed_by_ = error;
  if (!is_over_) connection_.on_closed(*this);
}

void Http2Upstream::tell_closed() {
  if (is_over_) return;
  if (!is_head_sent_)
    return lose({.why = "its connection ended before the request was sent", .taken = Taken::no});
  const bool was_refused = closed_by_ == Http2Error::refused_stream;
  if (was_refused) connection_.on_refused();
  lose({.why = connection_.why_closed(closed_by_),
        .taken = was_refused && !answer_.has_head ? Taken::no : Taken::perhaps,
        .was_declined = was_refused});
}

void Http2Upstream::refuse(Lost what, std::string why) {
  if (is_over_) return;
  finish(Http2Error::protocol_error);
  guard([&] {
    listener_.on_lost({.what = what,
                       .why = std::move(why),
                       .error = 0,
                       .taken = Taken::perhaps,
                       .answer_has_begun = answer_.has_begun()});
  });
}

void Http2Upstream::lose(Loss loss) {
  if (is_over_) return;
  finish(Http2Error::cancel);
  loss.answer_has_begun = answer_.has_begun();
  guard([&] { listener_.on_lost(loss); });
}

// Never: each loss says whether it was taken.
void Http2Upstream::await_proof() { CLASSGATE_INVARIANT(false); }

void Http2Upstream::cancel() {
  if (is_over_) return;
  finish(Http2Error::cancel);
  connection_.flush_soon();
}

// It is over: nobody hears of it any more, nghttp2 least of all. With a stream that is not closed
// on both sides the server hears `error`.
void Http2Upstream::finish(Http2Error error) {
  is_over_ = true;
  upload_.first = {};
  const bool is_done = error == Http2Error::none && upload_.is_all_sent;
  if (const auto id = std::exchange(id_, 0); id != 0 && !is_closed_) {
    connection_.session().forget(id);
    if (!is_done)
      connection_.session().reset(id, error == Http2Error::none ? Http2Error::cancel : error);
  }
  connection_.remove(*this);
}

void Http2Upstream::note_late() {
  if (!is_over_) connection_.doubt();
}

std::size_t Http2Upstream::held_bytes() const {
  return sizeof *this + upload_.kept.capacity() + answer_.trailer_bytes +
         connection_.share_of_memory();
}

}  // namespace classgate::proxy
