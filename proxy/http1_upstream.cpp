#include "proxy/http1_upstream.h"

#include <array>
#include <cerrno>
#include <utility>

#include "conf/invariant.h"
#include "proxy/upstream_pool.h"
#include "proxy/wire/fields.h"
#include "proxy/wire/serialise.h"

namespace classgate::proxy {
namespace {

constexpr std::size_t kept_head_max = 8 * 1024;  // of heads that came in pieces

iovec part_of(std::string_view text) { return {const_cast<char*>(text.data()), text.size()}; }

}  // namespace

Http1Upstream::~Http1Upstream() { cancel(); }

bool Http1Upstream::open(UpstreamPool& pool, std::size_t server, bool fresh, int& error) {
  CLASSGATE_INVARIANT(!connection_);
  pool_ = &pool;
  stage_ = Stage::head;
  seen_answer_bytes_ = raw_has_ended_ = server_has_ended_ = false;
  partial_head_.clear();
  parser_.begin(wire::Parser::Kind::response, pool.answer_limits());
  // Last: whoever asks has no stream to cancel before this returns.
  connection_ = fresh ? pool.take_new(server, *this, error) : pool.take(server, *this, error);
  return connection_ != nullptr;
}

void Http1Upstream::forget() {
  pool_ = nullptr;
  partial_head_.clear();
  if (partial_head_.capacity() > kept_head_max) partial_head_.shrink_to_fit();
}

void Http1Upstream::cancel() {
  if (connection_) close_connection();
}

void Http1Upstream::close_connection() { pool_->discard(std::move(connection_)); }

// ---- The request -------------------------------------------------------------------------------

// Head, framing and what is there of the body in one gather write.
void Http1Upstream::send(const Request& request) {
  request_framing_ = request.framing;
  is_head_method_ = request.is_head_method;
  wants_websocket_ = request.wants_websocket;
  std::string& framing = framing_text_;
  framing.clear();
  if (request.lacks_host)
    framing.append("Host: ")
        .append(pool_->servers().authority(connection_->server()))
        .append(wire::crlf);
  std::string_view after_body;
  switch (request.framing) {
    case wire::Framing::length: wire::append_length_framing(framing, request.length); break;
    case wire::Framing::chunked:
      wire::append_chunked_framing(framing);
      if (!request.body.empty()) {
        wire::append_chunk_size(framing, request.body.size());
        after_body = wire::crlf;
      }
      break;
    default: framing += wire::no_framing; break;
  }
  std::string last_chunk;
  request_is_sent_ = request.is_whole;
  if (request.is_whole && request.framing == wire::Framing::chunked) {
    static const std::vector<wire::Parser::Trailer> no_trailers;
    wire::append_last_chunk(last_chunk, request.trailers ? *request.trailers : no_trailers);
  }
  std::array parts{part_of(request.head), part_of(framing), part_of(request.body),
                   part_of(after_body), part_of(last_chunk)};
  const std::size_t count = after_body.empty() && last_chunk.empty() ? 3 : parts.size();
  sent_at_ = pool_->loop().now();
  written_before_ = connection_->stream().bytes_written();
  connection_->stream().write(std::span(parts).first(count));
  // A connection that broke under the write may still hold an answer: let the reader find out.
  if (connection_->stream().is_broken()) connection_->stream().read_again_soon();
}

void Http1Upstream::send_body(std::string_view part) {
  if (!connection_ || part.empty()) return;
  if (request_framing_ == wire::Framing::chunked) {
    std::string size;
    wire::append_chunk_size(size, part.size());
    std::array parts{part_of(size), part_of(part), part_of(wire::crlf)};
    connection_->stream().write(parts);
  } else {
    connection_->stream().write(part);
  }
}

void Http1Upstream::end_body(const std::vector<wire::Parser::Trailer>& trailers) {
  request_is_sent_ = true;
  if (!connection_ || request_framing_ != wire::Framing::chunked) return;
  std::string last_chunk;
  wire::append_last_chunk(last_chunk, trailers);
  connection_->stream().write(last_chunk);
}

void Http1Upstream::send_raw(std::string_view bytes) {
  if (!connection_) return;
  connection_->stream().write(bytes);
  if (connection_->stream().is_broken()) connection_->stream().read_again_soon();
}

void Http1Upstream::end_raw() {
  raw_has_ended_ = true;
  go_on_ending_tunnel();
}

// Passes the client's end of a tunnel on, once all that the client said before it has gone out.
void Http1Upstream::go_on_ending_tunnel() {
  if (!connection_ || stage_ != Stage::tunnel || !raw_has_ended_ || pending() > 0) return;
  if (server_has_ended_) return complete({});
  connection_->stream().shutdown_write();
}

void Http1Upstream::on_upstream_drained() {
  if (raw_has_ended_) return go_on_ending_tunnel();
  reader_.on_upload_drained();
}

// ---- The answer --------------------------------------------------------------------------------

void Http1Upstream::resume() {
  if (connection_ && connection_->stream().may_read()) on_upstream_readable();
}

void Http1Upstream::on_upstream_readable() {
  if (stage_ == Stage::in_doubt) return look_for_proof();
  constexpr int reads_in_a_turn = 16;  // then the others' turn
  for (int i = 0; i < reads_in_a_turn; ++i) {
    if (!connection_ || reader_.is_answer_blocked()) return;
    if (!read_once()) return;
  }
  if (connection_) connection_->stream().read_again_soon();
}

// One read and what follows from it. False when there is no use in another.
bool Http1Upstream::read_once() {
  net::Stream& stream = connection_->stream();
  if (stream.is_connecting()) return false;
  if (stream.is_broken() && !stream.has_stood()) {
    lose(Lost::unreachable, Taken::no, stream.why_broken(), stream.broken_errno());
    return false;
  }
  const std::span<char> scratch = pool_->loop().read_scratch();
  const net::Stream::ReadResult result = stream.read(scratch);
  switch (result.what) {
    case net::Stream::Read::nothing_now:
      if (stream.is_broken()) on_connection_lost(false);
      return false;
    case net::Stream::Read::end: on_connection_lost(true); return false;
    case net::Stream::Read::broken: on_connection_lost(false); return false;
    case net::Stream::Read::some: break;
  }
  if (connection_->is_reused() && sent_at_ == pool_->loop().now()) {
    // It could be read in the very turn in which the request was sent, so it was there before: it
    // answers some other request.
    pool_->note_unasked(connection_->server(), {scratch.data(), result.size}, false);
    on_unasked_answer("it spoke without being asked");
    return false;
  }
  if (connection_->is_reused() && !seen_answer_bytes_ &&
      pool_->servers().may_shift_answers(connection_->server(), pool_->loop().now())) {
    on_unasked_answer("it speaks without being asked: this may answer another's request");
    return false;
  }
  seen_answer_bytes_ = true;
  if (!take({scratch.data(), result.size})) return false;
  reader_.on_answer_part_end();
  if (connection_) connection_->stream().look_again();  // the answer is not complete
  return connection_ != nullptr;
}

// False when the exchange has ended.
bool Http1Upstream::take(std::string_view bytes) {
  while (!bytes.empty() || stage_ == Stage::complete) {
    if (stage_ == Stage::head && !take_head(bytes)) return false;
    if (stage_ == Stage::body && !take_body(bytes)) return false;
    if (stage_ == Stage::tunnel && !bytes.empty())
      reader_.on_answer_body(std::exchange(bytes, std::string_view()));
    if (stage_ != Stage::complete) continue;
    complete(bytes);
    return false;
  }
  return true;
}

bool Http1Upstream::take_head(std::string_view& bytes) {
  // Kept only when it comes in pieces; what has been kept is one piece with what comes now.
  const bool in_pieces = !partial_head_.empty();
  const std::size_t before = partial_head_.size();
  if (in_pieces) partial_head_.append(bytes);
  switch (parser_.parse_head(in_pieces ? std::string_view(partial_head_) : bytes)) {
    case wire::Parser::Progress::need_more:
      if (!in_pieces) partial_head_.assign(bytes);
      bytes = {};
      return true;
    case wire::Parser::Progress::fault: refuse_head(); return false;
    case wire::Parser::Progress::done: break;
  }
  bytes.remove_prefix(parser_.head_size() - before);
  const wire::Head& head = parser_.head();
  if (head.status == 101 && wants_websocket_ && wire::names_websocket(head)) {
    stage_ = Stage::tunnel;
    framing_ = wire::Framing::until_close;
    reader_.on_switched(head);
    return connection_ != nullptr;
  }
  if (head.status == 101) {
    lose(Lost::broken, Taken::perhaps, "it switched protocols without being asked");
    return false;
  }
  if (head.status < 200) {
    reader_.on_interim_answer(head);
    partial_head_.clear();
    parser_.begin(wire::Parser::Kind::response, pool_->answer_limits());
    return true;
  }
  framing_ = wire::response_framing(head, is_head_method_);
  body_left_ = head.content_length;
  stage_ = framing_ == wire::Framing::none ? Stage::complete : Stage::body;
  listener_.on_answer_head(head, framing_);
  return connection_ != nullptr;
}

void Http1Upstream::refuse_head() {
  if (parser_.fault() == wire::Fault::header_too_large)
    lose(Lost::head_too_large, Taken::perhaps,
         "the answer's head is too large (upstream.header_bytes)");
  else
    lose(Lost::broken, Taken::perhaps, "the answer's head is malformed: " + parser_.why());
}

bool Http1Upstream::take_body(std::string_view& bytes) {
  if (bytes.empty()) return true;
  if (framing_ == wire::Framing::chunked) {
    const wire::Parser::Progress progress = parser_.parse_chunked(bytes);
    for (const std::string_view span : parser_.spans()) reader_.on_answer_body(span);
    if (progress == wire::Parser::Progress::fault) {
      lose(Lost::broken, Taken::perhaps, "the answer's chunks are malformed: " + parser_.why());
      return false;
    }
    bytes.remove_prefix(parser_.consumed());
    if (progress == wire::Parser::Progress::done) stage_ = Stage::complete;
    return true;
  }
  const std::size_t size =
      framing_ == wire::Framing::until_close
          ? bytes.size()
          : static_cast<std::size_t>(std::min<std::uint64_t>(body_left_, bytes.size()));
  reader_.on_answer_body(bytes.substr(0, size));
  bytes.remove_prefix(size);
  if (framing_ == wire::Framing::length) {
    body_left_ -= size;
    if (body_left_ == 0) stage_ = Stage::complete;
  }
  return true;
}

// `beyond`: what came behind the answer.
void Http1Upstream::complete(std::string_view beyond) {
  // Some servers send a body where there must be none (HEAD, 204, 304), a moment later: on a kept
  // connection it would be taken for the next answer. A length says nothing of that where it tells
  // what there would be (RFC 9110 section 8.6): of those who send it all the same is_silent() and
  // the pool take note.
  const wire::Head& head = parser_.head();
  const bool may_say_length = is_head_method_ || head.status == 304;
  const bool is_suspicious = framing_ == wire::Framing::none && !may_say_length &&
                             (head.framing == wire::Framing::chunked || head.content_length > 0);
  const bool is_lost = stage_ == Stage::tunnel || is_suspicious || !request_is_sent_ ||
                       pending() > 0 || head.wants_close || framing_ == wire::Framing::until_close;
  // An answer to HEAD without a length or a coding: a server that writes such answers (evhttp)
  // sends the body too. The connection is not used again, so that nobody can get it.
  const bool may_have_body = is_head_method_ && head.status != 204 && head.status != 304 &&
                             head.framing == wire::Framing::until_close;
  if (!may_have_body && is_silent(beyond, is_lost) && !is_lost)
    pool_->give_back(std::move(connection_));
  else
    close_connection();
  stage_ = Stage::head;
  listener_.on_answer_end(parser_.trailers());
}

// Whether the server has sent nothing behind its answer: neither in what was read (`beyond`) nor in
// what may still lie in the socket, when the answer filled the last read to its end.
bool Http1Upstream::is_silent(std::string_view beyond, bool is_lost) {
  if (!beyond.empty()) {
    pool_->note_unasked(connection_->server(), beyond, is_lost);
    return false;
  }
  if (is_lost) return true;
  std::array<char, 256> words;  // the scratch may hold what is being sent to the client
  net::Stream& stream = connection_->stream();
  while (stream.may_read()) {
    const net::Stream::ReadResult result = stream.read(words);
    if (result.what == net::Stream::Read::nothing_now) break;
    if (result.what == net::Stream::Read::some)
      pool_->note_unasked(connection_->server(), {words.data(), result.size}, false);
    return false;
  }
  return true;
}

// ---- What becomes of it when there is none -----------------------------------------------------

void Http1Upstream::on_connection_lost(bool ended) {
  if (stage_ == Stage::tunnel) return on_tunnel_lost(ended);
  if (ended && stage_ == Stage::body && framing_ == wire::Framing::until_close) return complete({});
  const std::string why = connection_->stream().why_broken();
  lose(Lost::broken, was_taken(), ended || why.empty() ? "it closed the connection" : why);
}

// A server that ends its direction of a tunnel (FIN) may still listen. Any other loss, such as a
// reset, is the end of both directions.
void Http1Upstream::on_tunnel_lost(bool ended) {
  if (!ended || connection_->stream().is_broken()) return complete({});
  if (std::exchange(server_has_ended_, true)) return;
  if (raw_has_ended_) return go_on_ending_tunnel();
  reader_.on_server_ended();
}

void Http1Upstream::on_unasked_answer(const char* why) {
  connection_->stream().reset_on_close();
  lose(Lost::broken, was_taken(), why);
}

void Http1Upstream::on_connect_timeout() {
  lose(Lost::unreachable, Taken::no, "no answer to the connection attempt", ETIMEDOUT);
}

// While it may still be proven whether it was taken, the connection stays.
void Http1Upstream::lose(Lost what, Taken taken, std::string why, int error) {
  if (taken == Taken::not_known_yet)
    why_lost_ = why;
  else
    close_connection();
  stage_ = Stage::head;
  listener_.on_lost({.what = what,
                     .why = std::move(why),
                     .error = error,
                     .taken = taken,
                     .answer_has_begun = seen_answer_bytes_});
}

void Http1Upstream::await_proof() {
  stage_ = Stage::in_doubt;
  connection_->await_proof();
}

void Http1Upstream::look_for_proof() {
  const Taken taken = was_taken();
  if (taken != Taken::not_known_yet) lose(Lost::broken, taken, std::move(why_lost_));
}

void Http1Upstream::on_proof_timeout() { lose(Lost::broken, Taken::perhaps, std::move(why_lost_)); }

// The proof is in the class comment.
UpstreamStream::Taken Http1Upstream::was_taken() {
  const net::Stream& stream = connection_->stream();
  if (stream.bytes_written() == written_before_) return Taken::no;
  const auto facts = stream.peer_facts();
  if (!facts || facts->bytes_acknowledged > written_before_) return Taken::perhaps;
  if (!facts->is_over) return Taken::not_known_yet;
  return facts->has_ended ? Taken::no : Taken::perhaps;
}

}  // namespace classgate::proxy
