#include "gateway/grpc_refusal.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <system_error>

#include "conf/ascii.h"
#include "gateway/protobuf.h"
#include "gateway/refusal.h"

namespace classgate::gateway {

using conf::Reason;
using conf::ReasonKind;

namespace {

// google.protobuf.Any, as a detail of google.rpc.Status.
void put_detail(std::string& status, std::string_view type, std::string_view message) {
  std::string any;
  put_bytes(any, 1, type);
  put_bytes(any, 2, message);
  put_bytes(status, 3, any);
}

std::string error_info(Reason reason, std::string_view request_id) {
  std::string info;
  put_bytes(info, 1, conf::word_of(reason));
  put_bytes(info, 2, "classgate");
  if (request_id.empty()) return info;
  std::string entry;  // of a map
  put_bytes(entry, 1, "request_id");
  put_bytes(entry, 2, request_id);
  put_bytes(info, 3, entry);
  return info;
}

std::string retry_info(std::chrono::nanoseconds delay) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(delay);
  std::string duration;
  put_number(duration, 1, static_cast<std::uint64_t>(seconds.count()));
  put_number(duration, 2, static_cast<std::uint64_t>((delay - seconds).count()));
  std::string info;
  put_bytes(info, 1, duration);
  return info;
}

// RFC 4648 section 4, without padding, as gRPC writes what is binary.
std::string to_base64(std::string_view bytes) {
  constexpr std::string_view digits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve(bytes.size() * 4 / 3 + 2);
  std::uint32_t bits = 0;
  int count = 0;  // of bits that have no digit yet
  for (const char c : bytes) {
    bits = bits << 8 | static_cast<unsigned char>(c);
    for (count += 8; count >= 6; count -= 6) text += digits[bits >> (count - 6) & 0x3f];
  }
  if (count > 0) text += digits[bits << (6 - count) & 0x3f];
  return text;
}

std::chrono::milliseconds time_to_come_back(const admission::Rejection& rejection) {
  return std::chrono::ceil<std::chrono::milliseconds>(
      std::max(rejection.retry_after, admission::Duration::zero()));
}

}  // namespace

// By what stood in the way; where that is the request itself, as gRPC maps the statuses of HTTP
// (grpc/doc/http-grpc-status-mapping.md), as far as these tell. UNAVAILABLE is for what another
// server, or the same a little later, may do: clients try it again as they like.
GrpcCode grpc_code_of(Reason reason, int status) {
  switch (reason) {
    case Reason::upstream_unreachable:
    case Reason::upstream_broken: return GrpcCode::unavailable;
    case Reason::unknown_client:
      return status == 403 ? GrpcCode::permission_denied : GrpcCode::unauthenticated;
    case Reason::repeated: return GrpcCode::deadline_exceeded;
    case Reason::token_checks:
    case Reason::header_too_large:
    case Reason::body_too_large: return GrpcCode::resource_exhausted;
    case Reason::client_timeout: return GrpcCode::aborted;
    case Reason::unknown_coding:
    case Reason::unknown_method:
    case Reason::method_refused:
    case Reason::version_refused: return GrpcCode::unimplemented;
    default: break;
  }
  switch (conf::kind_of(reason)) {
    case ReasonKind::shutdown:
    case ReasonKind::down: return GrpcCode::unavailable;
    case ReasonKind::tokens:
    case ReasonKind::workers:
    case ReasonKind::client:
    case ReasonKind::room: return GrpcCode::resource_exhausted;
    case ReasonKind::deadline:
    case ReasonKind::service: return GrpcCode::deadline_exceeded;
    case ReasonKind::request: break;
  }
  return GrpcCode::internal;
}

std::int8_t grpc_status_from(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool is_known =
      error == std::errc() && end == text.data() + text.size() && number >= 0 && number <= 16;
  return static_cast<std::int8_t>(is_known ? number : static_cast<int>(GrpcCode::unknown));
}

bool is_grpc_type(std::string_view content_type) {
  constexpr std::string_view grpc = "application/grpc";
  const std::string_view begin = content_type.substr(0, grpc.size());
  if (!std::ranges::equal(begin, grpc, {}, conf::lower_case)) return false;
  const std::string_view rest = content_type.substr(grpc.size());
  return rest.empty() || rest.front() == '+' || rest.front() == ';' || rest.front() == ' ';
}

GrpcRefusal::GrpcRefusal(const admission::Rejection& rejection, int status,
                         std::string_view request_id) {
  const auto number = static_cast<unsigned>(grpc_code_of(rejection.reason, status));
  const std::chrono::milliseconds again = time_to_come_back(rejection);
  code = std::to_string(number);
  message = conf::text_of(rejection.reason).title;  // has nothing to be percent-encoded
  const ShouldRetry retry = should_retry(rejection);
  if (retry == ShouldRetry::no)
    pushback = "-1";
  else if (again.count() > 0)
    pushback = std::to_string(again.count());
  std::string detailed;
  put_number(detailed, 1, number);
  put_bytes(detailed, 2, message);
  put_detail(detailed, "type.googleapis.com/google.rpc.ErrorInfo",
             error_info(rejection.reason, request_id));
  if (again.count() > 0)
    put_detail(detailed, "type.googleapis.com/google.rpc.RetryInfo", retry_info(again));
  details = to_base64(detailed);
}

}  // namespace classgate::gateway
