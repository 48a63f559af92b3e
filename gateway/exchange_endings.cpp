// How an exchange ends when it does not end with the last byte of its answer.

#include <spdlog/spdlog.h>

#include "gateway/exchange.h"
#include "gateway/station.h"

namespace classgate::gateway {

using admission::Outcome;
using conf::Reason;
using proxy::wire::Framing;

// ---- Timeouts and clients that leave -----------------------------------------------------------

void Exchange::on_request_timeout() {
  switch (state_) {
    case State::collecting: return on_body_fault(Reason::client_timeout);
    case State::waiting: return on_queue_timeout();
    case State::forwarding:
      return answer_.is_stream ? end_stream(Reason::stream_too_long) : on_upstream_timeout();
    case State::orphaned:  // waited for long enough: let the upstream be
      forwarding_.cancel();
      give_worker_back(orphan_outcome_);
      return end();
    default: return;
  }
}

void Exchange::on_queue_timeout() {
  if (state_ != State::waiting) return;
  // False: a worker has been granted in this moment, the letter is on its way. Take it.
  const admission::Time now = station_.loop().now();
  if (!place_.time_out(now)) return;  // on_granted() sees that it is too late
  refuse_uncounted(Reason::queue_timeout, time_to_come_back());
}

void Exchange::on_deadline() {
  if (state_ != State::waiting) return;
  if (!place_.miss_deadline(station_.loop().now())) return;  // as above
  refuse_uncounted(Reason::deadline);
}

void Exchange::on_upstream_timeout() {
  if (hold_.is_on) return on_held_too_long();
  spdlog::warn(
      "upstream {}: no complete answer within admission.request_timeout ({} {}, request {})",
      forwarding_.server_name(), texts_.method, target_.path(), texts_.request_id);
  if (is_up_to_service()) forwarding_.blame_server();
  const Outcome outcome = Outcome::failed(Reason::upstream_timeout);
  const bool computes_on = upstream_computes_on();
  ClientStream& client = *client_;
  if (!request_.is_whole) request_.is_given_up = true;
  record_.reason = Reason::upstream_timeout;
  if (computes_on) {
    const bool is_cut = answer_.head_has_passed;
    if (is_cut)
      client.cut();
    else
      write_refusal({Reason::upstream_timeout});
    orphan(outcome);
    if (!is_cut) client.finish();
    return;
  }
  forwarding_.cancel();
  give_worker_back(outcome);
  if (!answer_.head_has_passed) return refuse_uncounted(Reason::upstream_timeout);
  client.cut();
  end();
}

// Nothing has come for a while: unless that is because the client has not taken yet what did come.
void Exchange::on_stream_silent() {
  if (answer_.waits_for_reader) return note_sign_of_life();
  end_stream(Reason::stream_idle);
}

void Exchange::note_sign_of_life() {
  if (answer_.is_stream) station_.deadlines().stream_idle.set(timers_.silence);
}

// It has the request, or does not take it; else it may be waiting for the client's upload.
bool Exchange::is_up_to_service() const {
  return request_.is_whole || forwarding_.upload_pending() > 0;
}

void Exchange::end_stream(Reason reason) {
  const bool is_silent = reason == Reason::stream_idle;
  spdlog::warn("upstream {}: a stream {} ({} {}, request {}): cut", forwarding_.server_name(),
               is_silent ? "was silent for upstream.stream_idle_timeout"
                         : "has lasted for upstream.stream_time_max",
               texts_.method, target_.path(), texts_.request_id);
  if (is_silent && is_up_to_service()) forwarding_.blame_server();
  forwarding_.cancel();
  if (state_ == State::orphaned) {
    give_worker_back(orphan_outcome_);
    return end();
  }
  record_.reason = reason;
  give_worker_back(Outcome::failed(reason));
  client_->cut();
  end();
}

// An upstream that has all of the request computes on, whether anybody listens or not; but what it
// would agree to, asked for a tunnel, has no end of its own.
bool Exchange::upstream_computes_on() const {
  const bool may_become_tunnel = request_.wants_websocket && !answer_.head_has_passed;
  const conf::OnClientAbort on_abort =
      answer_.is_stream ? answer_.terms.on_stream_abort : answer_.terms.on_client_abort;
  return on_abort == conf::OnClientAbort::finish && !may_become_tunnel &&
         forwarding_.request_is_sent() && forwarding_.is_active();
}

void Exchange::on_client_gone() {
  switch (state_) {
    case State::collecting:
      if (!request_.is_operators) station_.shared().gate.abandon();
      record_.verdict = Verdict::abandoned;
      record_.ending = Ending::abandoned;
      return end();
    case State::waiting:
      place_ = {};
      record_.verdict = Verdict::abandoned;
      record_.ending = Ending::abandoned;
      return end();
    case State::forwarding:
      if (answer_.is_tunnel) {
        forwarding_.cancel();
        give_worker_back(Outcome::processed());
        return end();
      }
      record_.verdict = Verdict::abandoned;
      if (upstream_computes_on()) return orphan(Outcome::abandoned());
      forwarding_.cancel();
      give_worker_back(Outcome::abandoned());
      return end();
    default: return;
  }
}

void Exchange::orphan(Outcome outcome) {
  record_.at_upstream = time_at_service();
  record_.ending = ending_of(outcome);
  record();
  state_ = State::orphaned;
  orphan_outcome_ = outcome;
  client_ = nullptr;
  permit_.orphan();
  // After a 504 for one more request timeout; after an abort until the one that is running ends.
  // A stream has its own.
  if (outcome.kind == Outcome::Kind::failed) station_.deadlines().request.set(timers_.request);
  forwarding_.forbid_retry();
  if (std::exchange(answer_.waits_for_reader, false)) note_sign_of_life();
  forwarding_.resume();  // nothing blocks the answer any more
}

void Exchange::on_client_drained() {
  if (std::exchange(answer_.waits_for_reader, false)) note_sign_of_life();
  if (state_ == State::forwarding) forwarding_.resume();
}

// ---- The end -----------------------------------------------------------------------------------

void Exchange::end() {
  if (state_ == State::waiting) record_.waiting = station_.loop().now() - wait_.joined;
  stop_holding();
  if (state_ != State::orphaned) record();
  state_ = State::ended;
  client_ = nullptr;
  timers_.cancel();
  station_.retire_exchange(*this);
}

// Whatever it was doing: the books get their ending, nobody else notices.
void Exchange::on_fault() {
  station_.gather().clear();
  if (state_ == State::ended) return;
  const bool is_in_books = record_.reason.has_value();  // as refused
  if (state_ == State::collecting && !request_.is_operators && !is_in_books)
    station_.shared().gate.abandon();
  ClientStream* const client = client_;
  cut();
  station_.retire_exchange(*this);
  if (client != nullptr) client->reset();
}

admission::Duration Exchange::time_to_come_back() const {
  return station_.shared().gate.return_time(arrival_.client, station_.loop().now());
}

void Exchange::on_gateway_ending() {
  switch (state_) {
    case State::collecting:
    case State::waiting: return on_body_fault(Reason::draining, time_to_come_back());
    case State::forwarding: {
      if (hold_.is_on)  // no server has it
        return on_body_fault(Reason::draining, time_to_come_back());
      ClientStream& client = *client_;
      record_.reason = Reason::draining;
      forwarding_.cancel();
      give_worker_back(Outcome::failed(Reason::draining));
      record();
      cut();
      return client.cut();
    }
    default: return;
  }
}

void Exchange::cut() {
  stop_holding();
  stop_streaming();
  forwarding_.cancel();
  place_ = {};
  permit_ = {};
  timers_.cancel();
  client_ = nullptr;
  state_ = State::ended;
  uncount_memory();
}

}  // namespace classgate::gateway
