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

// The body, after the head has been found to be one and to tell its length.
std::string body_text_of(const Rejection& rejection) {
  const Refusals refusals(conf::default_statuses());
  std::string text = "before ";
  refusals.append(text, {.rejection = rejection,
                         .request_id = std::string(128, 'i'),
                         .date = "Thu, 01 Jan 2026 00:00:00 GMT",
                         .allow = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
                         .close = true,
                         .says_rate_limit = true});
  REQUIRE(text.starts_with("before HTTP/1.1 "));
  text.erase(0, 7);
  constexpr proxy::wire::HeadLimits roomy{8192, 100, 0};
  Parser parser;
  parser.begin(Parser::Kind::response, roomy);
  REQUIRE(parser.parse_head(text) == Parser::Progress::done);
  text.erase(0, parser.head_size());
  CHECK(parser.head().content_length == text.size());
  return text;
}
nlohmann::json body_of(const Rejection& rejection) {
  return nlohmann::json::parse(body_text_of(rejection));
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

TEST_CASE("whatever the numbers, a refusal fits and is JSON") {
  for (const double rate : {5e-324, 0.001, 1.0 / 3, 1e15, -1.0, largest})
    for (const double burst : {1.0, 1e15 - 1, 123456789.123456789, largest})
      for (const double tokens : {-largest, -0.5, 0.0, largest})
        for (const conf::ReasonText& reason : conf::reason_texts) {
          const auto body = body_of({.reason = reason.reason,
                                     .retry_after = admission::Duration::max(),
                                     .estimate = admission::Duration::max(),
                                     .position = most,
                                     .places = most,
                                     .rate = rate,
                                     .burst = burst,
                                     .tokens = tokens});
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
