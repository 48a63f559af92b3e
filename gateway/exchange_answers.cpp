// What the gateway itself says about a request: refusals, /queue/health, the line in the access
// log.

#include <iterator>

#include "conf/format.h"
#include "conf/invariant.h"
#include "gateway/access_line.h"
#include "gateway/exchange.h"
#include "gateway/health.h"
#include "gateway/station.h"

namespace classgate::gateway {

using conf::Reason;
using proxy::wire::Framing;

void Exchange::refuse(Reason reason, admission::Duration retry_after) {
  if (!is_operator_request_) station_.shared().gate.refuse(reason, station_.loop().now());
  refuse_uncounted(reason, retry_after);
}

void Exchange::refuse_uncounted(const admission::Rejection& rejection) {
  write_refusal(rejection);
  ClientConnection& client = *client_;
  const bool keep = !close_after_answer_;
  end();
  client.answer_done(keep);
}

const Refusals& Exchange::refusals_here() const {
  const Policy& policy = station_.policy();
  return route_ != nullptr ? policy.refusals_of(arrival_.route, route_->name) : policy.refusals;
}

std::string_view Exchange::allowed_methods(Reason reason) const {
  if (reason != Reason::method_refused) return {};
  return target_.path() == health_path ? "GET, HEAD"
                                       : "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
}

void Exchange::write_refusal(const admission::Rejection& rejection) {
  const Reason reason = rejection.reason;
  const Refusals& refusals = refusals_here();
  status_ = refusals.status(reason);
  reason_word_ = conf::word_of(reason);
  CLASSGATE_INVARIANT(client_ != nullptr);
  if (verdict_ != "admitted") verdict_ = "rejected";
  // A small body may still come and be thrown away; a large one, or one that waits for leave to
  // come (RFC 9110 section 10.1.1), ends the connection.
  const bool skips_body = body_is_whole_ || body_was_here_ || (request_framing_ == Framing::none) ||
                          (request_framing_ == Framing::length && !waits_for_leave_ &&
                           request_length_ <= station_.settings().client.body_buffer.count);
  close_after_answer_ =
      close_after_answer_ || client_wants_close_ || !skips_body || station_.is_draining();
  refusals.append(station_.gather().begin_text(),
                  {.rejection = rejection,
                   .request_id = request_id_,
                   .date = station_.date_text(),
                   .allow = allowed_methods(reason),
                   .close = close_after_answer_,
                   .says_keep_alive = client_minor_version_ == 0,
                   .without_body = is_head_method_,
                   .says_rate_limit =
                       station_.settings().client.rate_limit_fields != conf::RateLimitFields::off});
  station_.gather().end_text();
  client_->send_gathered();
}

void Exchange::answer_operator() {
  if (!is_last_) {
    const Health& health = station_.strangers_health();
    return answer_with({.status = health.status,
                        .fields = "Content-Type: application/json\r\nCache-Control: no-store\r\n",
                        .body = health.json});
  }
  // RFC 9110 sections 9.3.7, 9.3.8.
  if (method_ == "TRACE")
    return answer_with({.status = 200, .fields = "Content-Type: message/http\r\n", .body = head_});
  answer_with({.status = 200,
               .fields = "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE\r\n",
               .body = {}});
}

void Exchange::answer_with(const OwnAnswer& answer) {
  status_ = answer.status;
  verdict_ = "operator";
  close_after_answer_ = close_after_answer_ || client_wants_close_ || station_.is_draining();
  std::string& out = station_.gather().begin_text();
  fmt::format_to(std::back_inserter(out),
                 "HTTP/1.1 {} {}\r\n"
                 "{}"
                 "Date: {}\r\n"
                 "Content-Length: {}\r\n{}\r\n",
                 answer.status, reason_phrase(answer.status), answer.fields, station_.date_text(),
                 answer.body.size(),
                 close_after_answer_          ? "Connection: close\r\n"
                 : client_minor_version_ == 0 ? "Connection: keep-alive\r\n"
                                              : "");
  if (!is_head_method_) out += answer.body;
  station_.gather().end_text();
  client_->send_gathered();
  ClientConnection& client = *client_;
  const bool keep = !close_after_answer_;
  end();
  client.answer_done(keep);
}

WaitingRequest Exchange::describe_wait() const {
  return {.id = request_id_,
          .client = client_name(),
          .method = method_,
          .path = std::string(target_.path()),
          .priority = arrival_.priority,
          .cost = arrival_.cost,
          .bytes = arrival_.bytes,
          .joined = joined_,
          .deadline = wait_deadline_ - station_.loop().now()};
}

// Once for each exchange, when the client has all it will get.
void Exchange::record() {
  if (!is_operator_request_) {
    RouteTraffic& route = route_ != nullptr ? *route_ : station_.unrouted();
    route.endings[static_cast<std::size_t>(ending_)].add();
    if (!answer_head_passed_ && status_ >= 200)
      station_.traffic().own_answers[static_cast<std::size_t>(status_ / 100 - 2)].add();
    station_.traffic().received_bytes.add(body_bytes_);
    station_.traffic().sent_bytes.add(bytes_out_);
    if (forwarding_.retries() > 0) station_.traffic().retries.add(forwarding_.retries());
    if (forwarding_.retry_was_denied()) station_.traffic().retries_denied.add();
  }
  log_line();
}

void Exchange::log_line() {
  const bool is_accepted = verdict_ == "admitted" || verdict_ == "operator";
  const bool has_failed = reason_word_ != "-" || status_ >= 500;  // here or in the service
  if (!station_.wants_log_line(is_accepted && !has_failed)) return;
  const auto ms = [](admission::Duration d) {
    return std::chrono::duration<double, std::milli>(d).count();
  };
  const admission::Time now = station_.loop().now();
  // Names that nobody knows are why it is down.
  const std::string unknown = reason_word_ == conf::word_of(Reason::upstream_down)
                                  ? station_.policy().servers->why_no_addresses()
                                  : std::string();
  append_access_line(
      station_.begin_log_line(), station_.shared().access_log.is_json(),
      {.time = station_.time_text(),
       .request_id = request_id_,
       .client = client_name(),
       .method = method_.empty() ? std::string_view("-") : std::string_view(method_),
       .path = target_.path_size == 0 ? std::string_view("-") : target_.path(),
       .route = route_ != nullptr ? std::string_view(route_->name) : "-",
       .priority = route_ != nullptr ? route_->priority : 0,
       .verdict = verdict_,
       .reason = reason_word_,
       .observed = arrival_.observed ? conf::word_of(*arrival_.observed) : "-",
       .cost = route_ != nullptr ? arrival_.cost : 0,
       .deadline_ms =
           ms(patience_ ? patience_->time
                        : admission::Duration(station_.settings().admission.request_timeout)),
       .upload_ms = ms(upload_time_),
       .wait_ms = ms(waited_),
       .upstream_ms = ms(upstream_time_),
       .total_ms = ms(now - arrival_.at),
       .status = status_,
       .bytes_in = body_bytes_,
       .bytes_out = bytes_out_,
       .upstream = unknown.empty() ? std::string_view(forwarding_.server_name()) : unknown,
       .retries = forwarding_.retries(),
       .tls = client_ != nullptr && client_->tls() != nullptr ? client_->tls()->version() : "-"});
}

}  // namespace classgate::gateway
