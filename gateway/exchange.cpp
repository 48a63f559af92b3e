#include "gateway/exchange.h"

#include <algorithm>

#include "conf/format.h"
#include "conf/invariant.h"
#include "gateway/first_look.h"
#include "gateway/station.h"

namespace classgate::gateway {
namespace {

using admission::Outcome;
using conf::Reason;
using proxy::wire::Framing;

constexpr std::size_t kept_buffer_max = 8 * 1024;  // a reused exchange keeps no larger buffer

void forget(std::string& text) {
  text.clear();
  if (text.capacity() > kept_buffer_max) text.shrink_to_fit();
}

// Of the head that is written for the service: gRPC comes by HTTP/2 only, in lower case.
bool says_grpc(std::string_view head) {
  return head.contains("\r\ncontent-type: application/grpc");
}

// A byte for its compression and its length in four, then the message (gRPC over HTTP/2,
// "Length-Prefixed-Message").
bool begins_with_grpc_message(std::string_view body) {
  constexpr std::size_t prefix = 5;
  if (body.size() < prefix) return false;
  std::size_t size = 0;
  for (const char byte : body.substr(1, 4)) size = size << 8 | static_cast<unsigned char>(byte);
  return body.size() - prefix >= size;
}

}  // namespace

template <void (Exchange::*on_due)()>
void Exchange::on_timer(void* self) {
  auto& exchange = *static_cast<Exchange*>(self);
  exchange.station_.loop().guard([&exchange] { (exchange.*on_due)(); },
                                 [&exchange] { exchange.on_fault(); });
}

Exchange::Timers::Timers(Exchange* of)
    : request(on_timer<&Exchange::on_due>, of),
      queue(on_timer<&Exchange::on_due>, of),
      silence(on_timer<&Exchange::on_stream_silent>, of),
      reader(on_timer<&Exchange::on_reader_window_over>, of) {}

void Exchange::Timers::cancel() {
  request.cancel();
  queue.cancel();
  silence.cancel();
  reader.cancel();
  if (exact) exact->stop();
}

Exchange::Exchange(Station& station, std::uint32_t tag)
    : station_(station), tag_(tag), timers_(this), forwarding_(*this) {}

void Exchange::reset() {
  CLASSGATE_INVARIANT(!permit_ && !place_ && !forwarding_.is_active());
  client_ = nullptr;
  visit_ = {};
  arrival_ = {};
  route_ = nullptr;
  request_ = {};
  hold_ = {};
  quota_ = {};
  answer_ = {};
  facts_ = {};
  forget(target_.text);
  target_.path_size = 0;
  target_.host = {};
  forget(head_);
  release_body();
  texts_.method.clear();
  texts_.request_id.clear();
  texts_.client_behind_proxy.clear();
  texts_.name.clear();
  texts_.name_not_valid.clear();
  texts_.noted.clear();
  texts_.origin.clear();
  trailers_.clear();
  forwarding_.forget();
  uncount_memory();
}

void Exchange::uncount_memory() {
  if (counted_ == 0) return;
  station_.memory().change(-static_cast<std::int64_t>(std::exchange(counted_, 0)));
}

void Exchange::count_memory() {
  const std::size_t now = target_.text.capacity() + head_.capacity() + body_.capacity() +
                          texts_.noted.held_bytes() + forwarding_.held_bytes();
  if (now == counted_) return;
  station_.memory().change(static_cast<std::int64_t>(now) - static_cast<std::int64_t>(counted_));
  counted_ = now;
}

void Exchange::release_body() {
  station_.metrics().held_bytes.subtract(body_.size());
  forget(body_);
}

// ---- The head has come -------------------------------------------------------------------------

void Exchange::on_head(ClientStream& client, const proxy::wire::Head& head, bool body_is_here) {
  client_ = &client;
  visit_.begin(admission::Terms::of(station_.settings().admission), station_.loop().now());
  arrival_.terms = visit_.terms();
  request_.body_was_here = body_is_here;
  if (!note_head(head) || !judge(head)) return;
  watch(station_.timeouts().request, timers_.request);
  if (request_.answered_here) return;  // when its body, if any, has been read
  if (request_.may_be_repeat)
    write_upstream_head(head);  // admission is asked when its body has told: a repeat costs nothing
  else if (body_is_here && !request_.body_tells_cost)
    enter(head);
  else
    screen(head);
}

void Exchange::on_unreadable(ClientStream& client, Reason reason, const UnreadableHead& so_far) {
  client_ = &client;
  arrival_.at = station_.loop().now();
  note_unreadable(reason, so_far);
  request_.cors = station_.rules().cors.terms();
  texts_.origin = station_.rules().cors.allowed_origin_of_unread(so_far.bytes);
  refuse(reason);
}

// ---- The verdict -------------------------------------------------------------------------------

// Everything is here: both moments of admission in one step.
void Exchange::enter(const proxy::wire::Head& head) {
  auto answer = station_.shared().gate.enter(arrival_, station_.loop().now());
  // Who is refused needs no head for the upstream.
  if (!std::holds_alternative<admission::Rejection>(answer)) write_upstream_head(head);
  on_gate_answer(std::move(answer));
}

// The body is still to come: only what the head decides, so that a refused one is never uploaded.
void Exchange::screen(const proxy::wire::Head& head) {
  const auto rejection = station_.shared().gate.screen(arrival_, station_.loop().now());
  if (!rejection) return write_upstream_head(head);
  count_demand();
  refuse_uncounted(*rejection);
}

// What is asked for, whatever comes of it: once, when its cost is known as well as it is before its
// verdict. Who drains leaves that to whoever serves after it, and retries are no new demand: what
// we refuse ourselves must not look like more.
void Exchange::count_demand() {
  if (arrival_.is_retry || arrival_.came_before || station_.is_draining()) return;
  station_.metrics().demand[priority_index()].asked.add(arrival_.cost);
  station_.metrics_of(arrival_.plan).asked.add(arrival_.cost);
}

// The body is complete, or as much of it as we hold: a worker would not have to wait for it.
void Exchange::ask_for_worker() {
  if (is_repeat()) return refuse(Reason::repeated);
  arrival_.bytes = body_.size();
  if (request_.body_tells_cost) weigh_body();
  if (request_.body_tells_cost && !count_for_quota()) return;
  const admission::Time now = station_.loop().now();
  facts_.uploading = now - arrival_.at;
  admission::Gate& gate = station_.shared().gate;
  if (!request_.may_be_repeat) return on_gate_answer(gate.arrive(arrival_, now));
  arrival_.cost_found = 0;  // nothing has been charged for its head
  on_gate_answer(gate.enter(arrival_, now));
}

void Exchange::on_gate_answer(admission::Gate::Answer answer) {
  count_demand();
  if (auto* permit = std::get_if<admission::Permit>(&answer)) {
    go_in(std::move(*permit));
  } else if (auto* place = std::get_if<admission::Place>(&answer)) {
    facts_.verdict = Verdict::queued;
    wait(std::move(*place));
  } else {
    refuse_uncounted(std::get<admission::Rejection>(answer));
  }
}

void Exchange::wait(admission::Place place) {
  visit_.join(station_.loop().now());
  facts_.place = place.number();
  place_ = std::move(place);
  // Nothing comes to it any more, and it may be held for long.
  if (body_.capacity() - body_.size() > kept_buffer_max) body_.shrink_to_fit();
  if (head_.capacity() > head_.size() + head_.size() / 4) head_.shrink_to_fit();
  // The end of its request timeout is watched for already.
  if (visit_.limit() < visit_.request_end()) watch(station_.timeouts().queue, timers_.queue);
}

void Exchange::on_granted(admission::Permit permit) {
  place_.release();
  const admission::Time now = station_.loop().now();
  const admission::Visit::Step late = visit_.granted(now);
  if (late.kind == admission::Visit::Step::Kind::none) return go_in(std::move(permit));
  const Reason reason = late.outcome.reason;
  permit.finish(late.outcome, now);
  refuse_uncounted(reason,
                   reason == Reason::deadline ? admission::Duration::zero() : time_to_come_back());
}

void Exchange::on_shed(const admission::Rejection& rejection) {
  place_.release();
  refuse_uncounted(rejection);
}

void Exchange::go_in(admission::Permit permit) {
  visit_.go_in();
  facts_.verdict = Verdict::admitted;
  timers_.queue.cancel();
  if (timers_.exact) timers_.exact->stop();
  if (!timers_.request.is_set()) watch(station_.timeouts().request, timers_.request);
  facts_.waiting = permit.waited();
  arrival_.observed = permit.observed();
  station_.metrics().waits[priority_index()].record(facts_.waiting);
  permit_ = std::move(permit);
  // A body that came with its head is still being handed over by the connection: it goes with it.
  if (!request_.body_was_here || request_.is_whole) forward();
}

// ---- The body ----------------------------------------------------------------------------------

void Exchange::on_body(std::string_view part) {
  if (visit_.is(State::ended)) return;
  facts_.bytes_in += part.size();
  if (facts_.bytes_in > request_.body_limit) return on_body_fault(Reason::body_too_large);
  if (request_.answered_here) return;
  if (request_.counts_items) items_->read(part);
  if (visit_.is(State::forwarding) && forwarding_.is_active()) {
    note_sign_of_life();
    return forwarding_.send_body(part);
  }
  body_.append(part);
  station_.metrics().held_bytes.add(part.size());
}

// Not before: what is held is counted when the worker is asked for, and must all be there. Of a
// stream of gRPC the first message is enough: the second may be what the client says to the answer.
void Exchange::on_body_part_end() {
  if (!visit_.is(State::collecting)) return;
  const bool is_full = body_.size() >= station_.settings().client.body_buffer.count;
  if (is_full || (begins_with_grpc_message(body_) && says_grpc(head_))) ask_for_worker();
}

bool Exchange::paces_itself() const { return visit_.is(State::forwarding) && says_grpc(head_); }

void Exchange::on_body_end(const std::vector<proxy::wire::Parser::Trailer>& trailers) {
  request_.is_whole = true;
  if (visit_.is(State::ended)) return;
  if (request_.answered_here) return answer_here();
  trailers_ = trailers;
  std::erase_if(trailers_, [this](const proxy::wire::Parser::Trailer& trailer) {
    return !station_.rules().may_be_trailer(trailer.name);
  });
  switch (visit_.state()) {
    case State::collecting: return ask_for_worker();
    case State::forwarding:
      if (request_.body_tells_cost) settle_cost();
      if (visit_.is_held()) return;
      if (forwarding_.is_active())
        forwarding_.end_body(trailers_);
      else
        forward();
      return;
    default: return;
  }
}

void Exchange::on_body_fault(Reason reason, admission::Duration retry_after) {
  if (visit_.is(State::ended)) return;
  request_.is_given_up = true;
  if (visit_.is(State::forwarding)) {
    forwarding_.cancel();
    give_worker_back(Outcome::failed(reason));
    if (answer_.head_has_passed) {
      facts_.reason = reason;
      client_->cut(reason);
      return end();
    }
    return refuse_uncounted(reason, retry_after);
  }
  if (visit_.is(State::waiting)) {
    // Leaving counts as abandoned; what the client is told is the fault.
    place_ = {};
    facts_.ending = Ending::abandoned;
    return refuse_uncounted(reason, retry_after);
  }
  refuse(reason, retry_after);
}

bool Exchange::wants_body() const {
  switch (visit_.state()) {
    case State::collecting: return true;
    case State::waiting: return false;
    case State::forwarding:
      if (visit_.is_held()) return body_.size() < station_.settings().client.body_buffer.count;
      return forwarding_.upload_pending() < station_.settings().client.body_buffer.count;
    default: return true;  // what is left of a refused body is thrown away
  }
}

// ---- Forwarding --------------------------------------------------------------------------------

// A worker without a server is of no use to anybody else: it is kept until one can take the request
// (Station::holds), and who waits for a worker waits on.
bool Exchange::hold_if_useful() {
  if (!station_.holds()) return false;
  hold();
  return true;
}

void Exchange::hold() {
  facts_.was_isolated = facts_.was_isolated || forwarding_.needs_isolation();
  forwarding_.forget();  // a reload may take its pool away meanwhile
  hold_.since = station_.loop().now();
  visit_.hold(hold_.since);
  station_.hold(*this);
}

// The worker waits as its request does: neither is at work.
void Exchange::stop_holding() {
  if (!visit_.is_held()) return;
  visit_.stop_holding();
  station_.let_go(*this);
  const admission::Duration held = station_.loop().now() - hold_.since;
  hold_.before += held;
  facts_.waiting += held;
}

void Exchange::on_hold_over() {
  stop_holding();
  forward();
}

void Exchange::forward() {
  // As whoever waited for too long: it may come again, and nobody has begun on it.
  if (!station_.shared().gate.may_begin())
    return on_body_fault(Reason::queue_timeout, time_to_come_back());
  if (hold_if_useful()) return;
  if (request_.plain_head_size == 0) request_.plain_head_size = head_.size();
  head_.resize(request_.plain_head_size);  // it may be the second time
  if (request_.deadline)
    proxy::wire::append_deadline(
        head_, {request_.deadline->form,
                arrival_.deadline - std::max(station_.loop().now(), arrival_.at)});
  proxy::Forwarding::Request request{
      .head = head_,
      .never_indexed =
          request_.never_indexed ? std::string_view(*request_.never_indexed) : std::string_view(),
      .body = body_,
      .is_whole = request_.is_whole,
      .framing = request_.framing,
      .length = request_.length,
      .is_idempotent = request_.is_idempotent,
      .is_head_method = request_.is_head,
      .wants_websocket = request_.wants_websocket,
      .lacks_host = request_.lacks_host,
      .needs_isolation = facts_.was_isolated,
      .trailers = &trailers_};
  // A chunked body that is all here goes on with its length, which more services understand.
  const bool is_chunked = request_.framing == Framing::chunked;
  if ((is_chunked && request_.is_whole && trailers_.empty()) || request_.says_zero_length) {
    request.framing = Framing::length;
    request.length = body_.size();
  }
  forwarding_.start(station_.upstreams(), request);
  if (request_.is_whole || visit_.is_held() || !visit_.is(State::forwarding)) return;
  client_->stream_body();
}

// What the service did, as far as that tells how long its work takes.
admission::Duration Exchange::work_of(const Outcome& outcome) const {
  const bool was_error =
      answer_.head_has_passed && (facts_.status >= 400 || facts_.grpc_status > 0);
  const bool was_left = outcome.kind == Outcome::Kind::abandoned && !visit_.is(State::orphaned);
  const bool did_not_answer =
      outcome.kind == Outcome::Kind::failed && outcome.reason != Reason::upstream_timeout;
  if (answer_.is_tunnel || answer_.is_stream || was_error || was_left || did_not_answer)
    return Outcome::no_work;
  return answer_.streams_since == admission::Time{}
             ? Outcome::all_the_time
             : answer_.streams_since - permit_.since() - hold_.before;
}

admission::Duration Exchange::time_at_service() const {
  return station_.loop().now() - permit_.since() - hold_.before;
}

// What a server has not done tells nothing of what it takes.
void Exchange::count_work(const Outcome& outcome) {
  const bool was_served = outcome.kind == Outcome::Kind::processed ||
                          outcome.kind == Outcome::Kind::abandoned ||
                          outcome.reason == Reason::upstream_timeout;
  if (!was_served || facts_.at_upstream <= admission::Duration::zero()) return;
  DemandCounts& counts = station_.metrics().demand[priority_index()];
  counts.served.add(arrival_.cost);
  counts.work_ns.add(static_cast<std::uint64_t>(facts_.at_upstream.count()) * arrival_.workers);
}

void Exchange::give_worker_back(Outcome outcome) {
  stop_holding();
  outcome.work = work_of(outcome);
  stop_streaming();
  outcome.idle = hold_.before;
  outcome.is_too_late = visit_.is_too_late(station_.loop().now());
  if (request_.body_tells_cost && !request_.is_whole) settle_cost();
  facts_.at_upstream = time_at_service();
  station_.metrics().upstream_times[priority_index()].record(facts_.at_upstream);
  count_work(outcome);
  facts_.ending = ending_of(outcome);
  note_use_of_quota(outcome);
  permit_.finish(outcome, station_.loop().now());
}

}  // namespace classgate::gateway
