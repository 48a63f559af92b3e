// What the upstream answers, on its way to the client: the part of an exchange that a Forwarding
// tells.

#include <spdlog/spdlog.h>

#include "admission/measure/units.h"
#include "conf/format.h"
#include "gateway/exchange.h"
#include "gateway/first_look.h"
#include "gateway/grpc_refusal.h"
#include "gateway/rate_limit_fields.h"
#include "gateway/station.h"
#include "proxy/wire/fields.h"

namespace classgate::gateway {

using admission::Outcome;
using conf::Reason;
using proxy::wire::Framing;

namespace {

Reason reason_of(proxy::Forwarding::Failure failure) {
  switch (failure) {
    case proxy::Forwarding::Failure::unreachable: return Reason::upstream_unreachable;
    case proxy::Forwarding::Failure::no_server: return Reason::upstream_down;
    default: return Reason::upstream_broken;
  }
}

}  // namespace

void Exchange::on_upload_drained() {
  if (client_ != nullptr && (!request_.is_whole || answer_.is_tunnel)) client_->stream_body();
}

void Exchange::on_interim_answer(const proxy::wire::Head& head) {
  // 100 has been said by the gateway itself.
  if (client_ != nullptr && head.status != 100) client_->send_interim(head);
}

// From now on bytes go both ways until one side ends it; the worker stays taken for as long. How
// long that may be is no question of the request timeout but of silence (the client's side).
void Exchange::on_switched(const proxy::wire::Head& head) {
  if (client_ == nullptr) {  // nobody to talk to
    forwarding_.cancel();
    give_worker_back(visit_.orphan_outcome());
    return end();
  }
  if (!client_->begin_tunnel(head)) {
    forwarding_.blame_server();
    return refuse_switch(
        "it agrees to WebSocket with a Sec-WebSocket-Accept that is not the key's");
  }
  facts_.status = head.status;
  answer_.head_has_passed = answer_.is_tunnel = true;
  timers_.request.cancel();
  visit_.lasts_until(admission::Time::max());
}

// Of a client of HTTP/2, to whom 2xx is the beginning of the tunnel (RFC 8441 section 5). A service
// that knows no WebSocket there has done nothing wrong: clients could have servers passed over.
void Exchange::refuse_switch(const std::string& why) {
  forwarding_.cancel();
  on_answer_failed(proxy::Forwarding::Failure::broken, why);
}

void Exchange::on_tunnel_bytes(std::string_view bytes) {
  facts_.bytes_in += bytes.size();
  forwarding_.send_raw(bytes);
}

void Exchange::on_tunnel_client_ended() { forwarding_.end_raw(); }

void Exchange::on_server_ended() {
  client_->flush();
  client_->end_tunnel_output();
}

// What the gateway says in an answer of the service, as far as the conf wants it.
Exchange::OwnFields Exchange::own_fields() const {
  OwnFields own;
  const conf::ClientSettings& wanted = station_.settings().client;
  // How long it waited, and how long the upstream took for the head of its answer.
  if (wanted.server_timing)
    own.timing = fmt::format("queue;dur={:.3f}, upstream;dur={:.3f}",
                             measure::in_ms(facts_.waiting), measure::in_ms(time_at_service()));
  if (wanted.rate_limit_fields == conf::RateLimitFields::all) {
    const auto all = station_.shared().gate.allowances(arrival_, station_.loop().now());
    own.policy = rate_limit_policy(all);
    own.state = rate_limit_state(all);
  }
  if (!quota_.warning || wanted.rate_limit_fields == conf::RateLimitFields::off) return own;
  if (quota_.warning->limit > 0)
    add_quota_warning(*quota_.warning, Quotas::now(), own.policy, own.state);
  else
    own.soft_quota = soft_quota_warning(*quota_.warning, Quotas::now());
  return own;
}

// What has begun to come piece by piece may take its time, as long as it comes. False when nobody
// wants it any more.
bool Exchange::begin_stream() {
  if (visit_.is(State::orphaned) && answer_.terms.on_stream_abort == conf::OnClientAbort::cancel) {
    forwarding_.cancel();
    give_worker_back(visit_.orphan_outcome());
    end();
    return false;
  }
  const bool had_its_504 =
      visit_.is(State::orphaned) && visit_.orphan_outcome().kind == Outcome::Kind::failed;
  if (!had_its_504) count_as_stream();  // else what is left of its time is as it was
  return true;
}

void Exchange::count_as_stream() {
  answer_.is_stream = true;
  station_.shared().streams.fetch_add(1, std::memory_order_relaxed);
  proxy::net::TimeoutList& whole_time = station_.timeouts().stream_time;
  visit_.lasts_until(station_.loop().now() + whole_time.duration());
  whole_time.set(timers_.request);
  station_.timeouts().stream_idle.set(timers_.silence);
}

void Exchange::stop_streaming() {
  if (!std::exchange(answer_.is_stream, false)) return;
  timers_.silence.cancel();
  station_.shared().streams.fetch_sub(1, std::memory_order_relaxed);
}

void Exchange::on_answer_head(const proxy::wire::Head& head, Framing framing) {
  if (request_.must_switch && head.status < 300 && visit_.is(State::forwarding))
    return refuse_switch("it answers a request for WebSocket with another success");
  if (is_stream(head, framing, answer_.terms.streams) && !begin_stream()) return;
  if (client_ == nullptr) return;
  facts_.status = head.status;
  answer_.head_has_passed = true;
  if (head.came_by_http2 && framing == Framing::none) note_call_status(head.fields);
  if (framing == Framing::until_close || framing == Framing::chunked)
    answer_.streams_since = station_.loop().now();
  OwnFields own;  // lives as long as what is said of it
  const proxy::wire::Head* said = &head;
  const conf::ClientSettings& wanted = station_.settings().client;
  const bool tells_limits = wanted.server_timing ||
                            wanted.rate_limit_fields == conf::RateLimitFields::all ||
                            quota_.warning;
  if (tells_limits || request_.cors.is_on) {
    proxy::wire::Head& extended = station_.spare_head();
    said = &extended;
    extended = head;
    if (request_.cors.is_on)
      std::erase_if(extended.fields, [](const proxy::wire::Field& field) {
        return Cors::is_ours_to_say(field.name);
      });
    const auto add = [&](std::string_view name, std::string_view value) {
      if (!value.empty()) extended.add(name, value);
    };
    Cors::tell(request_.cors, texts_.origin, add);
    if (tells_limits) own = own_fields();
    add("Server-Timing", own.timing);
    add("RateLimit-Policy", own.policy);
    add("RateLimit", own.state);
    add("X-Classgate-Soft-Quota", own.soft_quota);
  }
  client_->send_head(*said, framing, texts_.request_id);
}

void Exchange::on_answer_body(std::string_view part) {
  if (client_ == nullptr) return;
  facts_.bytes_out += part.size();
  client_->send_body(part);
}

void Exchange::on_answer_part_end() {
  note_sign_of_life();
  if (client_ != nullptr) client_->flush();
}

bool Exchange::is_answer_blocked() {
  if (client_ == nullptr || client_->progress().pending < station_.response_buffer()) {
    answer_.waits_for_reader = false;
    return false;
  }
  answer_.waits_for_reader = true;
  if (!timers_.reader.is_set()) {
    station_.metrics().reached(Limit::response_buffer);
    answer_.reader_mark = client_->progress().taken;
    station_.timeouts().stream.set(timers_.reader);
  }
  return true;
}

// As an upload, so an answer that is larger than what we hold of it; a tunnel may be as slow as it
// likes.
void Exchange::on_reader_window_over() {
  if (!visit_.is(State::forwarding) || answer_.is_tunnel) return;
  const ClientStream::Progress progress = client_->progress();
  if (progress.pending == 0) return;
  if (station_.is_too_slow_for_waiters(progress.taken - answer_.reader_mark)) {
    station_.metrics().reached(Limit::stream_rate_min);
    ClientStream& client = *client_;
    on_client_gone();
    return client.reset();  // what it has may look whole
  }
  answer_.reader_mark = progress.taken;
  station_.timeouts().stream.set(timers_.reader);
}

// Of gRPC: with the answer's end, or in the head of one that has nothing else.
void Exchange::note_call_status(const auto& fields) {
  for (const auto& field : fields)
    if (proxy::wire::equal_names(field.name, "grpc-status"))
      facts_.grpc_status = grpc_status_from(field.value);
}

// The upstream is done: the worker goes back now, however slowly the client reads.
void Exchange::on_answer_end(const std::vector<proxy::wire::Parser::Trailer>& trailers) {
  if (visit_.is(State::orphaned)) {
    give_worker_back(visit_.orphan_outcome());
    return end();
  }
  if (!trailers.empty()) note_call_status(trailers);
  client_->send_end(trailers);
  // Before the last bytes go out: who has read an answer finds it in the books.
  give_worker_back(Outcome::processed());
  client_->flush();
  finish();
}

void Exchange::on_answer_failed(proxy::Forwarding::Failure failure, const std::string& why) {
  if (visit_.is(State::orphaned)) {
    give_worker_back(visit_.orphan_outcome());
    return end();
  }
  if (failure == proxy::Forwarding::Failure::head_too_large)
    station_.metrics().reached(Limit::answer_header_bytes);
  const Reason reason = reason_of(failure);
  const bool was_nowhere =
      reason == Reason::upstream_unreachable || reason == Reason::upstream_down;
  const bool is_all_here = body_.size() == facts_.bytes_in && !answer_.head_has_passed;
  if (was_nowhere && is_all_here && hold_if_useful()) return;
  // Somebody else has taken the place that was seen: there will be another one.
  const bool lost_its_place = reason == Reason::upstream_down && is_all_here &&
                              !station_.upstreams().servers().none_reachable();
  if (lost_its_place) return hold();
  if (reason == Reason::upstream_down) {
    // It went down, or filled up, while this one waited; its log lines tell.
    give_worker_back(Outcome::failed(reason));
    return refuse_uncounted(reason, time_to_next_probe(station_.settings().upstream));
  }
  spdlog::warn("upstream {}: {} ({} {}, request {}): answered with {}", forwarding_.server_name(),
               why, texts_.method, target_.path(), texts_.request_id,
               answer_.head_has_passed ? "a cut connection" : conf::word_of(reason));
  give_worker_back(Outcome::failed(reason));
  if (!answer_.head_has_passed) return refuse_uncounted(reason);
  facts_.reason = reason;
  client_->flush();
  client_->cut(reason);
  end();
}

}  // namespace classgate::gateway
