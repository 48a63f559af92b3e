#include "gateway/refusal.h"

#include <chrono>
#include <iterator>
#include <nlohmann/json.hpp>

#include "conf/format.h"
#include "gateway/rate_limit_fields.h"

namespace classgate::gateway {

std::string_view reason_phrase(int status) {
  switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 403: return "Forbidden";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 417: return "Expectation Failed";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default: return "Refused";
  }
}

namespace {

std::int64_t milliseconds_up(admission::Duration duration) {
  return std::chrono::ceil<std::chrono::milliseconds>(duration).count();
}

// The members of the body that are not the same each time, and its end.
void describe(const admission::Rejection& rejection, fmt::memory_buffer& out) {
  const auto member = [&out](std::string_view name, auto value) {
    fmt::format_to(std::back_inserter(out), ",\"{}\":{}", name, value);
  };
  if (rejection.retry_after > admission::Duration::zero())
    member("retry_after_ms", milliseconds_up(rejection.retry_after));
  if (rejection.rate > 0) {
    fmt::format_to(std::back_inserter(out), R"(,"violated-policies":["{}"])",
                   rate_limit_name(rejection.reason));
    member("rate", rejection.rate);
    member("burst", rejection.burst);
  }
  if (rejection.places > 0) member("queue_size", rejection.places);
  if (rejection.position > 0) {
    member("position", rejection.position);
    if (rejection.estimate > admission::Duration::zero())  // else nobody knows yet
      member("estimated_wait_ms", milliseconds_up(rejection.estimate));
  }
  out.append(std::string_view("}\n"));
}

admission::Limits::Buckets bucket_of(const admission::Rejection& rejection) {
  admission::Limits::Buckets one;
  const admission::Limits::Bucket bucket{rejection.tokens, rejection.rate, rejection.burst};
  switch (rejection.reason) {
    case conf::Reason::client_rate: one.client = bucket; break;
    case conf::Reason::route_rate: one.route = bucket; break;
    default: one.all = bucket;
  }
  return one;
}

}  // namespace

Refusals::Refusals(const conf::StatusTable& statuses) : statuses_(statuses) {
  for (const conf::ReasonText& text : conf::reason_texts) {
    Prebuilt& prebuilt = prebuilt_[conf::index_of(text.reason)];
    const int code = status(text.reason);
    const nlohmann::ordered_json body{{"type", fmt::format("urn:classgate:reason:{}", text.word)},
                                      {"title", text.title},
                                      {"status", code},
                                      {"reason", text.word}};
    prebuilt.body = body.dump();
    prebuilt.body.pop_back();
    prebuilt.head = fmt::format(
        "HTTP/1.1 {} {}\r\n"
        "Content-Type: application/problem+json\r\n"
        "Cache-Control: no-store\r\n"
        "X-Classgate-Reason: {}\r\n"
        "Content-Length: ",
        code, reason_phrase(code), text.word);
  }
}

void Refusals::append(std::string& out, const Facts& facts) const {
  const admission::Rejection& rejection = facts.rejection;
  const Prebuilt& prebuilt = prebuilt_[conf::index_of(rejection.reason)];
  fmt::memory_buffer particulars;
  describe(rejection, particulars);
  constexpr std::size_t own_words = 200;  // names of the fields, and numbers
  out.reserve(out.size() + prebuilt.head.size() + prebuilt.body.size() + particulars.size() +
              facts.allow.size() + facts.date.size() + facts.request_id.size() + own_words);
  const auto field = [&out](std::string_view name, std::string_view value) {
    out += name;
    out += value;
    out += "\r\n";
  };
  const auto number = [](auto value) { return fmt::format_int(value); };
  out += prebuilt.head;
  field("", number(prebuilt.body.size() + particulars.size()).c_str());
  // Whole seconds, upwards (RFC 9110 section 10.2.3): too early would be refused again.
  if (rejection.retry_after > admission::Duration::zero())
    field("Retry-After: ",
          number(std::chrono::ceil<std::chrono::seconds>(rejection.retry_after).count()).c_str());
  if (rejection.rate > 0 && facts.says_rate_limit) {
    const auto bucket = bucket_of(rejection);
    field("RateLimit-Policy: ", rate_limit_policy(bucket));
    field("RateLimit: ", rate_limit_state(bucket));
  }
  // A 405 must say what is allowed (RFC 9110 section 15.5.6).
  if (!facts.allow.empty()) field("Allow: ", facts.allow);
  field("Date: ", facts.date);
  if (!facts.request_id.empty()) field("X-Request-Id: ", facts.request_id);
  if (facts.close)
    field("Connection: close", "");
  else if (facts.says_keep_alive)
    field("Connection: keep-alive", "");
  out += "\r\n";
  if (facts.without_body) return;
  out += prebuilt.body;
  out.append(particulars.data(), particulars.size());
}

}  // namespace classgate::gateway
