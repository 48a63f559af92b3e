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
  finish();
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
  client_->send_refusal(refusals, {.rejection = rejection,
                                   .request_id = texts_.request_id,
                                   .allow = allowed_methods(reason),
                                   .without_body = request_.is_head,
                                   .gives_up_request = request_.is_given_up});
}

void Exchange::answer_operator() {
  using Field = OwnAnswer::Field;
  if (!request_.is_last) {
    const Health& health = station_.strangers_health();
    static constexpr std::array fields{Field{"Content-Type", "application/json"},
                                       Field{"Cache-Control", "no-store"}};
    return answer_with(health.status, fields, health.json);
  }
  // RFC 9110 sections 9.3.7, 9.3.8.
  if (texts_.method == "TRACE") {
    static constexpr std::array fields{Field{"Content-Type", "message/http"}};
    return answer_with(200, fields, head_);
  }
  static constexpr std::array fields{
      Field{"Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE"}};
  answer_with(200, fields, {});
}

void Exchange::answer_with(int status, std::span<const OwnAnswer::Field> fields,
                           std::string_view body) {
  record_.status = status;
  record_.verdict = Verdict::operators;
  client_->send_own(
      {.status = status, .fields = fields, .body = body, .without_body = request_.is_head});
  finish();
}

// The client has been told all; the next request may begin.
void Exchange::finish() {
  ClientStream& client = *client_;
  end();
  client.finish();
}

WaitingRequest Exchange::describe_wait() const {
  return {.id = texts_.request_id,
          .client = client_name(),
          .method = texts_.method,
          .path = std::string(target_.path()),
          .priority = arrival_.priority,
          .cost = arrival_.cost,
          .bytes = arrival_.bytes,
          .joined = visit_.joined(),
          .deadline = visit_.waits_until() - station_.loop().now()};
}

// Once for each exchange, when the client has all it will get.
void Exchange::record() {
  CLASSGATE_INVARIANT(client_ != nullptr);
  record_.total = station_.loop().now() - arrival_.at;
  record_.is_own_answer = !answer_.head_has_passed;
  record_.retries = forwarding_.retries();
  record_.retry_was_denied = forwarding_.retry_was_denied();
  if (!request_.is_operators)
    station_.traffic().count(record_, route_ != nullptr ? *route_ : station_.unrouted());
  if (station_.wants_line(record_)) log();
}

// The rest of the record, which only the log tells.
void Exchange::log() {
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
  // Names that nobody knows are why it is down.
  const std::string unknown = record_.reason == Reason::upstream_down
                                  ? station_.policy().servers->why_no_addresses()
                                  : std::string();
  record_.upstream = unknown.empty() ? std::string_view(forwarding_.server_name()) : unknown;
  if (const auto* const tls = client_->client().tls) record_.tls = tls->version();
  station_.add_line(record_);
  record_.upstream = "-";  // it may have been `unknown`
}

}  // namespace classgate::gateway
