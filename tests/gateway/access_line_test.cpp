#include "gateway/access_line.h"

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "conf/format.h"

namespace classgate::gateway {
namespace {

std::string line_of(const ExchangeRecord& record, bool as_json) {
  std::string out = "before\n";
  append_access_line(out, as_json, "2026-11-27T12:00:00.000Z", record);
  REQUIRE(out.starts_with("before\n"));
  REQUIRE(out.ends_with('\n'));
  return out.substr(7, out.size() - 8);
}

std::string milliseconds_in(const std::string& line, std::string_view key) {
  const std::size_t at = line.find(fmt::format(" {}=", key)) + key.size() + 2;
  return line.substr(at, line.find(' ', at) - at);
}

}  // namespace

TEST_CASE("access line: durations are milliseconds with three digits") {
  std::mt19937_64 random(1);
  for (int i = 0; i < 20'000; ++i) {
    // Of all sizes, up to some days; half a microsecond may go either way, so never that.
    const auto ns = static_cast<std::int64_t>(random() >> (14 + random() % 50));
    if (ns % 1000 == 500) continue;
    ExchangeRecord record;
    record.total = admission::Duration(ns);
    record.waiting = -record.total;
    const std::string line = line_of(record, false);
    REQUIRE(milliseconds_in(line, "total_ms") ==
            fmt::format("{:.3f}", static_cast<double>(ns) / 1e6));
    if (ns >= 500)
      REQUIRE(milliseconds_in(line, "wait_ms") == "-" + milliseconds_in(line, "total_ms"));
    else
      REQUIRE(milliseconds_in(line, "wait_ms") == "0.000");
  }
}

TEST_CASE("access line: as JSON it says the same") {
  ExchangeRecord record;
  record.request_id = "id-1";
  record.client = "10.0.0.1";
  record.method = "POST";
  record.path = "/a\"b\n";
  record.route = "/v1/classify";
  record.priority = 3;
  record.verdict = Verdict::admitted;
  record.ending = Ending::processed;
  record.cost = 4'000'000'000;
  record.total = std::chrono::microseconds(1234567);
  record.status = 200;
  record.bytes_in = 0;
  record.bytes_out = UINT64_MAX;
  record.retries = 1;
  const auto json = nlohmann::json::parse(line_of(record, true));
  CHECK(json["id"] == "id-1");
  CHECK(json["path"] == "/a\"b\n");
  CHECK(json["priority"] == 3);
  CHECK(json["cost"] == 4'000'000'000);
  CHECK(json["total_ms"] == 1234.567);
  CHECK(json["status"] == 200);
  CHECK(json["bytes_in"] == 0);
  CHECK(json["bytes_out"] == UINT64_MAX);
  CHECK(json["upstream"] == "-");
  CHECK(json["upstream_protocol"] == "-");
  CHECK(json["grpc_status"] == "-");
}

TEST_CASE("access line: what the service was asked in, and what gRPC says of a call") {
  ExchangeRecord record;
  record.came_by_http2 = true;
  for (const auto& [carrier, word] :
       {std::pair{Carrier::none, "-"}, {Carrier::http1, "http/1.1"}, {Carrier::http2, "h2"}}) {
    record.carried_by = carrier;
    CHECK(line_of(record, false)
              .contains(std::string(" protocol=h2 upstream_protocol=") + word + " grpc_status=-"));
  }
  record.grpc_status = 0;
  CHECK(line_of(record, false).contains(" grpc_status=0"));
  record.grpc_status = 14;
  CHECK(nlohmann::json::parse(line_of(record, true))["grpc_status"] == 14);
}

TEST_CASE("a call that its service failed is as worth a line as an answer of 500") {
  ExchangeFacts facts{.verdict = Verdict::admitted, .status = 200};
  using Kind = AccessQuota::Kind;
  for (const int routine : {-1, 0, 1, 3, 5, 7, 8, 9, 11, 16}) {
    facts.grpc_status = static_cast<std::int8_t>(routine);
    CHECK(facts.kind() == Kind::routine);
  }
  for (const int fault : {2, 4, 12, 13, 14, 15}) {
    facts.grpc_status = static_cast<std::int8_t>(fault);
    CHECK(facts.kind() == Kind::other);
  }
}

TEST_CASE("access line: what a client wrote into its fields is told and stays within them") {
  using std::chrono::microseconds;
  ExchangeRecord record;
  const std::array<LoggedField, 2> fields{LoggedField{"header.x-tenant", "a\" b=c\n"},
                                          LoggedField{"header.x-empty", ""}};
  const std::array<admission::Time, 2> attempts{admission::Time(microseconds(1000)),
                                                admission::Time(microseconds(1250))};
  record.status = 200;
  record.is_own_answer = false;
  record.attempts = attempts;
  record.attempts_end = admission::Time(microseconds(3250));
  record.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  record.user_agent = "curl/7 (\"x\")";
  record.name = "acme";
  record.query = "a=b c";
  record.headers = fields;
  const std::string line = line_of(record, false);
  CHECK(line.ends_with(
      " answered_by=service attempts_ms=0.250,2.000 address=- plan=- "
      "traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 "
      R"x(user_agent="curl/7 (\"x\")" name=acme credentials=- protocol=http/1.1 upstream_protocol=- grpc_status=- query="a=b c" header.x-tenant="a\" b=c\u000a" header.x-empty="")x"));
  const auto json = nlohmann::json::parse(line_of(record, true));
  CHECK(json["answered_by"] == "service");
  CHECK(json["attempts_ms"] == "0.250,2.000");
  CHECK(json["user_agent"] == "curl/7 (\"x\")");
  CHECK(json["name"] == "acme");
  CHECK(json["query"] == "a=b c");
  CHECK(json["header.x-tenant"] == "a\" b=c\n");
  record.traceparent = "two words";
  CHECK(line_of(record, false).contains(" traceparent=\"two words\" "));
}

// Readers of JSON had "gr\u00c3\u00b6\u00c3\u009fe" for it.
TEST_CASE("access line: letters of every script are told as they are") {
  ExchangeRecord record;
  record.plan =
      "gr\xc3\xb6\xc3\x9f"
      "e \xe6\x97\xa5 \xf0\x9f\x98\x80";
  CHECK(line_of(record, false).contains(fmt::format(" plan=\"{}\" ", record.plan)));
  CHECK(nlohmann::json::parse(line_of(record, true))["plan"] == record.plan);
}

TEST_CASE("access line: what is no UTF-8, or would steer a terminal, is escaped") {
  ExchangeRecord record;
  record.plan = "\xc3(\xff";  // each byte by itself
  CHECK(line_of(record, false).contains(R"( plan="\u00c3(\u00ff" )"));
  CHECK(nlohmann::json::parse(line_of(record, true)).contains("plan"));
  record.plan = "\xc2\x9b\xe2\x80\xae\xe2\x80\xa8";  // CSI, to the left, line separator
  CHECK(line_of(record, false).contains(R"( plan="\u00c2\u009b\u202e\u2028" )"));
}

TEST_CASE("access line: who said the status") {
  ExchangeRecord record;
  CHECK(line_of(record, false).contains(" answered_by=- "));
  record.status = 503;
  CHECK(line_of(record, false).contains(" answered_by=gateway "));
  record.is_own_answer = false;
  CHECK(line_of(record, false).contains(" answered_by=service "));
}

}  // namespace classgate::gateway
