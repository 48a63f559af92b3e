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
  client_pattern,
  quota,
  client_queue,
  too_soon,
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
  unknown_client,
  token_checks,
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
  repeated,
  // The upstream could not answer it.
  upstream_timeout,
  stream_idle,
  stream_too_long,
  upstream_unreachable,
  upstream_broken,
};

// What stood in the way. Whoever treats reasons alike asks for their kind; nobody compares reasons
// by their order.
enum class ReasonKind : std::uint8_t {
  shutdown,  // the gateway ends
  tokens,    // of a rate limit: they come with time
  workers,   // more is asked for than there are workers: it is everybody's trouble
  client,    // this client alone has more than its part
  deadline,  // the answer would come, or comes, too late to be of use
  down,      // no server of the service is up
  room,      // for connections or memory: turned away whatever it asks for
  request,   // the request itself: refused whatever the limits
  service,   // it had the request, or was to have it, and did not answer
};

struct ReasonText {
  Reason reason;
  ReasonKind kind;
  std::string_view word;   // stable, never translated
  int default_status;      // HTTP status a client sees unless the conf says otherwise
  std::string_view title;  // RFC 9457 "title": one human sentence, the same for every occurrence
};

inline constexpr std::array reason_texts = {
    ReasonText{Reason::draining, ReasonKind::shutdown, "draining", 503,
               "The gateway is shutting down"},
    ReasonText{Reason::rate_limited, ReasonKind::tokens, "rate_limited", 429,
               "The request rate is exceeded"},
    ReasonText{Reason::route_rate, ReasonKind::tokens, "route_rate", 429,
               "The request rate of this route is exceeded"},
    ReasonText{Reason::client_rate, ReasonKind::tokens, "client_rate", 429,
               "The request rate of this client is exceeded"},
    ReasonText{Reason::client_pattern, ReasonKind::tokens, "client_pattern", 429,
               "The service is short, and this client asks for more than is usual for it"},
    ReasonText{Reason::quota, ReasonKind::client, "quota", 429,
               "The request does not fit into the quota of this client"},
    ReasonText{Reason::client_queue, ReasonKind::client, "client_queue", 429,
               "This client has too many requests waiting"},
    ReasonText{Reason::too_soon, ReasonKind::client, "too_soon", 429,
               "This client asks again before the time that it was told"},
    ReasonText{Reason::retry_budget, ReasonKind::client, "retry_budget", 429,
               "Too many requests of this client are retries"},
    ReasonText{Reason::queue_full, ReasonKind::workers, "queue_full", 503, "The queue is full"},
    ReasonText{Reason::displaced, ReasonKind::workers, "displaced", 503,
               "A more urgent request took this place in the queue"},
    ReasonText{Reason::fair_share, ReasonKind::client, "fair_share", 503,
               "A client with fewer requests waiting took this place in the queue"},
    ReasonText{Reason::queue_timeout, ReasonKind::workers, "queue_timeout", 503,
               "The request waited too long for a worker"},
    ReasonText{Reason::would_miss_deadline, ReasonKind::deadline, "would_miss_deadline", 503,
               "The request cannot be answered before its deadline"},
    ReasonText{Reason::deadline, ReasonKind::deadline, "deadline", 504,
               "The deadline of the request passed while it waited"},
    ReasonText{Reason::shed, ReasonKind::workers, "shed", 503,
               "Too many have been waiting for too long; this request gave way"},
    ReasonText{Reason::upstream_down, ReasonKind::down, "upstream_down", 503,
               "No server of the service is up"},
    ReasonText{Reason::too_many_connections, ReasonKind::room, "too_many_connections", 503,
               "The gateway has no connection to spare"},
    ReasonText{Reason::client_connections, ReasonKind::room, "client_connections", 429,
               "This client has too many connections"},
    ReasonText{Reason::memory_pressure, ReasonKind::room, "memory_pressure", 503,
               "The gateway has no memory to spare"},
    ReasonText{Reason::unknown_client, ReasonKind::request, "unknown_client", 401,
               "The client is not known"},
    ReasonText{Reason::token_checks, ReasonKind::request, "token_checks", 503,
               "Too many tokens are to be verified at once"},
    ReasonText{Reason::malformed, ReasonKind::request, "malformed", 400,
               "The request is malformed"},
    ReasonText{Reason::header_too_large, ReasonKind::request, "header_too_large", 431,
               "The request header is too large"},
    ReasonText{Reason::target_too_long, ReasonKind::request, "target_too_long", 414,
               "The request target is too long"},
    ReasonText{Reason::body_too_large, ReasonKind::request, "body_too_large", 413,
               "The request body is too large"},
    ReasonText{Reason::client_timeout, ReasonKind::request, "client_timeout", 408,
               "The request came too slowly"},
    ReasonText{Reason::unknown_coding, ReasonKind::request, "unknown_coding", 501,
               "The transfer coding is not supported"},
    ReasonText{Reason::unknown_method, ReasonKind::request, "unknown_method", 501,
               "The method is not known"},
    ReasonText{Reason::method_refused, ReasonKind::request, "method_refused", 405,
               "The method is not allowed here"},
    ReasonText{Reason::version_refused, ReasonKind::request, "version_refused", 505,
               "The HTTP version is not supported"},
    ReasonText{Reason::expectation_failed, ReasonKind::request, "expectation_failed", 417,
               "The expectation cannot be met"},
    ReasonText{Reason::loop_detected, ReasonKind::request, "loop_detected", 508,
               "The request has been through this gateway before"},
    ReasonText{Reason::repeated, ReasonKind::request, "repeated", 504,
               "The service did not answer this request in time when it was asked before"},
    ReasonText{Reason::upstream_timeout, ReasonKind::service, "upstream_timeout", 504,
               "The service did not answer in time"},
    ReasonText{Reason::stream_idle, ReasonKind::service, "stream_idle", 504,
               "The service fell silent in the middle of a streamed answer"},
    ReasonText{Reason::stream_too_long, ReasonKind::service, "stream_too_long", 504,
               "The streamed answer took longer than any may"},
    ReasonText{Reason::upstream_unreachable, ReasonKind::service, "upstream_unreachable", 502,
               "The service cannot be reached"},
    ReasonText{Reason::upstream_broken, ReasonKind::service, "upstream_broken", 502,
               "The service broke off or answered nonsense"},
};

inline constexpr std::size_t reason_count = reason_texts.size();

constexpr std::size_t index_of(Reason reason) { return static_cast<std::size_t>(reason); }
constexpr const ReasonText& text_of(Reason reason) { return reason_texts[index_of(reason)]; }
constexpr ReasonKind kind_of(Reason reason) { return text_of(reason).kind; }
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
