// What the gateway itself says about a request: refusals, /queue/health, the line in the access
// log.

#include <iterator>

#include "conf/format.h"
#include "conf/invariant.h"
#include "gateway/exchange.h"
#include "gateway/health.h"
#include "gateway/station.h"

namespace classgate::gateway {

using conf::Reason;
using proxy::wire::Framing;

void Exchange::refuse(Reason reason, admission::Duration retry_after) {
  if (!request_.is_operators) station_.shared().gate.refuse(reason, station_.loop().now());
  refuse_uncounted(reason, retry_after);
}

void Exchange::refuse_uncounted(const admission::Rejection& rejection) {
  write_refusal(rejection);
  ClientConnection& client = *client_;
  const bool keep = !answer_.closes;
  end();
  client.answer_done(keep);
}

const Refusals& Exchange::refusals_here() const {
  const Policy& policy = station_.policy();
  return route_ != nullptr ? policy.rules->refusals_of(arrival_.route) : policy.rules->refusals;
}

std::string_view Exchange::allowed_methods(Reason reason) const {
  if (reason != Reason::method_refused) return {};
  return target_.path() == health_path ? "GET, HEAD"
                                       : "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
}

void Exchange::write_refusal(const admission::Rejection& rejection) {
  const Reason reason = rejection.reason;
  const Refusals& refusals = refusals_here();
  record_.status = refusals.status(reason);
  record_.reason = reason;
  CLASSGATE_INVARIANT(client_ != nullptr);
  if (record_.verdict != Verdict::admitted) record_.verdict = Verdict::rejected;
  // A small body may still come and be thrown away; a large one, or one that waits for leave to
  // come (RFC 9110 section 10.1.1), ends the connection.
  const bool skips_body = request_.is_whole || request_.body_was_here ||
                          (request_.framing == Framing::none) ||
                          (request_.framing == Framing::length && !request_.waits_for_leave &&
                           request_.length <= station_.settings().client.body_buffer.count);
  answer_.closes = answer_.closes || request_.wants_close || !skips_body || station_.is_draining();
  refusals.append(station_.gather().begin_text(),
                  {.rejection = rejection,
                   .request_id = texts_.request_id,
                   .date = station_.date_text(),
                   .allow = allowed_methods(reason),
                   .close = answer_.closes,
                   .says_keep_alive = request_.minor_version == 0,
                   .without_body = request_.is_head,
                   .says_rate_limit =
                       station_.settings().client.rate_limit_fields != conf::RateLimitFields::off});
  station_.gather().end_text();
  client_->send_gathered();
}

void Exchange::answer_operator() {
  if (!request_.is_last) {
    const Health& health = station_.strangers_health();
    return answer_with({.status = health.status,
                        .fields = "Content-Type: application/json\r\nCache-Control: no-store\r\n",
                        .body = health.json});
  }
  // RFC 9110 sections 9.3.7, 9.3.8.
  if (texts_.method == "TRACE")
    return answer_with({.status = 200, .fields = "Content-Type: message/http\r\n", .body = head_});
  answer_with({.status = 200,
               .fields = "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE\r\n",
               .body = {}});
}

void Exchange::answer_with(const OwnAnswer& answer) {
  record_.status = answer.status;
  record_.verdict = Verdict::operators;
  answer_.closes = answer_.closes || request_.wants_close || station_.is_draining();
  std::string& out = station_.gather().begin_text();
  fmt::format_to(std::back_inserter(out),
                 "HTTP/1.1 {} {}\r\n"
                 "{}"
                 "Date: {}\r\n"
                 "Content-Length: {}\r\n{}\r\n",
                 answer.status, reason_phrase(answer.status), answer.fields, station_.date_text(),
                 answer.body.size(),
                 answer_.closes                ? "Connection: close\r\n"
                 : request_.minor_version == 0 ? "Connection: keep-alive\r\n"
                                               : "");
  if (!request_.is_head) out += answer.body;
  station_.gather().end_text();
  client_->send_gathered();
  ClientConnection& client = *client_;
  const bool keep = !answer_.closes;
  end();
  client.answer_done(keep);
}

WaitingRequest Exchange::describe_wait() const {
  return {.id = texts_.request_id,
          .client = client_name(),
          .method = texts_.method,
          .path = std::string(target_.path()),
          .priority = arrival_.priority,
          .cost = arrival_.cost,
          .bytes = arrival_.bytes,
          .joined = wait_.joined,
          .deadline = wait_.deadline - station_.loop().now()};
}

// Once for each exchange, when the client has all it will get.
void Exchange::record() {
  // Names that nobody knows are why it is down.
  const std::string unknown = record_.reason == Reason::upstream_down
                                  ? station_.policy().servers->why_no_addresses()
                                  : std::string();
  record_.request_id = texts_.request_id;
  record_.client = client_name();
  if (!texts_.method.empty()) record_.method = texts_.method;
  if (target_.path_size != 0) record_.path = target_.path();
  if (route_ != nullptr) {
    record_.route = route_->name;
    record_.priority = route_->priority;
    record_.cost = arrival_.cost;
  }
  record_.observed = arrival_.observed;
  record_.deadline = request_.patience
                         ? request_.patience->time
                         : admission::Duration(station_.settings().admission.request_timeout);
  record_.total = station_.loop().now() - arrival_.at;
  record_.is_own_answer = !answer_.head_has_passed;
  record_.upstream = unknown.empty() ? std::string_view(forwarding_.server_name()) : unknown;
  record_.retries = forwarding_.retries();
  record_.retry_was_denied = forwarding_.retry_was_denied();
  if (client_ != nullptr && client_->tls() != nullptr) record_.tls = client_->tls()->version();
  if (!request_.is_operators)
    station_.traffic().count(record_, route_ != nullptr ? *route_ : station_.unrouted());
  station_.log(record_);
}

}  // namespace classgate::gateway
