#include "proxy/forwarding.h"

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include "conf/invariant.h"
#include "proxy/wire/fields.h"

namespace classgate::proxy {
namespace {

constexpr std::size_t kept_head_max = 8 * 1024;  // of heads that came in pieces

iovec part_of(std::string_view text) { return {const_cast<char*>(text.data()), text.size()}; }

std::string message_of(int error) { return std::generic_category().message(error); }

}  // namespace

Forwarding::~Forwarding() { cancel(); }

void Forwarding::cancel() {
  if (connection_) close_connection();
}

void Forwarding::forget() {
  pool_ = nullptr;
  server_ = UpstreamPool::none;
  retries_ = 0;
  retry_was_denied_ = false;
  request_ = {};
  partial_head_.clear();
  if (partial_head_.capacity() > kept_head_max) partial_head_.shrink_to_fit();
}

void Forwarding::close_connection() { pool_->discard(std::move(connection_)); }

const std::string& Forwarding::server_name() const {
  static const std::string nobody = "-";
  return server_ == UpstreamPool::none ? nobody : pool_->servers().name(server_);
}

void Forwarding::start(UpstreamPool& pool, const Request& request) {
  CLASSGATE_INVARIANT(!connection_);
  pool_ = &pool;
  request_ = request;
  retries_ = 0;
  unreachable_count_ = 0;
  was_sent_again_ = retry_was_denied_ = false;
  raw_has_ended_ = server_has_ended_ = false;
  seen_answer_bytes_ = body_went_on_ = retry_is_forbidden_ = false;
  pool_->retry_budget().on_request();
  server_ = pool_->choose_server();
  if (server_ == UpstreamPool::none) return fail(Failure::no_server, "no server is up");
  connect(false);
}

void Forwarding::connect(bool fresh) {
  int error = 0;
  connection_ = fresh ? pool_->take_new(server_, *this, error) : pool_->take(server_, *this, error);
  if (!connection_) {
    // Another loop was quicker to take the server's last place.
    if (error == EBUSY) return fail(Failure::no_server, "it has all the requests it may have");
    if (UpstreamPool::is_our_fault(error)) return fail(Failure::unreachable, message_of(error));
    return on_unreachable(message_of(error), error);
  }
  stage_ = Stage::head;
  partial_head_.clear();
  parser_.begin(wire::Parser::Kind::response, pool_->answer_limits());
  send_request();
}

// Head, framing and what is there of the body in one gather write.
void Forwarding::send_request() {
  std::string& framing = framing_text_;
  framing.clear();
  if (request_.lacks_host)
    framing.append("Host: ").append(pool_->servers().authority(server_)).append(wire::crlf);
  std::string_view after_body;
  switch (request_.framing) {
    case wire::Framing::length: wire::append_length_framing(framing, request_.length); break;
    case wire::Framing::chunked:
      wire::append_chunked_framing(framing);
      if (!request_.body.empty()) {
        wire::append_chunk_size(framing, request_.body.size());
        after_body = wire::crlf;
      }
      break;
    default: framing += wire::no_framing; break;
  }
  std::string last_chunk;
  request_is_sent_ = request_.is_whole;
  if (request_.is_whole && request_.framing == wire::Framing::chunked) {
    static const std::vector<wire::Parser::Trailer> no_trailers;
    wire::append_last_chunk(last_chunk, request_.trailers ? *request_.trailers : no_trailers);
  }
  std::array parts{part_of(request_.head), part_of(framing), part_of(request_.body),
                   part_of(after_body), part_of(last_chunk)};
  const std::size_t count = after_body.empty() && last_chunk.empty() ? 3 : parts.size();
  sent_at_ = pool_->loop().now();
  written_before_ = connection_->stream().bytes_written();
  connection_->stream().write(std::span(parts).first(count));
  // A connection that broke under the write may still hold an answer: let the reader find out.
  if (connection_->stream().is_broken()) connection_->stream().read_again_soon();
}

void Forwarding::send_body(std::string_view part) {
  if (!connection_ || part.empty()) return;
  body_went_on_ = true;
  if (request_.framing == wire::Framing::chunked) {
    std::string size;
    wire::append_chunk_size(size, part.size());
    std::array parts{part_of(size), part_of(part), part_of(wire::crlf)};
    connection_->stream().write(parts);
  } else {
    connection_->stream().write(part);
  }
}

void Forwarding::end_body(const std::vector<wire::Parser::Trailer>& trailers) {
  request_is_sent_ = true;
  // For a second attempt. Either the whole body is still in request_.body, or parts of it have gone
  // by, and then there is no second attempt (body_went_on_).
  request_.is_whole = true;
  request_.trailers = &trailers;
  if (!connection_ || request_.framing != wire::Framing::chunked) return;
  std::string last_chunk;
  wire::append_last_chunk(last_chunk, trailers);
  connection_->stream().write(last_chunk);
}

void Forwarding::send_raw(std::string_view bytes) {
  if (!connection_) return;
  connection_->stream().write(bytes);
  if (connection_->stream().is_broken()) connection_->stream().read_again_soon();
}

void Forwarding::end_raw() {
  raw_has_ended_ = true;
  go_on_ending_tunnel();
}

// Passes the client's end of a tunnel on, once all that the client said before it has gone out.
void Forwarding::go_on_ending_tunnel() {
  if (!connection_ || stage_ != Stage::tunnel || !raw_has_ended_ || upload_pending() > 0) return;
  if (server_has_ended_) return complete({});
  connection_->stream().shutdown_write();
}

std::size_t Forwarding::upload_pending() const {
  return connection_ ? connection_->stream().pending() : 0;
}

void Forwarding::on_upstream_drained() {
  if (raw_has_ended_) return go_on_ending_tunnel();
  client_.on_upload_drained();
}

void Forwarding::resume() {
  if (connection_ && connection_->stream().may_read()) on_upstream_readable();
}

void Forwarding::on_upstream_readable() {
  if (stage_ == Stage::in_doubt) return look_for_proof();
  constexpr int reads_in_a_turn = 16;  // then the others' turn
  for (int i = 0; i < reads_in_a_turn; ++i) {
    if (!connection_ || client_.is_answer_blocked()) return;
    if (!read_once()) return;
  }
  if (connection_) connection_->stream().read_again_soon();
}

// One read and what follows from it. False when there is no use in another.
bool Forwarding::read_once() {
  net::Stream& stream = connection_->stream();
  if (stream.is_connecting()) return false;
  if (stream.is_broken() && !stream.has_stood()) {
    on_unreachable(stream.why_broken(), stream.broken_errno());
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
    pool_->note_unasked(server_, {scratch.data(), result.size}, false);
    on_unasked_answer("it spoke without being asked");
    return false;
  }
  if (connection_->is_reused() && !seen_answer_bytes_ &&
      pool_->servers().may_shift_answers(server_, pool_->loop().now())) {
    on_unasked_answer("it speaks without being asked: this may answer another's request");
    return false;
  }
  seen_answer_bytes_ = true;
  if (!take({scratch.data(), result.size})) return false;
  client_.on_answer_part_end();
  if (connection_) connection_->stream().look_again();  // the answer is not complete
  return connection_ != nullptr;
}

// False when the exchange has ended.
bool Forwarding::take(std::string_view bytes) {
  while (!bytes.empty() || stage_ == Stage::complete) {
    if (stage_ == Stage::head && !take_head(bytes)) return false;
    if (stage_ == Stage::body && !take_body(bytes)) return false;
    if (stage_ == Stage::tunnel && !bytes.empty())
      client_.on_answer_body(std::exchange(bytes, std::string_view()));
    if (stage_ != Stage::complete) continue;
    complete(bytes);
    return false;
  }
  return true;
}

bool Forwarding::take_head(std::string_view& bytes) {
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
  if (head.status == 101 && request_.wants_websocket && wire::names_websocket(head)) {
    stage_ = Stage::tunnel;
    framing_ = wire::Framing::until_close;
    client_.on_switched(head);
    return connection_ != nullptr;
  }
  if (head.status == 101) {
    close_connection();
    fail_at_server(Failure::broken, "it switched protocols without being asked");
    return false;
  }
  if (head.status < 200) {
    client_.on_interim_answer(head);
    partial_head_.clear();
    parser_.begin(wire::Parser::Kind::response, pool_->answer_limits());
    return true;
  }
  pool_->note_answer(server_, head.status);
  framing_ = wire::response_framing(head, request_.is_head_method);
  body_left_ = head.content_length;
  stage_ = framing_ == wire::Framing::none ? Stage::complete : Stage::body;
  client_.on_answer_head(head, framing_);
  return connection_ != nullptr;
}

void Forwarding::refuse_head() {
  close_connection();
  if (parser_.fault() == wire::Fault::header_too_large)
    fail_at_server(Failure::head_too_large,
                   "the answer's head is too large (upstream.header_bytes)");
  else
    fail_at_server(Failure::broken, "the answer's head is malformed: " + parser_.why());
}

bool Forwarding::take_body(std::string_view& bytes) {
  if (bytes.empty()) return true;
  if (framing_ == wire::Framing::chunked) {
    const wire::Parser::Progress progress = parser_.parse_chunked(bytes);
    for (const std::string_view span : parser_.spans()) client_.on_answer_body(span);
    if (progress == wire::Parser::Progress::fault) {
      close_connection();
      fail_at_server(Failure::broken, "the answer's chunks are malformed: " + parser_.why());
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
  client_.on_answer_body(bytes.substr(0, size));
  bytes.remove_prefix(size);
  if (framing_ == wire::Framing::length) {
    body_left_ -= size;
    if (body_left_ == 0) stage_ = Stage::complete;
  }
  return true;
}

// `beyond`: what came behind the answer.
void Forwarding::complete(std::string_view beyond) {
  pool_->note_success(server_);
  // Some servers send a body where there must be none (HEAD, 204, 304), a moment later: on a kept
  // connection it would be taken for the next answer. A length says nothing of that where it tells
  // what there would be (RFC 9110 section 8.6): of those who send it all the same is_silent() and
  // the pool take note.
  const wire::Head& head = parser_.head();
  const bool may_say_length = request_.is_head_method || head.status == 304;
  const bool is_suspicious = framing_ == wire::Framing::none && !may_say_length &&
                             (head.framing == wire::Framing::chunked || head.content_length > 0);
  const bool is_lost = stage_ == Stage::tunnel || is_suspicious || !request_is_sent_ ||
                       upload_pending() > 0 || head.wants_close ||
                       framing_ == wire::Framing::until_close;
  // An answer to HEAD without a length or a coding: a server that writes such answers (evhttp)
  // sends the body too. The connection is not used again, so that nobody can get it.
  const bool may_have_body = request_.is_head_method && head.status != 204 && head.status != 304 &&
                             head.framing == wire::Framing::until_close;
  if (!may_have_body && is_silent(beyond, is_lost) && !is_lost)
    pool_->give_back(std::move(connection_));
  else
    close_connection();
  stage_ = Stage::head;
  client_.on_answer_end(parser_.trailers());
}

// Whether the server has sent nothing behind its answer: neither in what was read (`beyond`) nor in
// what may still lie in the socket, when the answer filled the last read to its end.
bool Forwarding::is_silent(std::string_view beyond, bool is_lost) {
  if (!beyond.empty()) {
    pool_->note_unasked(server_, beyond, is_lost);
    return false;
  }
  if (is_lost) return true;
  std::array<char, 256> words;  // the scratch may hold what is being sent to the client
  net::Stream& stream = connection_->stream();
  while (stream.may_read()) {
    const net::Stream::ReadResult result = stream.read(words);
    if (result.what == net::Stream::Read::nothing_now) break;
    if (result.what == net::Stream::Read::some)
      pool_->note_unasked(server_, {words.data(), result.size}, false);
    return false;
  }
  return true;
}

void Forwarding::on_connection_lost(bool ended) {
  if (stage_ == Stage::tunnel) return on_tunnel_lost(ended);
  if (ended && stage_ == Stage::body && framing_ == wire::Framing::until_close) return complete({});
  const std::string why = connection_->stream().why_broken();
  retry_or_fail(ended || why.empty() ? "it closed the connection" : why);
}

// A server that ends its direction of a tunnel (FIN) may still listen. Any other loss, such as a
// reset, is the end of both directions.
void Forwarding::on_tunnel_lost(bool ended) {
  if (!ended || connection_->stream().is_broken()) return complete({});
  if (std::exchange(server_has_ended_, true)) return;
  if (raw_has_ended_) return go_on_ending_tunnel();
  client_.on_server_ended();
}

void Forwarding::on_unasked_answer(const char* why) {
  connection_->stream().reset_on_close();
  retry_or_fail(why);
}

void Forwarding::retry_or_fail(std::string why) {
  why_lost_ = std::move(why);
  const Taken taken = was_taken();
  // Not while the client still sends: what it sends would have to be kept until the proof is there.
  const bool is_worth_waiting = taken == Taken::not_known_yet && !request_.is_idempotent &&
                                request_.is_whole && has_all_for_another();
  if (!is_worth_waiting) return conclude(may_send_again(taken));
  stage_ = Stage::in_doubt;
  connection_->await_proof();
}

void Forwarding::look_for_proof() {
  const Taken taken = was_taken();
  if (taken != Taken::not_known_yet) conclude(may_send_again(taken));
}

void Forwarding::on_proof_timeout() { conclude(false); }

void Forwarding::conclude(bool again) {
  close_connection();
  stage_ = Stage::head;
  if (!again) return fail_at_server(Failure::broken, why_lost_);
  was_sent_again_ = true;
  ++retries_;
  connect(true);
}

// Nothing of the request has left this machine, so it may be tried on another server whatever its
// method. The server is marked unreachable at once when the error is certain, such as "connection
// refused". A timeout (ETIMEDOUT) or a full backlog (EAGAIN, Unix sockets) may pass: then only when
// note_failure() says that it was one failure too many in a row.
void Forwarding::on_unreachable(const std::string& why, int error) {
  if (connection_) close_connection();
  const bool is_uncertain = error == ETIMEDOUT || error == EAGAIN;
  const bool goes_on = pool_->note_failure(server_);
  if (!is_uncertain || goes_on) pool_->mark_unreachable(server_, why);
  ++unreachable_count_;
  const std::size_t other = pool_->choose_server(server_);
  if (!may_go_elsewhere() || other == UpstreamPool::none || other == server_)
    return fail(Failure::unreachable, why);
  ++retries_;
  server_ = other;
  connect(true);
}

bool Forwarding::may_go_elsewhere() const {
  return unreachable_count_ < pool_->servers().count() && !retry_is_forbidden_ &&
         !seen_answer_bytes_ && !body_went_on_;
}

bool Forwarding::has_all_for_another() const {
  return !was_sent_again_ && !retry_is_forbidden_ && !seen_answer_bytes_ && !body_went_on_;
}

// A request that the server did not take may be sent again, whatever its method: it cost the
// service nothing. Any other only when it is idempotent; one that nobody has acknowledged was most
// likely not taken either, and the rest takes from the retry budget.
bool Forwarding::may_send_again(Taken taken) {
  if (!has_all_for_another()) return false;
  if (taken == Taken::no) return true;
  if (!request_.is_idempotent) return false;
  if (taken == Taken::not_known_yet) return true;
  retry_was_denied_ = !pool_->retry_budget().take();
  return !retry_was_denied_;
}

// The proof is in the class comment.
Forwarding::Taken Forwarding::was_taken() {
  const net::Stream& stream = connection_->stream();
  if (stream.bytes_written() == written_before_) return Taken::no;
  const auto facts = stream.peer_facts();
  if (!facts || facts->bytes_acknowledged > written_before_) return Taken::perhaps;
  if (!facts->is_over) return Taken::not_known_yet;
  return facts->has_ended ? Taken::no : Taken::perhaps;
}

void Forwarding::on_connect_timeout() {
  on_unreachable("no answer to the connection attempt", ETIMEDOUT);
}

void Forwarding::blame_server() { pool_->note_failure(server_); }

void Forwarding::fail_at_server(Failure failure, const std::string& why) {
  pool_->note_failure(server_);
  fail(failure, why);
}

void Forwarding::fail(Failure failure, const std::string& why) {
  client_.on_answer_failed(failure, why);
}

}  // namespace classgate::proxy
