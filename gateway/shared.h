#pragma once

#include <atomic>

#include "admission/gate.h"
#include "admission/route_table.h"
#include "conf/settings.h"
#include "gateway/access_log.h"
#include "gateway/refusal.h"
#include "proxy/servers.h"
#include "proxy/wire/parser.h"

namespace classgate::gateway {

// What all loops share: one Gate, immutable values, and a few counters. Owned by the Server.
struct Shared {
  Shared(const conf::Settings& all, proxy::Servers& upstream, AccessLog& log)
      : settings(all),
        routes(all.routes),
        gate(all.admission),
        refusals(all.statuses),
        servers(upstream),
        access_log(log),
        started(std::chrono::steady_clock::now()) {}

  const conf::Settings settings;
  const admission::RouteTable routes;
  admission::Gate gate;
  const Refusals refusals;
  proxy::Servers& servers;
  AccessLog& access_log;
  const std::chrono::steady_clock::time_point started;
  std::atomic<std::uint32_t> connections{0};
  std::uint32_t connection_limit = 0;  // max_connections, or what the descriptors allow
  std::atomic<std::uint64_t> connections_refused{0};
};

}  // namespace classgate::gateway
