#include "proxy/wire/deadline.h"

#include <doctest/doctest.h>

#include <chrono>
#include <string>

#include "proxy/wire/serialise.h"
#include "tests/proxy/parse.h"

namespace classgate::proxy::wire {
namespace {

using namespace std::chrono_literals;

Head head_with(std::vector<Field> fields) {
  Head head;
  head.fields = std::move(fields);
  return head;
}

// In milliseconds; -1: none.
long long deadline(std::string_view name, std::string_view value) {
  const auto found = deadline_of(head_with({{name, value, FieldId::other}}));
  return found ? std::chrono::floor<std::chrono::milliseconds>(found->time).count() : -1;
}

TEST_CASE("each of these fields says how long its client will wait") {
  struct Row {
    std::string_view name, value;
    long long expected;
  };
  for (const Row& row : {Row{"Prefer", "wait=10", 10'000},
                         Row{"prefer", "respond-async, WAIT=2", 2'000},
                         Row{"Prefer", "wait = \"3\"", 3'000},
                         Row{"Prefer", "wait=0", 0},
                         Row{"Prefer", "respond-async", -1},
                         Row{"Prefer", "wait", -1},
                         Row{"Prefer", "wait=1.5", -1},
                         Row{"Prefer", "waits=1", -1},
                         Row{"grpc-timeout", "2S", 2'000},
                         Row{"Grpc-Timeout", "500m", 500},
                         Row{"grpc-timeout", "1500000u", 1'500},
                         Row{"grpc-timeout", "99999999n", 99},
                         Row{"grpc-timeout", "1M", 60'000},
                         Row{"grpc-timeout", "2H", 7'200'000},
                         Row{"grpc-timeout", "123456789m", -1},
                         Row{"grpc-timeout", "5", -1},
                         Row{"grpc-timeout", "S", -1},
                         Row{"grpc-timeout", "-1S", -1},
                         Row{"X-Request-Timeout", "250ms", 250},
                         Row{"x-request-timeout", "2s", 2'000},
                         Row{"X-Request-Timeout", "3", 3'000},
                         Row{"X-Request-Timeout", "0", 0},
                         Row{"X-Request-Timeout", "", -1},
                         Row{"X-Request-Timeout", "soon", -1},
                         Row{"X-Request-Timeout", "1e9", -1},
                         Row{"X-Request-Timeout", "+1", -1},
                         Row{"X-Request-Timeouts", "1", -1},
                         Row{"X-Stainless-Timeout", "60", 60'000},
                         Row{"X-Stainless-Timeout", "0", 1'000},
                         Row{"X-Stainless-Read-Timeout", "0.5", 500},
                         Row{"X-Stainless-Read-Timeout", "600.0", 600'000},
                         Row{"X-Stainless-Read-Timeout", "None", -1},
                         Row{"X-Stainless-Timeout", "1e3", -1},
                         Row{"X-Stainless-Timeout", "-1", -1},
                         Row{"X-Stainless-Timeout", "inf", -1},
                         Row{"X-Stainless-Timeout", "", -1}}) {
    CAPTURE(row.name);
    CAPTURE(row.value);
    CHECK(deadline(row.name, row.value) == row.expected);
  }
}

TEST_CASE("an absurd deadline is a day") {
  constexpr long long day = 24LL * 3600 * 1000;
  CHECK(deadline("X-Request-Timeout", "99999999999999999999999999") == day);
  CHECK(deadline("X-Request-Timeout", "9223372036854775807ms") == day);
  CHECK(deadline("Prefer", "wait=18446744073709551616") == day);
  CHECK(deadline("grpc-timeout", "99999999H") == day);
}

TEST_CASE("the shortest of several counts") {
  const auto found = deadline_of(head_with({{"Prefer", "wait=10, wait=4", FieldId::other},
                                            {"grpc-timeout", "3S", FieldId::other},
                                            {"X-Request-Timeout", "5s", FieldId::other}}));
  REQUIRE(found.has_value());
  CHECK(found->time == 3s);
  CHECK(found->form == Deadline::Form::grpc);
}

TEST_CASE("what is left goes on in the same field, rounded up, the other preferences with it") {
  std::string kept;
  const Head request = head_with({{"Prefer", "respond-async, wait=10", FieldId::other},
                                  {"Accept", "*/*", FieldId::other},
                                  {"X-Request-Timeout", "5s", FieldId::other}});
  const Head rest = without_deadline(request, kept);
  REQUIRE(rest.fields.size() == 2);
  CHECK(rest.fields[0].name == "Accept");
  CHECK(rest.fields[1].name == "Prefer");
  CHECK(rest.fields[1].value == "respond-async");

  const auto written = [](Deadline::Form form, std::chrono::nanoseconds left) {
    std::string out;
    append_deadline(out, {form, left});
    return out;
  };
  CHECK(written(Deadline::Form::plain, 1'500'001us) == "X-Request-Timeout: 1501ms\r\n");
  CHECK(written(Deadline::Form::grpc, 20ms) == "grpc-timeout: 20m\r\n");
  CHECK(written(Deadline::Form::grpc, 1'000'000h) == "grpc-timeout: 86400000m\r\n");
  CHECK(written(Deadline::Form::prefer, 900ms) == "Prefer: wait=1\r\n");
}

// "a,a,a" is written as "a, a, a": more than the head that it was read from had room for, which
// ended the process when 513 preferences came with a deadline.
TEST_CASE("any number of other preferences goes on") {
  std::string text = "GET / HTTP/1.1\r\nHost: a\r\nPrefer: wait=5", kept_text = "a";
  for (int i = 0; i < 5000; ++i) text += ",a";
  for (int i = 1; i < 5000; ++i) kept_text += ", a";
  text += "\r\n\r\n";
  Parser parser;
  parser.begin(Parser::Kind::request, roomy);
  REQUIRE(parser.parse_head(text) == Parser::Progress::done);
  std::string preferences, out;
  append_request_head(out, without_deadline(parser.head(), preferences),
                      {.target = "/", .host = "a", .client = "192.0.2.7", .request_id = "id"});
  CHECK(out.find("Prefer: " + kept_text + "\r\n") != std::string::npos);
}

}  // namespace
}  // namespace classgate::proxy::wire
