#include "gateway/refusal.h"

#include <doctest/doctest.h>

#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "proxy/wire/parser.h"

namespace classgate::gateway {
namespace {

using admission::Rejection;
using proxy::wire::Parser;

constexpr double largest = std::numeric_limits<double>::max();
constexpr std::uint32_t most = std::numeric_limits<std::uint32_t>::max();

std::string shortest(double number) {
  std::array<char, 400> text;
  return {text.data(),
          std::to_chars(text.begin(), text.end(), number, std::chars_format::fixed).ptr};
}

struct Answer {
  std::string head, body;
  std::string field(std::string_view name) const {
    const std::string start = "\r\n" + std::string(name) + ": ";
    const std::size_t at = head.find(start);
    if (at == std::string::npos) return "none";
    return head.substr(at + start.size(), head.find('\r', at + 2) - at - start.size());
  }
};

// After the head has been found to be one and to tell the length of its body.
Answer answer_to(const Rejection& rejection, conf::RefusalBody form = conf::RefusalBody::problem) {
  const Refusals refusals(conf::default_statuses(), form);
  std::string text = "before ";
  refusals.append(text, {.rejection = rejection,
                         .request_id = std::string(128, 'i'),
                         .date = "Thu, 01 Jan 2026 00:00:00 GMT",
                         .allow = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
                         .own_fields = {},
                         .cost = 6,
                         .close = true,
                         .says_rate_limit = true});
  REQUIRE(text.starts_with("before HTTP/1.1 "));
  text.erase(0, 7);
  constexpr proxy::wire::HeadLimits roomy{8192, 100, 0};
  Parser parser;
  parser.begin(Parser::Kind::response, roomy);
  REQUIRE(parser.parse_head(text) == Parser::Progress::done);
  Answer answer{text.substr(0, parser.head_size()), text.substr(parser.head_size())};
  CHECK(parser.head().content_length == answer.body.size());
  return answer;
}
TEST_CASE("what is said of a bucket is the same, whether it was said before or not") {
  const Refusals refusals(conf::default_statuses(), conf::RefusalBody::problem);
  const auto text_of = [&](const Rejection& rejection, RateTexts* rate_texts) {
    std::string text;
    refusals.append(text, {.rejection = rejection,
                           .request_id = "i",
                           .date = "Thu, 01 Jan 2026 00:00:00 GMT",
                           .says_rate_limit = true,
                           .rate_texts = rate_texts});
    return text;
  };
  RateTexts kept;
  const std::array rates{0.001, 0.1, 1.0, 2.5, 100.0, 1e-300, largest, 1e6, 12345.678, 1.0 / 3};
  const std::array reasons{conf::Reason::client_rate, conf::Reason::route_rate,
                           conf::Reason::rate_limited, conf::Reason::quota};
  // More than there are places for, and each twice in a row, and again.
  for (int round = 0; round < 2; ++round)
    for (const double rate : rates)
      for (const double burst : rates)
        for (const conf::Reason reason : reasons)
          for (const double tokens : {0.0, 0.5}) {
            const Rejection rejection{.reason = reason,
                                      .retry_after = std::chrono::milliseconds(1500),
                                      .rate = rate,
                                      .burst = burst,
                                      .tokens = tokens,
                                      .renews_at = reason == conf::Reason::quota ? 5000 : 0};
            CHECK(text_of(rejection, &kept) == text_of(rejection, nullptr));
          }
}

std::string body_text_of(const Rejection& rejection) { return answer_to(rejection).body; }
nlohmann::json body_of(const Rejection& rejection,
                       conf::RefusalBody form = conf::RefusalBody::problem) {
  return nlohmann::json::parse(answer_to(rejection, form).body);
}

TEST_CASE("a refusal says what is known of its limit") {
  const auto body = body_of({.reason = conf::Reason::client_rate,
                             .retry_after = std::chrono::milliseconds(1500),
                             .rate = 2.5,
                             .burst = 20});
  CHECK(body["status"] == 429);
  CHECK(body["reason"] == "client_rate");
  CHECK(body["retry_after_ms"] == 1500);
  CHECK(body["violated-policies"] == nlohmann::json{"client"});
  CHECK(body["rate"] == 2.5);
  CHECK(body["burst"] == 20);
  CHECK_FALSE(body.contains("position"));
}

TEST_CASE("a refusal says in words and in milliseconds when to come back") {
  const auto detail_after = [](std::chrono::milliseconds time) {
    const Answer answer = answer_to({.reason = conf::Reason::queue_full, .retry_after = time});
    const auto body = nlohmann::json::parse(answer.body);
    CHECK(body["message"] == body["detail"]);
    CHECK(answer.field("Retry-After-Ms") == std::to_string(time.count()));
    return body["detail"].get<std::string>();
  };
  using std::chrono::milliseconds;
  CHECK(detail_after(milliseconds(1)) == "The queue is full; try again in 0.1 s");
  CHECK(detail_after(milliseconds(1000)) == "The queue is full; try again in 1 s");
  CHECK(detail_after(milliseconds(1001)) == "The queue is full; try again in 1.1 s");
  CHECK(detail_after(milliseconds(9950)) == "The queue is full; try again in 10 s");
  CHECK(detail_after(milliseconds(12'300)) == "The queue is full; try again in 13 s");
  const Answer hopeless = answer_to({.reason = conf::Reason::would_miss_deadline});
  CHECK(nlohmann::json::parse(hopeless.body)["detail"] ==
        "The request cannot be answered before its deadline");
  CHECK(hopeless.field("Retry-After-Ms") == "none");
  CHECK(hopeless.field("Request-Id") == std::string(128, 'i'));
}

TEST_CASE("who asks for more than a whole quota is not told to come back when it is renewed") {
  Rejection rejection{.reason = conf::Reason::quota,
                      .rate = 5.0 / 90'000,  // a day of 25 hours
                      .burst = 5,
                      .tokens = 5,
                      .renews_at = 1'795'823'999};
  for (const auto form : {conf::RefusalBody::problem, conf::RefusalBody::openai}) {
    const Answer answer = answer_to(rejection, form);
    const auto body = nlohmann::json::parse(answer.body);
    CHECK(body["title"] == "The request does not fit into the quota of this client");
    CHECK(body["detail"] ==
          "The request costs more than this client's whole quota of a day: 6 of 5");
    CHECK(body["cost"] == 6);
    CHECK(body["message"] == body["detail"]);
    CHECK(body["reason"] == "quota");
    CHECK(body["quota"] == 5);
    CHECK(body["left"] == 5);
    CHECK_FALSE(body.contains("renews_at"));
    CHECK_FALSE(body.contains("retry_after_ms"));
    CHECK(answer.field("Retry-After") == "none");
    CHECK(answer.field("Retry-After-Ms") == "none");
    CHECK(answer.field("X-Should-Retry") == "false");
    CHECK(answer.field("RateLimit-Policy") == "\"quota\";q=5;w=90000");
    CHECK(answer.field("RateLimit") == "none");
  }
  rejection.rate = 5.0 / (28 * 86'400);
  CHECK(answer_to(rejection, conf::RefusalBody::text).body ==
        "The request costs more than this client's whole quota of a month: 6 of 5\n");
  rejection.retry_after = std::chrono::hours(1);
  const auto body = body_of(rejection);
  CHECK(body["detail"].get<std::string>().starts_with(
      "The quota of this client is used up; it is renewed at 2026-"));
  CHECK(body["title"] == "The request does not fit into the quota of this client");
  CHECK(body.contains("renews_at"));
  CHECK_FALSE(body.contains("cost"));
}

TEST_CASE(
    "a library is told to try again where that helps, and not to where the service has worked") {
  const auto said = [](conf::Reason reason, admission::Duration time) {
    return answer_to({.reason = reason, .retry_after = time}).field("X-Should-Retry");
  };
  constexpr std::chrono::seconds soon(1);
  for (const conf::ReasonText& text : conf::reason_texts) {
    CAPTURE(text.word);
    using enum conf::Reason;
    const bool never = text.reason == upstream_timeout || text.reason == upstream_broken ||
                       text.reason == stream_idle || text.reason == stream_too_long ||
                       text.reason == retry_budget || text.reason == deadline ||
                       text.reason == loop_detected || text.reason == repeated ||
                       text.reason == quota;
    CHECK(said(text.reason, soon) == (never ? "false" : "true"));
    const bool is_hopeless = never || text.reason == would_miss_deadline;
    CHECK(said(text.reason, {}) == (is_hopeless ? "false" : "none"));
  }
}

TEST_CASE("a refusal is written as the operator's clients read it") {
  const Rejection full{.reason = conf::Reason::queue_full, .retry_after = std::chrono::seconds(2)};
  CHECK(answer_to(full).field("Content-Type") == "application/problem+json");
  const Answer openai = answer_to(full, conf::RefusalBody::openai);
  CHECK(openai.field("Content-Type") == "application/json");
  const auto body = nlohmann::json::parse(openai.body);
  CHECK(body["error"] == nlohmann::json{{"message", "The queue is full; try again in 2 s"},
                                        {"type", "server_error"},
                                        {"param", nullptr},
                                        {"code", "queue_full"}});
  CHECK(body["reason"] == "queue_full");
  CHECK(body["retry_after_ms"] == 2000);
  CHECK(body_of({.reason = conf::Reason::client_rate},
                conf::RefusalBody::openai)["error"]["type"] == "rate_limit_error");
  CHECK(body_of({.reason = conf::Reason::malformed}, conf::RefusalBody::openai)["error"]["type"] ==
        "invalid_request_error");
  const Answer text = answer_to(full, conf::RefusalBody::text);
  CHECK(text.field("Content-Type") == "text/plain; charset=utf-8");
  CHECK(text.body == "The queue is full; try again in 2 s\n");
}

TEST_CASE("whatever the numbers, a refusal fits and is JSON") {
  for (const double rate : {5e-324, 0.001, 1.0 / 3, 1e15, -1.0, largest})
    for (const double burst : {1.0, 1e15 - 1, 123456789.123456789, largest})
      for (const double tokens : {-largest, -0.5, 0.0, largest})
        for (const conf::ReasonText& reason : conf::reason_texts) {
          const Rejection rejection{.reason = reason.reason,
                                    .retry_after = admission::Duration::max(),
                                    .estimate = admission::Duration::max(),
                                    .position = most,
                                    .places = most,
                                    .rate = rate,
                                    .burst = burst,
                                    .tokens = tokens};
          answer_to(rejection, conf::RefusalBody::text);
          CHECK(body_of(rejection, conf::RefusalBody::openai)["error"]["code"] == reason.word);
          const auto body = body_of(rejection);
          CHECK(body["reason"] == reason.word);
          CHECK(body["position"] == most);
          if (rate > 0) CHECK(body["burst"] == burst);
        }
}

TEST_CASE("a rate reads back as the same number, and is not longer than it must be") {
  const auto check = [](double rate) {
    CAPTURE(rate);
    const std::string text =
        body_text_of({.reason = conf::Reason::rate_limited, .rate = rate, .burst = 1});
    CHECK(nlohmann::json::parse(text)["rate"] == rate);
    CHECK(text.find("\"rate\":" + shortest(rate) + ",") != std::string::npos);
  };
  for (int thousandths = 1; thousandths <= 3000; ++thousandths) check(thousandths / 1000.0);
  std::mt19937_64 random(1);
  for (int i = 0; i < 3000; ++i) {
    const auto number = static_cast<double>(random() >> random() % 40) / 1000;
    check(number);
    check(std::nextafter(number, 0.0));
    check(std::nextafter(number, largest));
  }
}

}  // namespace
}  // namespace classgate::gateway
