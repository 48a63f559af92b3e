// What the gateway itself says about a request: refusals, /queue/health, the line in the access
// log.

#include <algorithm>
#include <array>
#include <iterator>

#include "conf/format.h"
#include "conf/invariant.h"
#include "gateway/clients/pseudonym.h"
#include "gateway/exchange.h"
#include "gateway/grpc_refusal.h"
#include "gateway/health.h"
#include "gateway/station.h"
#include "proxy/wire/serialise.h"

namespace classgate::gateway {

using conf::Reason;
using proxy::wire::Framing;

void Exchange::refuse(Reason reason, admission::Duration retry_after) {
  if (!request_.answered_here) station_.shared().gate.refuse(reason, station_.loop().now());
  refuse_uncounted(reason, retry_after);
}

// What asks for more than the whole of it fits into none that comes either.
void Exchange::refuse_for(const QuotaState& quota) {
  const auto length = std::chrono::duration<double>(quota.end - quota.begin);
  admission::Rejection rejection{.reason = Reason::quota};
  if (!quota.is_too_small)
    rejection.retry_after =
        std::max<admission::Duration>(quota.end - Quotas::now(), std::chrono::seconds(1));
  rejection.burst = static_cast<double>(quota.limit);
  rejection.rate = rejection.burst / length.count();
  rejection.tokens = static_cast<double>(quota.left());
  rejection.renews_at = quota.end.time_since_epoch().count();
  station_.shared().gate.refuse(Reason::quota, station_.loop().now());
  refuse_uncounted(rejection);
}

void Exchange::refuse_uncounted(const admission::Rejection& rejection) {
  quota_.charge.give_back();  // who has read an answer finds it so; what was kept stays
  write_refusal(rejection);
  finish();
}

const Refusals& Exchange::refusals_here() const {
  const bool has_route = route_ != nullptr && !request_.is_unreadable;
  return station_.policy().rules->refusals_of(has_route ? &arrival_.route : nullptr,
                                              client_->client().listener.get());
}

std::string_view Exchange::allowed_methods(Reason reason) const {
  if (reason != Reason::method_refused) return {};
  return target_.path() == health_path ? "GET, HEAD"
                                       : "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
}

void Exchange::write_refusal(const admission::Rejection& rejection) {
  const Reason reason = rejection.reason;
  const Refusals& refusals = refusals_here();
  facts_.status = refusals.status(reason);
  facts_.reason = reason;
  facts_.rejection = rejection;
  CLASSGATE_INVARIANT(client_ != nullptr);
  if (facts_.verdict != Verdict::admitted) facts_.verdict = Verdict::rejected;
  std::string own_fields;
  Cors::tell(request_.cors, texts_.origin, [&](std::string_view name, std::string_view value) {
    for (const std::string_view part : {name, std::string_view(": "), value, proxy::wire::crlf})
      own_fields += part;
  });
  client_->send_refusal(refusals, {.rejection = rejection,
                                   .request_id = texts_.request_id,
                                   .allow = allowed_methods(reason),
                                   .own_fields = own_fields,
                                   .cost = arrival_.cost,
                                   .without_body = request_.is_head,
                                   .has_bad_token = request_.has_bad_token,
                                   .gives_up_request = request_.is_given_up});
}

void Exchange::answer_here() {
  switch (*request_.answered_here) {
    case AnsweredHere::health: return answer_health();
    case AnsweredHere::preflight: return answer_preflight();
    case AnsweredHere::last_hop: return answer_as_last();
  }
}

void Exchange::answer_health() {
  using Field = OwnAnswer::Field;
  const HealthPage& health = station_.strangers_health();
  static constexpr std::array fields{Field{"Content-Type", "application/json"},
                                     Field{"Cache-Control", "no-store"}};
  answer_with(health.status, fields, health.json);
}

// RFC 9110 sections 9.3.7, 9.3.8.
void Exchange::answer_as_last() {
  using Field = OwnAnswer::Field;
  if (texts_.method == "TRACE") {
    static constexpr std::array fields{Field{"Content-Type", "message/http"}};
    return answer_with(200, fields, head_);
  }
  static constexpr std::array fields{
      Field{"Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE"}};
  answer_with(200, fields, {});
}

// A reload may have turned CORS off meanwhile: then it is told nothing.
void Exchange::answer_preflight() {
  static constexpr std::string_view also_varies =
      "Access-Control-Request-Method, Access-Control-Request-Headers";
  std::array<OwnAnswer::Field, 4> fields;
  std::size_t count = 0;
  const auto put = [&](std::string_view name, std::string_view value) {
    fields[count++] = {name, value};
  };
  put("Vary", also_varies);
  const Cors& cors = station_.rules().cors;
  if (!texts_.origin.empty() && cors.is_on()) cors.tell_preflight(put);
  answer_with(200, {fields.data(), count}, {});
}

void Exchange::answer_with(int status, std::span<const OwnAnswer::Field> fields,
                           std::string_view body) {
  std::array<OwnAnswer::Field, 8> all;  // at most 4 of its own, 4 of Cors
  CLASSGATE_INVARIANT(fields.size() <= 4);
  auto end = std::ranges::copy(fields, all.begin()).out;
  Cors::tell(request_.cors, texts_.origin,
             [&](std::string_view name, std::string_view value) { *end++ = {name, value}; });
  facts_.status = status;
  facts_.verdict = Verdict::answered_here;
  client_->send_own({.status = status,
                     .fields = {all.begin(), end},
                     .body = body,
                     .without_body = request_.is_head});
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
          .address = client_name(),
          .client = arrival_.client,
          .name = texts_.name,
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
  facts_.total = station_.loop().now() - arrival_.at;
  facts_.is_own_answer = !answer_.head_has_passed;
  facts_.retries = forwarding_.retries();
  facts_.retry_was_denied = forwarding_.retry_was_denied();
  facts_.was_isolated = facts_.was_isolated || forwarding_.needs_isolation();
  facts_.carried_by = forwarding_.carried_by();
  if (client_->client().calls_grpc && facts_.reason)
    facts_.grpc_status = static_cast<std::int8_t>(grpc_code_of(*facts_.reason, facts_.status));
  if (route_ != nullptr) facts_.cost = arrival_.cost;
  if (request_.answered_here)
    station_.metrics().count(*request_.answered_here);
  else
    count_in(route_ != nullptr ? *route_ : station_.unrouted(), station_.metrics_of(arrival_.plan));
  const auto wanted = station_.wanted_line(facts_);
  const bool is_kept = facts_.kind() != AccessQuota::Kind::routine && !request_.answered_here &&
                       station_.keeps_decisions();
  if (wanted == AccessLines::Wanted::no && !is_kept) return;
  complete_facts();
  if (is_kept)
    station_.keep(facts_, {.id = texts_.request_id,
                           .address = client_name(),
                           .method = texts_.method,
                           .path = target_.path(),
                           .name = name_told(),
                           .upstream = forwarding_.server_name(),
                           .client = arrival_.client,
                           .route = route_ != nullptr ? &route_->name : nullptr,
                           .plan = &station_.metrics_of(arrival_.plan).name});
  if (wanted == AccessLines::Wanted::no) return;
  const Pseudonym client(arrival_.client);
  const ExchangeTexts texts = texts_by(client.view());
  if (wanted == AccessLines::Wanted::line) log(texts);
  if (wanted == AccessLines::Wanted::roll_up)
    station_.roll_up({.client = texts.client,
                      .address = texts.address,
                      .reason = *facts_.reason,
                      .route = route_,
                      .path = texts.path,
                      .status = facts_.status,
                      .name = texts.name,
                      .plan = texts.plan,
                      .credentials = facts_.credentials});
}

// The numbers and the history are told the same.
void Exchange::count_in(RouteMetrics& route, PlanMetrics& plan) {
  station_.metrics().count(facts_, route, plan);
  if (UsageJournal* const usage = station_.usage())
    usage->add(use_of(facts_, arrival_.client, station_.loop().now(), route, plan));
}

// What who keeps it wants to know, too.
void Exchange::complete_facts() {
  facts_.ended = station_.wall_time();
  if (route_ != nullptr) facts_.priority = route_->priority;
  facts_.observed = arrival_.observed;
  facts_.deadline = request_.deadline
                        ? request_.deadline->time
                        : admission::Duration(station_.settings().admission.request_timeout);
}

const std::string& Exchange::name_told() const {
  const bool names_whom_to_tell = texts_.name.empty() && facts_.verdict == Verdict::rejected;
  return names_whom_to_tell ? texts_.name_not_valid : texts_.name;
}

ExchangeTexts Exchange::texts_by(std::string_view pseudonym) const {
  const auto said = [](std::string_view text) { return text.empty() ? "-" : text; };
  return {.request_id = texts_.request_id,
          .client = pseudonym,
          .address = client_name(),
          .method = said(texts_.method),
          .path = target_.path_size != 0 ? target_.path() : "-",
          .route = route_ != nullptr ? std::string_view(route_->name) : "-",
          .plan = station_.metrics_of(arrival_.plan).name,
          .name = said(name_told()),
          .upstream = forwarding_.server_name()};
}

// And what only the log tells.
void Exchange::log(const ExchangeTexts& texts) {
  ExchangeRecord record{facts_, texts};
  std::string query;  // without what clients are told apart by
  // Names that nobody knows are why it is down.
  const std::string unknown = record.reason == Reason::upstream_down
                                  ? station_.policy().servers->why_no_addresses()
                                  : std::string();
  if (!unknown.empty()) record.upstream = unknown;
  if (const auto* const tls = client_->client().tls) record.tls = tls->version();
  record.attempts = forwarding_.attempts();
  record.attempts_end = station_.loop().now();
  record.traceparent = texts_.noted.traceparent();
  record.user_agent = texts_.noted.user_agent();
  record.headers = texts_.noted.named();
  if (station_.settings().log.query)
    record.query = station_.rules().logged_fields.masked(target_.query(), query);
  station_.add_line(record);
}

}  // namespace classgate::gateway
