#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "admission/verdict.h"
#include "conf/reason.h"

namespace classgate::gateway {

// How a call ends to clients of gRPC (google.rpc.Code).
enum class GrpcCode : std::uint8_t {
  unknown = 2,
  deadline_exceeded = 4,
  permission_denied = 7,
  resource_exhausted = 8,
  aborted = 10,
  unimplemented = 12,
  internal = 13,
  unavailable = 14,
  unauthenticated = 16,
};

// `status`: what clients of HTTP are told for it (conf [refusals]).
GrpcCode grpc_code_of(conf::Reason reason, int status);

// What a service says of a call: 0 to 16; anything else is `unknown`, as clients take it.
std::int8_t grpc_status_from(std::string_view text);

// "application/grpc", perhaps with what its messages are written in; not gRPC-Web.
bool is_grpc_type(std::string_view content_type);

// The texts of a refusal that a client of gRPC is told in its own terms: the answer is HTTP's 200,
// with a head and no body ("Trailers-Only", gRPC over HTTP/2). Any thread.
struct GrpcRefusal {
  GrpcRefusal(const admission::Rejection& rejection, int status, std::string_view request_id);

  std::string code;     // grpc-status
  std::string message;  // grpc-message
  // grpc-retry-pushback-ms (gRFC A6): when to come back; "-1": not by itself, for it would be in
  // vain or may have run. Empty: nobody knows.
  std::string pushback;
  // grpc-status-details-bin: google.rpc.Status with ErrorInfo (the reason word, domain "classgate",
  // the request's id) and, where coming back makes sense, RetryInfo.
  std::string details;
};

}  // namespace classgate::gateway
