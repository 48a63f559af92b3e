#include "gateway/grpc_refusal.h"

#include <doctest/doctest.h>

#include <chrono>

#include "gateway/clients/base64.h"

namespace classgate::gateway {
namespace {

using namespace std::chrono_literals;
using conf::Reason;

GrpcCode code_of(Reason reason) {
  return grpc_code_of(reason, conf::text_of(reason).default_status);
}

std::string decoded(std::string_view text) {
  std::string bytes;
  CHECK(each_base64_byte(text, base64, [&](char byte) {
    bytes += byte;
    return true;
  }));
  return bytes;
}

TEST_CASE("grpc refusal: what is too much is RESOURCE_EXHAUSTED, whatever it is that is short") {
  for (const Reason reason :
       {Reason::rate_limited, Reason::route_rate, Reason::client_rate, Reason::client_pattern,
        Reason::quota, Reason::client_queue, Reason::too_soon, Reason::retry_budget,
        Reason::queue_full, Reason::displaced, Reason::fair_share, Reason::queue_timeout,
        Reason::shed, Reason::too_many_connections, Reason::client_connections,
        Reason::memory_pressure, Reason::token_checks, Reason::body_too_large}) {
    CAPTURE(conf::word_of(reason));
    CHECK(code_of(reason) == GrpcCode::resource_exhausted);
  }
}

TEST_CASE("grpc refusal: the other codes") {
  CHECK(code_of(Reason::draining) == GrpcCode::unavailable);
  CHECK(code_of(Reason::upstream_down) == GrpcCode::unavailable);
  CHECK(code_of(Reason::upstream_unreachable) == GrpcCode::unavailable);
  CHECK(code_of(Reason::upstream_broken) == GrpcCode::unavailable);
  CHECK(code_of(Reason::deadline) == GrpcCode::deadline_exceeded);
  CHECK(code_of(Reason::would_miss_deadline) == GrpcCode::deadline_exceeded);
  CHECK(code_of(Reason::upstream_timeout) == GrpcCode::deadline_exceeded);
  CHECK(code_of(Reason::unknown_client) == GrpcCode::unauthenticated);
  CHECK(grpc_code_of(Reason::unknown_client, 403) == GrpcCode::permission_denied);
  CHECK(code_of(Reason::malformed) == GrpcCode::internal);
  CHECK(code_of(Reason::loop_detected) == GrpcCode::internal);
  CHECK(code_of(Reason::method_refused) == GrpcCode::unimplemented);
}

TEST_CASE("grpc refusal: what a content type must be") {
  for (const std::string_view type : {"application/grpc", "application/grpc+proto",
                                      "Application/gRPC; charset=utf-8", "application/grpc+json"})
    CHECK(is_grpc_type(type));
  for (const std::string_view type :
       {"", "application/grp", "application/grpc-web", "application/grpcx", "application/json"})
    CHECK(!is_grpc_type(type));
}

TEST_CASE("grpc refusal: when to come back, as a field and as a detail") {
  const GrpcRefusal said({.reason = Reason::rate_limited, .retry_after = 1500ms}, 429, "id-1");
  CHECK(said.code == "8");
  CHECK(said.message == "The request rate is exceeded");
  CHECK(said.pushback == "1500");
  const std::string info =
      "\n\014rate_limited\022\011classgate\032\022\n\012request_id\022\004id-1";
  const std::string retry("\n\010\010\001\020\200\312\265\356\001", 10);
  const std::string error_type = "type.googleapis.com/google.rpc.ErrorInfo";
  const std::string retry_type = "type.googleapis.com/google.rpc.RetryInfo";
  std::string expected = "\010\010\022\034The request rate is exceeded";
  const auto detail = [&](const std::string& type, const std::string& message) {
    std::string any = "\n";
    any += static_cast<char>(type.size());
    any += type + "\022" + static_cast<char>(message.size()) + message;
    expected += "\032";
    expected += static_cast<char>(any.size());
    expected += any;
  };
  detail(error_type, info);
  detail(retry_type, retry);
  CHECK(decoded(said.details) == expected);
}

TEST_CASE(
    "grpc refusal: what may have run, or will be in vain, is not to be tried again by itself") {
  CHECK(GrpcRefusal({.reason = Reason::upstream_broken}, 502, "").pushback == "-1");
  CHECK(GrpcRefusal({.reason = Reason::retry_budget, .retry_after = 1s}, 429, "").pushback == "-1");
  CHECK(GrpcRefusal({.reason = Reason::malformed}, 400, "").pushback.empty());
  CHECK(GrpcRefusal({.reason = Reason::queue_full, .retry_after = 1ns}, 503, "").pushback == "1");
}

}  // namespace
}  // namespace classgate::gateway
