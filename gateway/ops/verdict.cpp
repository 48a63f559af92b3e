#include "gateway/ops/verdict.h"

#include <algorithm>

#include "conf/format.h"

namespace classgate::gateway {
namespace {

std::string of_workers(const admission::Snapshot& now) {
  if (now.workers == 0) return "no worker yet: the process before the upgrade still has all";
  return fmt::format("{} of {} workers", now.active_workers, now.workers);
}

std::string of_queue(const admission::Snapshot& now) {
  if (now.waiting == 0) return "nobody waits";
  return now.waiting == 1 ? "1 request waits" : fmt::format("{} requests wait", now.waiting);
}

// "10.0.0.1:80 is ejected; 10.0.0.2:80 is failing and 3 more"; empty: all are well.
std::string of_servers(const HealthReport& report) {
  std::string text;
  std::size_t more = 0;
  for (const ServerHealth& server : report.servers) {
    if (is_well(server.state)) continue;
    if (!text.empty())
      ++more;
    else
      text = fmt::format("{} is {}", server.name, word_of(server.state));
  }
  return more == 0 ? text : fmt::format("{} and {} more", text, more);
}

}  // namespace

std::string verdict_of(const HealthReport& report) {
  using enum HealthReport::Status;
  const admission::Snapshot& now = report.admission;
  const std::string state(word_of(report.status));
  switch (report.status) {
    case draining:
      return fmt::format("{}: {} still worked for, {}", state, of_workers(now), of_queue(now));
    case down: return fmt::format("{}: no upstream server can be reached", state);
    case overloaded:
    case degraded: {
      const std::string servers = of_servers(report);
      return fmt::format("{}: {}, {}{}{}", state, of_workers(now), of_queue(now),
                         servers.empty() ? "" : "; ", servers);
    }
    case ok: break;
  }
  return fmt::format("{}: {}, {}", state, of_workers(now), of_queue(now));
}

}  // namespace classgate::gateway
