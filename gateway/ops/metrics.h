#pragma once

#include <string>
#include <string_view>

#include "gateway/ops/operator_server.h"
#include "gateway/server.h"

namespace classgate::gateway {

struct LogDrops {
  std::uint64_t access = 0;
  std::uint64_t error = 0;
};

// The text that /metrics answers with, in Prometheus' text format 0.0.4, or as OpenMetrics 1.0 when
// the Accept field asks for that. The thread that runs the Server; the loops are not disturbed.
struct Exposition {
  std::string_view content_type;
  std::string text;
};
Exposition expose_metrics(const Server& server, const LogDrops& drops,
                          const OperatorServer::Counts& operators, std::string_view accept);

}  // namespace classgate::gateway
