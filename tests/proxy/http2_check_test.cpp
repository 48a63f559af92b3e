#include "proxy/http2_check.h"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

namespace classgate::proxy {
namespace {

using namespace std::string_view_literals;

TEST_CASE("a server serves when its health says so, and nothing else is taken for that") {
  CHECK(why_not_serving("0", "\0\0\0\0\2\10\1"sv).empty());
  CHECK(why_not_serving("0", "\0\0\0\0\2\10\2"sv) == "it says NOT_SERVING");
  CHECK(why_not_serving("0", "\0\0\0\0\2\10\3"sv) == "it says SERVICE_UNKNOWN");
  CHECK(why_not_serving("0", "\0\0\0\0\2\10\x7f"sv) == "it says status 127");
  CHECK(why_not_serving("0", "\0\0\0\0\0"sv) == "it says UNKNOWN");
  CHECK(why_not_serving("0", "\0\0\0\0\2\20\1"sv) == "its answer is no HealthCheckResponse");
  CHECK(why_not_serving("0", "\0\0\0\0\1\10"sv) == "its answer is no HealthCheckResponse");
  CHECK(why_not_serving("0", "\1\0\0\0\2\10\1"sv) == "its answer is no message of gRPC");
  CHECK(why_not_serving("0", ""sv) == "its answer is no message of gRPC");
  CHECK(why_not_serving("12", ""sv) == "it has no grpc.health.v1.Health (UNIMPLEMENTED)");
  CHECK(why_not_serving("", "\0\0\0\0\2\10\1"sv) == "its answer has no grpc-status");
  const std::string odd = why_not_serving("14\n", ""sv);
  CHECK(odd.starts_with("it answered grpc-status 14"));
  CHECK_FALSE(odd.contains('\n'));
}

}  // namespace
}  // namespace classgate::proxy
