#pragma once

#include <cstdint>
#include <string_view>

#include "gateway/clients/sip_hash.h"
#include "proxy/wire/message.h"

namespace classgate::gateway {

// What a request says of itself being a retry: X-Retry-Count, X-Stainless-Retry-Count (OpenAI,
// Anthropic) or grpc-previous-rpc-attempts (gRFC A6) above 0, x-envoy-attempt-count or attempt= in
// amz-sdk-request, which count the first one too, above 1; and a number that stands for its
// Idempotency-Key (0: none, or two), for this client and path. An X-Request-Id tells nothing: the
// calls of one trace share it, and run beside each other.
struct RetryMarks {
  bool is_retry = false;
  std::uint64_t key = 0;
};
// `key` makes the number, so that nobody can aim at another's. On any thread.
RetryMarks retry_marks_of(const proxy::wire::Head& head, const HashKey& key, std::uint64_t client,
                          std::string_view path);

}  // namespace classgate::gateway
