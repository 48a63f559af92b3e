#pragma once

#include <cstdint>
#include <string_view>

#include "gateway/ops/metric_families.h"
#include "gateway/ops/operator_server.h"
#include "gateway/server.h"

namespace classgate::history {
struct DemandReport;
}

namespace classgate::gateway {

// What /metrics answers with; `forecast` may be null. The thread that runs the Server; the loops
// are not disturbed.
Exposition expose_metrics(const Server& server, std::uint64_t error_lines_dropped,
                          const OperatorServer::Counts& operators,
                          const history::DemandReport* forecast, std::string_view accept);

}  // namespace classgate::gateway
