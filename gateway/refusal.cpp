#include "gateway/refusal.h"

#include <fmt/format.h>

#include <chrono>
#include <iterator>
#include <nlohmann/json.hpp>

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

Refusals::Refusals(const conf::StatusTable& statuses) : statuses_(statuses) {
  for (const conf::ReasonText& text : conf::reason_texts) {
    Prebuilt& prebuilt = prebuilt_[conf::index_of(text.reason)];
    const int code = status(text.reason);
    const nlohmann::ordered_json body{{"type", fmt::format("urn:classgate:reason:{}", text.word)},
                                      {"title", text.title},
                                      {"status", code},
                                      {"reason", text.word}};
    prebuilt.body = body.dump() + "\n";
    prebuilt.head = fmt::format(
        "HTTP/1.1 {} {}\r\n"
        "Content-Type: application/problem+json\r\n"
        "Cache-Control: no-store\r\n"
        "X-Classgate-Reason: {}\r\n"
        "Content-Length: {}\r\n",
        code, reason_phrase(code), text.word, prebuilt.body.size());
  }
}

void Refusals::append(std::string& out, const Facts& facts) const {
  const Prebuilt& prebuilt = prebuilt_[conf::index_of(facts.reason)];
  constexpr std::size_t own_words = 160;  // names of the fields, and Retry-After
  out.reserve(out.size() + prebuilt.head.size() + prebuilt.body.size() + facts.allow.size() +
              facts.date.size() + facts.request_id.size() + own_words);
  out += prebuilt.head;
  if (facts.retry_after > admission::Duration::zero()) {
    // Whole seconds, upwards (RFC 9110 section 10.2.3): too early would be refused again.
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(facts.retry_after).count();
    out += "Retry-After: ";
    out += fmt::format_int(seconds).c_str();
    out += "\r\n";
  }
  if (!facts.allow.empty()) {  // a 405 must say what is allowed (RFC 9110 section 15.5.6)
    out += "Allow: ";
    out += facts.allow;
    out += "\r\n";
  }
  out += "Date: ";
  out += facts.date;
  out += "\r\n";
  if (!facts.request_id.empty()) {
    out += "X-Request-Id: ";
    out += facts.request_id;
    out += "\r\n";
  }
  if (facts.close)
    out += "Connection: close\r\n";
  else if (facts.says_keep_alive)
    out += "Connection: keep-alive\r\n";
  out += "\r\n";
  if (!facts.without_body) out += prebuilt.body;
}

}  // namespace classgate::gateway
