#include "conf/reason.h"

#include <doctest/doctest.h>

#include <string>

namespace classgate::conf {
namespace {

std::string words_of(ReasonKind kind) {
  std::string words;
  for (const ReasonText& text : reason_texts)
    if (text.kind == kind) (words += words.empty() ? "" : " ") += text.word;
  return words;
}

// What health, metrics, planning and Retry-After do with a reason hangs on its kind: a new reason
// stands here with the others that are treated like it.
TEST_CASE("each reason has its kind") {
  CHECK(words_of(ReasonKind::shutdown) == "draining");
  CHECK(words_of(ReasonKind::tokens) == "rate_limited route_rate client_rate client_pattern");
  CHECK(words_of(ReasonKind::workers) == "queue_full displaced queue_timeout shed");
  CHECK(words_of(ReasonKind::client) == "quota client_queue too_soon retry_budget fair_share");
  CHECK(words_of(ReasonKind::deadline) == "would_miss_deadline deadline");
  CHECK(words_of(ReasonKind::down) == "upstream_down");
  CHECK(words_of(ReasonKind::room) == "too_many_connections client_connections memory_pressure");
  CHECK(words_of(ReasonKind::request) ==
        "unknown_client token_checks malformed header_too_large target_too_long body_too_large "
        "client_timeout "
        "unknown_coding "
        "unknown_method method_refused version_refused expectation_failed loop_detected repeated");
  CHECK(words_of(ReasonKind::service) ==
        "upstream_timeout stream_idle stream_too_long upstream_unreachable upstream_broken");
}

TEST_CASE("a reason is found by its word, and by no other") {
  for (const ReasonText& text : reason_texts) CHECK(reason_from_word(text.word) == text.reason);
  CHECK_FALSE(reason_from_word("queue_ful"));
  CHECK_FALSE(reason_from_word(""));
}

}  // namespace
}  // namespace classgate::conf
