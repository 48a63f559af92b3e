// How an exchange ends when it does not end with the last byte of its answer.

#include <spdlog/spdlog.h>

#include "gateway/exchange.h"
#include "gateway/first_look.h"
#include "gateway/station.h"

namespace classgate::gateway {

using admission::Outcome;
using conf::Reason;
using proxy::wire::Framing;

// ---- Timeouts and clients that leave -----------------------------------------------------------

// By a list of those that all last as long or, on the terms of a conf that has gone, by a timer.
void Exchange::watch(proxy::net::TimeoutList& list, proxy::net::Timeout& timeout) {
  if (visit_.limit() == station_.loop().now() + list.duration()) return list.set(timeout);
  if (!timers_.exact)
    timers_.exact = std::make_unique<proxy::net::Timer>(
        station_.loop(), [this] { on_timer<&Exchange::on_due>(this); });
  timers_.exact->start_at(visit_.limit());
}

admission::Visit::AtService Exchange::at_service() const {
  return {.computes_on = visit_.is(State::forwarding) && upstream_computes_on(),
          .is_stream = answer_.is_stream,
          .is_tunnel = answer_.is_tunnel,
          .is_down = visit_.is_held() && station_.upstreams().servers().none_reachable()};
}

void Exchange::on_due() {
  const admission::Visit::Step step = visit_.due(at_service(), station_.loop().now());
  switch (step.kind) {
    case admission::Visit::Step::Kind::none: return;
    case admission::Visit::Step::Kind::close: return on_body_fault(step.outcome.reason);
    case admission::Visit::Step::Kind::leave: return leave_line(step);
    default: return give_up_service(step);
  }
}

void Exchange::leave_line(const admission::Visit::Step& step) {
  // False: a worker has been granted in this moment, the letter is on its way. Take it.
  if (!place_.leave(step.departure, station_.loop().now()))
    return;  // on_granted() sees whether it is too late
  refuse_uncounted(step.outcome.reason, step.departure == admission::Departure::timed_out
                                            ? time_to_come_back()
                                            : admission::Duration::zero());
}

void Exchange::give_up_service(const admission::Visit::Step& step) {
  if (visit_.is_held()) return on_held_too_long(step.outcome);
  if (answer_.is_stream) return end_stream(Reason::stream_too_long);
  if (!visit_.is(State::orphaned)) return on_upstream_timeout(step);
  forwarding_.cancel();
  give_worker_back(step.outcome);
  end();
}

void Exchange::on_held_too_long(const Outcome& outcome) {
  stop_holding();
  give_worker_back(outcome);
  const admission::Duration later = outcome.reason == Reason::queue_timeout ? time_to_come_back()
                                    : outcome.reason == Reason::upstream_down
                                        ? time_to_next_probe(station_.settings().upstream)
                                        : admission::Duration::zero();
  refuse_uncounted(outcome.reason, later);
}

void Exchange::on_upstream_timeout(const admission::Visit::Step& step) {
  spdlog::warn(
      "upstream {}: no complete answer within admission.request_timeout ({} {}, request {})",
      forwarding_.server_name(), texts_.method, target_.path(), texts_.request_id);
  if (is_up_to_service()) forwarding_.blame_server();
  note_timeout();
  const bool computes_on = step.kind == admission::Visit::Step::Kind::orphan;
  ClientStream& client = *client_;
  if (!request_.is_whole) request_.is_given_up = true;
  facts_.reason = Reason::upstream_timeout;
  if (computes_on) {
    const bool is_cut = answer_.head_has_passed;
    if (is_cut)
      client.cut(Reason::upstream_timeout);
    else
      write_refusal({Reason::upstream_timeout});
    orphan(step.outcome);
    if (!is_cut) client.finish();
    return;
  }
  forwarding_.cancel();
  give_worker_back(step.outcome);
  if (!answer_.head_has_passed) return refuse_uncounted(Reason::upstream_timeout);
  client.cut(Reason::upstream_timeout);
  end();
}

// Who asks this again must not cost the service the same work again; of a body that did not stay
// here nobody can tell.
void Exchange::note_timeout() {
  const bool is_all_here = request_.is_whole && body_.size() == facts_.bytes_in;
  if (request_.head_of_repeat == 0 || !is_all_here) return;
  station_.shared().recent_timeouts.add(
      request_.head_of_repeat, body_,
      station_.loop().now() + station_.settings().upstream.repeat_window);
}

// Nothing has come for a while: unless that is because the client has not taken yet what did come.
void Exchange::on_stream_silent() {
  if (answer_.waits_for_reader) return note_sign_of_life();
  end_stream(Reason::stream_idle);
}

void Exchange::note_sign_of_life() {
  if (answer_.is_stream) station_.timeouts().stream_idle.set(timers_.silence);
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
  if (visit_.is(State::orphaned)) {
    give_worker_back(visit_.orphan_outcome());
    return end();
  }
  facts_.reason = reason;
  give_worker_back(Outcome::failed(reason));
  client_->cut(reason);
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
  const admission::Visit::Step step = visit_.client_left(at_service());
  if (step.kind == admission::Visit::Step::Kind::none) return;
  if (!answer_.is_tunnel) facts_.verdict = Verdict::abandoned;
  switch (step.kind) {
    case admission::Visit::Step::Kind::orphan: return orphan(step.outcome);
    case admission::Visit::Step::Kind::give_back:
      forwarding_.cancel();
      give_worker_back(step.outcome);
      return end();
    case admission::Visit::Step::Kind::close:
      if (!request_.answered_here) station_.shared().gate.abandon();
      break;
    default: place_ = {};
  }
  facts_.ending = Ending::abandoned;
  end();
}

void Exchange::orphan(Outcome outcome) {
  facts_.at_upstream = time_at_service();
  facts_.ending = ending_of(outcome);
  record();
  visit_.orphan(outcome, station_.loop().now());
  client_ = nullptr;
  permit_.orphan();
  // After a 504 for one more request timeout; after an abort until the one that is running ends.
  // A stream has its own.
  if (outcome.kind == Outcome::Kind::failed) watch(station_.timeouts().request, timers_.request);
  forwarding_.forbid_retry();
  if (std::exchange(answer_.waits_for_reader, false)) note_sign_of_life();
  forwarding_.resume();  // nothing blocks the answer any more
}

void Exchange::on_client_drained() {
  if (std::exchange(answer_.waits_for_reader, false)) note_sign_of_life();
  if (visit_.is(State::forwarding)) forwarding_.resume();
}

// ---- The end -----------------------------------------------------------------------------------

void Exchange::end() {
  if (visit_.is(State::waiting)) facts_.waiting = station_.loop().now() - visit_.joined();
  stop_holding();
  if (!visit_.is(State::orphaned)) record();
  visit_.end();
  quota_.charge.give_back();  // unless the service has had it
  client_ = nullptr;
  timers_.cancel();
  station_.retire_exchange(*this);
}

// Whatever it was doing: the books get their ending, nobody else notices.
void Exchange::on_fault() {
  station_.gather().clear();
  if (visit_.is(State::ended)) return;
  const bool is_in_books = facts_.reason.has_value();  // as refused
  if (visit_.is(State::collecting) && !request_.answered_here && !is_in_books)
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
  switch (visit_.state()) {
    case State::collecting:
    case State::waiting: return on_body_fault(Reason::draining, time_to_come_back());
    case State::forwarding: {
      if (visit_.is_held())  // no server has it
        return on_body_fault(Reason::draining, time_to_come_back());
      ClientStream& client = *client_;
      facts_.reason = Reason::draining;
      forwarding_.cancel();
      give_worker_back(Outcome::failed(Reason::draining));
      record();
      cut();
      return client.cut(Reason::draining);
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
  quota_.charge.give_back();
  client_ = nullptr;
  visit_.end();
  uncount_memory();
}

}  // namespace classgate::gateway
