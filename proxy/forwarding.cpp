#include "proxy/forwarding.h"

#include <cerrno>
#include <system_error>
#include <utility>

#include "conf/invariant.h"

namespace classgate::proxy {
namespace {

constexpr unsigned times_not_taken_max = 3;

std::string message_of(int error) { return std::generic_category().message(error); }

}  // namespace

Forwarding::~Forwarding() { cancel(); }

void Forwarding::cancel() {
  if (stream_ != nullptr) std::exchange(stream_, nullptr)->cancel();
}

void Forwarding::forget() {
  pool_ = nullptr;
  server_ = UpstreamPool::none;
  retries_ = 0;
  attempt_count_ = 0;
  retry_was_denied_ = false;
  carried_by_ = UpstreamStream::Carrier::none;
  request_ = {};
  if (http1_) http1_->forget();
}

const std::string& Forwarding::server_name() const {
  static const std::string nobody = "-";
  return server_ == UpstreamPool::none ? nobody : pool_->servers().name(server_);
}

void Forwarding::start(UpstreamPool& pool, const Request& request) {
  CLASSGATE_INVARIANT(stream_ == nullptr);
  pool_ = &pool;
  request_ = request;
  retries_ = 0;
  carried_by_ = UpstreamStream::Carrier::none;
  attempt_count_ = 0;
  unreachable_count_ = 0;
  moves_ = 0;
  was_sent_again_ = request.needs_isolation;
  not_taken_ = 0;
  retry_was_denied_ = false;
  answer_has_begun_ = body_went_on_ = retry_is_forbidden_ = false;
  pool_->retry_budget().on_request();
  server_ = pool_->choose_server();
  if (server_ == UpstreamPool::none) return fail(Failure::no_server, "no server is up");
  connect(UpstreamPool::Which::any);
}

void Forwarding::connect(UpstreamPool::Which which) {
  if (attempt_count_ < attempts_.size()) attempts_[attempt_count_++] = pool_->loop().now();
  int error = 0;
  if (request_.needs_isolation) which = UpstreamPool::Which::isolated;
  UpstreamStream::Listener& listener = *this;
  if (!http1_) http1_ = std::make_unique<Http1Upstream>(listener, client_);
  stream_ = pool_->open(server_, which, *http1_, error);
  if (stream_ != nullptr) {
    using enum UpstreamStream::Carrier;
    carried_by_ = stream_ == http1_.get() ? http1 : http2;
    return stream_->send(request_);
  }
  if (error == EBUSY && request_.needs_isolation)
    return fail_at_server(Failure::broken,
                          "the connection was lost with all requests on it, and there may be none "
                          "to this one alone (upstream.connections)");
  // Another loop was quicker to take the server's last place.
  if (error == EBUSY) return fail(Failure::no_server, "it has all the requests it may have");
  if (UpstreamPool::is_our_fault(error)) return fail(Failure::unreachable, message_of(error));
  on_unreachable(message_of(error), error);
}

// ---- The request -------------------------------------------------------------------------------

void Forwarding::send_body(std::string_view part) {
  if (stream_ == nullptr || part.empty()) return;
  body_went_on_ = true;
  stream_->send_body(part);
}

void Forwarding::end_body(const std::vector<wire::Parser::Trailer>& trailers) {
  // For a second attempt. Either the whole body is still in request_.body, or parts of it have gone
  // by, and then there is no second attempt (body_went_on_).
  request_.is_whole = true;
  request_.trailers = &trailers;
  if (stream_ != nullptr) stream_->end_body(trailers);
}

void Forwarding::send_raw(std::string_view bytes) {
  if (stream_ != nullptr) stream_->send_raw(bytes);
}

void Forwarding::end_raw() {
  if (stream_ != nullptr) stream_->end_raw();
}

std::size_t Forwarding::upload_pending() const {
  return stream_ != nullptr ? stream_->pending() : 0;
}

void Forwarding::resume() {
  if (stream_ != nullptr) stream_->resume();
}

// ---- The answer --------------------------------------------------------------------------------

void Forwarding::on_answer_head(const wire::Head& head, wire::Framing framing) {
  pool_->note_answer(server_, head.status);
  client_.on_answer_head(head, framing);
}

void Forwarding::on_answer_end(const std::vector<wire::Parser::Trailer>& trailers) {
  stream_ = nullptr;
  pool_->note_success(server_);
  client_.on_answer_end(trailers);
}

// ---- What becomes of it when there is none -----------------------------------------------------

void Forwarding::on_lost(const UpstreamStream::Loss& loss) {
  using Lost = UpstreamStream::Lost;
  using Taken = UpstreamStream::Taken;
  answer_has_begun_ = loss.answer_has_begun;
  const bool is_final = loss.taken != Taken::not_known_yet;
  // Not while the client still sends: what it sends would have to be kept until the proof is there.
  const bool is_worth_waiting = !is_final && !request_.is_idempotent && request_.is_whole &&
                                has_all_for_another() && not_taken_ < times_not_taken_max;
  if (is_worth_waiting) return stream_->await_proof();
  if (!is_final) stream_->cancel();
  stream_ = nullptr;
  switch (loss.what) {
    case Lost::unreachable: return on_unreachable(loss.why, loss.error);
    case Lost::elsewhere: return go_elsewhere(loss.why);
    case Lost::head_too_large: return fail_at_server(Failure::head_too_large, loss.why);
    case Lost::broken: break;
  }
  if (!may_send_again(loss)) return fail_at_server(Failure::broken, loss.why);
  ++retries_;
  if (loss.with_connection && loss.taken != Taken::no) request_.needs_isolation = true;
  connect(UpstreamPool::Which::fresh);
}

// Nothing of the request has left this machine, so it may be tried on another server whatever its
// method. The server is marked unreachable at once when the error is certain, such as "connection
// refused". A timeout (ETIMEDOUT) or a full backlog (EAGAIN, Unix sockets) may pass: then only when
// note_failure() says that it was one failure too many in a row.
void Forwarding::on_unreachable(const std::string& why, int error) {
  const bool is_uncertain = error == ETIMEDOUT || error == EAGAIN;
  const bool goes_on = pool_->note_failure(server_);
  if (!is_uncertain || goes_on) pool_->mark_unreachable(server_, why);
  ++unreachable_count_;
  const std::size_t other = pool_->choose_server(server_);
  if (!may_go_elsewhere() || other == UpstreamPool::none || other == server_)
    return fail(Failure::unreachable, why);
  ++retries_;
  server_ = other;
  connect(UpstreamPool::Which::fresh);
}

// Not an attempt of its own: nothing was sent, and nothing went wrong.
void Forwarding::go_elsewhere(const std::string& why) {
  constexpr unsigned moves_max = 3;
  if (++moves_ > moves_max || body_went_on_) return fail_at_server(Failure::broken, why);
  if (attempt_count_ > 0) --attempt_count_;
  connect(UpstreamPool::Which::any);
  // The client was held back as long as nothing could be sent; a connection that takes it all at
  // once does not tell.
  if (stream_ != nullptr && !request_.is_whole && stream_->pending() == 0)
    client_.on_upload_drained();
}

bool Forwarding::may_go_elsewhere() const {
  return unreachable_count_ < pool_->servers().count() && !retry_is_forbidden_ &&
         !answer_has_begun_ && !body_went_on_;
}

bool Forwarding::has_all_for_another() const {
  return !retry_is_forbidden_ && !answer_has_begun_ && !body_went_on_;
}

// A request that the server did not take may be sent again, whatever its method: it cost the
// service nothing; and not once only, for while servers are restarted the next connection may end
// likewise. (Where the server has declined it: once, for it may have too much.) Any other once, and
// only when it is idempotent; one that nobody has acknowledged was most likely not taken either,
// and the rest takes from the retry budget.
bool Forwarding::may_send_again(const UpstreamStream::Loss& loss) {
  using Taken = UpstreamStream::Taken;
  if (!has_all_for_another()) return false;
  const unsigned times_max = loss.was_declined ? 1 : times_not_taken_max;
  if (loss.taken == Taken::no) return not_taken_++ < times_max;
  if (!request_.is_idempotent || std::exchange(was_sent_again_, true)) return false;
  if (loss.taken == Taken::not_known_yet) return true;
  retry_was_denied_ = !pool_->retry_budget().take();
  return !retry_was_denied_;
}

void Forwarding::blame_server() {
  pool_->note_failure(server_);
  if (stream_ != nullptr) stream_->note_late();
}

void Forwarding::fail_at_server(Failure failure, const std::string& why) {
  pool_->note_failure(server_);
  fail(failure, why);
}

void Forwarding::fail(Failure failure, const std::string& why) {
  client_.on_answer_failed(failure, why);
}

}  // namespace classgate::proxy
