#include "gateway/health_report.h"

#include <algorithm>

namespace classgate::gateway {
namespace {

using Status = HealthReport::Status;

constexpr auto overload_memory = std::chrono::seconds(10);

std::vector<ServerHealth> report_servers(const proxy::Servers& servers, admission::Time now) {
  std::vector<ServerHealth> result(servers.count());
  for (std::size_t i = 0; i < result.size(); ++i) {
    ServerHealth& server = result[i];
    server.name = servers.name(i);
    server.state = state_of(servers, i, now);
    if (!servers.has_address(i)) server.why_no_address = servers.why_no_address(i);
    for (std::size_t of = 0; of < server.answers.size(); ++of)
      server.answers[of] = servers.answers(i, of);
  }
  return result;
}

QuotaHealth report_quotas(const Quotas& quotas, const std::vector<PlanQuota>& plans) {
  const QuotaTable& table = quotas.table();
  const auto now = Quotas::now();
  QuotaHealth result{.plans = {},
                     .clients = table.clients(),
                     .clients_max = table.clients_max(),
                     .requests_not_remembered = table.not_remembered(),
                     .write_errors = quotas.write_errors(),
                     .unwritten = std::chrono::seconds(quotas.behind(now))};
  const auto sums = table.by_plan(plans, now);
  for (std::size_t i = 0; i < plans.size(); ++i) {
    const conf::QuotaSettings& quota = plans[i].quota;
    const auto period = [&](QuotaPeriod kind, std::int64_t limit, std::int64_t soft) {
      const QuotaTable::PlanUsage& sum = sums[i][index_of(kind)];
      return QuotaHealth::Period{limit, soft, sum.clients, sum.used_up, sum.usage.in(quota.unit)};
    };
    result.plans.push_back({plans[i].name,
                            quota.unit,
                            {period(QuotaPeriod::day, quota.day, quota.day_soft),
                             period(QuotaPeriod::month, quota.month, quota.month_soft)}});
  }
  return result;
}

Status status_of(const HealthReport& report, bool is_draining, bool none_reachable) {
  const admission::Snapshot& snapshot = report.admission;
  if (is_draining) return Status::draining;
  if (none_reachable) return Status::down;
  if (snapshot.since_last_overload < overload_memory ||
      (snapshot.queue_limit > 0 && snapshot.waiting * 2 >= snapshot.queue_limit))
    return Status::overloaded;
  const bool are_servers_well = std::ranges::all_of(
      report.servers, [](const ServerHealth& server) { return is_well(server.state); });
  const bool is_away = report.sharing.state == SharingHealth::State::away;
  return are_servers_well && !is_away ? Status::ok : Status::degraded;
}

}  // namespace

ServerHealth::State state_of(const proxy::Servers& servers, std::size_t server,
                             admission::Time now) {
  using Known = proxy::Servers::State;
  using enum ServerHealth::State;
  const Known known = servers.state(server);
  if (!servers.has_address(server)) return without_address;
  if (known == Known::unreachable) return unreachable;
  if (servers.is_ejected(server, now)) return ejected;
  if (servers.is_failing(server)) return failing;
  return known == Known::reachable ? reachable : unknown;
}

std::string_view word_of(HealthReport::Status status) {
  constexpr std::array<std::string_view, 5> words{"ok", "degraded", "overloaded", "down",
                                                  "draining"};
  return words[static_cast<std::size_t>(status)];
}

HealthReport report_health(const Shared& shared, const Policy& policy, admission::Time now,
                           Asker asker) {
  const conf::AdmissionSettings& limits = policy.rules->settings.admission;
  HealthReport report{
      .admission = shared.gate.snapshot(now),
      .limits = {.queue_size = limits.queue_size,
                 .queue_bytes = limits.queue_bytes.count,
                 .client_memory_bytes = shared.memory.limit(),
                 .burst = limits.burst,
                 .request_timeout = limits.request_timeout,
                 .queue_timeout = limits.queue_timeout,
                 .connections = policy.rules->connection_limit},
      .streams = shared.streams.load(std::memory_order_relaxed),
      .client_memory_bytes = shared.memory.used(),
      .servers = report_servers(*policy.servers, now),
      .sharing = shared.sharing.health(),
      .connections = shared.connections.load(std::memory_order_relaxed),
      .connections_refused = shared.connections_refused.load(std::memory_order_relaxed),
      .access_log_lines_dropped = shared.access_log.dropped_lines(),
      .uptime = std::chrono::duration_cast<std::chrono::seconds>(now - shared.started),
      .conf = policy.history,
      .version = CLASSGATE_VERSION,
      .made = std::chrono::system_clock::now()};
  if (policy.quotas && asker == Asker::operator_of_it)
    report.quotas = report_quotas(*policy.quotas, policy.rules->quotas());
  report.status = status_of(report, shared.is_draining.load(std::memory_order_relaxed),
                            policy.servers->none_reachable());
  return report;
}

}  // namespace classgate::gateway
