#pragma once

#include <string>
#include <string_view>

#include "admission/history/demand_forecast.h"
#include "gateway/ops/grpc_server.h"

namespace classgate::gateway {

// What KEDA asks of an external scaler (externalscaler.ExternalScaler, by gRPC), answered from what
// is forecast:
//   IsActive, StreamIsActive  whether there is anything to serve, lately or when a server that is
//                             started now serves; true as long as nobody knows
//   GetMetricSpec             the metric that scalerMetadata's "metric" names, and "targetSize" of
//                             it for a replica
//   GetMetrics                its value
// metric: servers_needed (targetSize 1 unless told), workers_needed (as many as a server has),
// demand (cost a second; targetSize must be told). Who does not know says UNAVAILABLE, for which
// KEDA has a `fallback`. Pure. Any thread.
namespace external_scaler {

inline constexpr std::string_view is_active_path = "/externalscaler.ExternalScaler/IsActive";
inline constexpr std::string_view stream_is_active_path =
    "/externalscaler.ExternalScaler/StreamIsActive";

// `report` null: nothing is kept, or nothing yet.
GrpcAnswer answer(std::string_view path, std::string_view message,
                  const history::DemandReport* report);
// The IsActiveResponse by itself.
std::string is_active_message(const history::DemandReport* report);

}  // namespace external_scaler
}  // namespace classgate::gateway
