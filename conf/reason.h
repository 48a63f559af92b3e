#pragma once

// The reason words: why a request was not served. One word for each cause, the same in the refusal
// body, the X-Classgate-Reason field, the log, the metrics and the documentation.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace classgate::conf {

enum class Reason : std::uint8_t {
  // Admission turns the request away.
  draining,
  rate_limited,
  route_rate,
  client_rate,
  client_queue,
  retry_budget,
  queue_full,
  displaced,
  fair_share,
  queue_timeout,
  would_miss_deadline,
  deadline,
  shed,
  upstream_down,
  too_many_connections,
  client_connections,
  memory_pressure,
  // The request itself cannot be accepted.
  malformed,
  header_too_large,
  target_too_long,
  body_too_large,
  client_timeout,
  unknown_coding,
  unknown_method,
  method_refused,
  version_refused,
  expectation_failed,
  loop_detected,
  // The upstream could not answer it.
  upstream_timeout,
  stream_idle,
  stream_too_long,
  upstream_unreachable,
  upstream_broken,
};

struct ReasonText {
  Reason reason;
  std::string_view word;   // stable, never translated
  int default_status;      // HTTP status a client sees unless the conf says otherwise
  std::string_view title;  // RFC 9457 "title": one human sentence, the same for every occurrence
};

inline constexpr std::array reason_texts = {
    ReasonText{Reason::draining, "draining", 503, "The gateway is shutting down"},
    ReasonText{Reason::rate_limited, "rate_limited", 429, "The request rate is exceeded"},
    ReasonText{Reason::route_rate, "route_rate", 429, "The request rate of this route is exceeded"},
    ReasonText{Reason::client_rate, "client_rate", 429,
               "The request rate of this client is exceeded"},
    ReasonText{Reason::client_queue, "client_queue", 429,
               "This client has too many requests waiting"},
    ReasonText{Reason::retry_budget, "retry_budget", 429,
               "Too many requests of this client are retries"},
    ReasonText{Reason::queue_full, "queue_full", 503, "The queue is full"},
    ReasonText{Reason::displaced, "displaced", 503,
               "A more urgent request took this place in the queue"},
    ReasonText{Reason::fair_share, "fair_share", 503,
               "A client with fewer requests waiting took this place in the queue"},
    ReasonText{Reason::queue_timeout, "queue_timeout", 503,
               "The request waited too long for a worker"},
    ReasonText{Reason::would_miss_deadline, "would_miss_deadline", 503,
               "The request cannot be answered before its deadline"},
    ReasonText{Reason::deadline, "deadline", 504,
               "The deadline of the request passed while it waited"},
    ReasonText{Reason::shed, "shed", 503,
               "Too many have been waiting for too long; this request gave way"},
    ReasonText{Reason::upstream_down, "upstream_down", 503, "No server of the service is up"},
    ReasonText{Reason::too_many_connections, "too_many_connections", 503,
               "The gateway has no connection to spare"},
    ReasonText{Reason::client_connections, "client_connections", 429,
               "This client has too many connections"},
    ReasonText{Reason::memory_pressure, "memory_pressure", 503,
               "The gateway has no memory to spare"},
    ReasonText{Reason::malformed, "malformed", 400, "The request is malformed"},
    ReasonText{Reason::header_too_large, "header_too_large", 431,
               "The request header is too large"},
    ReasonText{Reason::target_too_long, "target_too_long", 414, "The request target is too long"},
    ReasonText{Reason::body_too_large, "body_too_large", 413, "The request body is too large"},
    ReasonText{Reason::client_timeout, "client_timeout", 408, "The request came too slowly"},
    ReasonText{Reason::unknown_coding, "unknown_coding", 501,
               "The transfer coding is not supported"},
    ReasonText{Reason::unknown_method, "unknown_method", 501, "The method is not known"},
    ReasonText{Reason::method_refused, "method_refused", 405, "The method is not allowed here"},
    ReasonText{Reason::version_refused, "version_refused", 505,
               "The HTTP version is not supported"},
    ReasonText{Reason::expectation_failed, "expectation_failed", 417,
               "The expectation cannot be met"},
    ReasonText{Reason::loop_detected, "loop_detected", 508,
               "The request has been through this gateway before"},
    ReasonText{Reason::upstream_timeout, "upstream_timeout", 504,
               "The service did not answer in time"},
    ReasonText{Reason::stream_idle, "stream_idle", 504,
               "The service fell silent in the middle of a streamed answer"},
    ReasonText{Reason::stream_too_long, "stream_too_long", 504,
               "The streamed answer took longer than any may"},
    ReasonText{Reason::upstream_unreachable, "upstream_unreachable", 502,
               "The service cannot be reached"},
    ReasonText{Reason::upstream_broken, "upstream_broken", 502,
               "The service broke off or answered nonsense"},
};

inline constexpr std::size_t reason_count = reason_texts.size();

constexpr std::size_t index_of(Reason reason) { return static_cast<std::size_t>(reason); }
constexpr const ReasonText& text_of(Reason reason) { return reason_texts[index_of(reason)]; }
constexpr std::string_view word_of(Reason reason) { return text_of(reason).word; }

constexpr std::optional<Reason> reason_from_word(std::string_view word) {
  for (const ReasonText& text : reason_texts)
    if (text.word == word) return text.reason;
  return std::nullopt;
}

// The table above stands in the order of the enum.
static_assert([] {
  for (std::size_t i = 0; i < reason_texts.size(); ++i)
    if (index_of(reason_texts[i].reason) != i) return false;
  return true;
}());

}  // namespace classgate::conf
