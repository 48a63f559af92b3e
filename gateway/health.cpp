#include "gateway/health.h"

#include <array>
#include <nlohmann/json.hpp>

#include "admission/measure/units.h"
#include "conf/format.h"
#include "conf/words.h"
#include "gateway/json_text.h"
#include "gateway/wall_time.h"

namespace classgate::gateway {
namespace {

using nlohmann::ordered_json;

constexpr auto overload_memory = std::chrono::seconds(10);

// The worst that is true.
std::string_view status_word(const admission::Snapshot& snapshot, const proxy::Servers& servers,
                             bool is_draining, admission::Time now) {
  if (is_draining) return "draining";
  if (servers.none_reachable()) return "down";
  if (snapshot.since_last_overload < overload_memory ||
      (snapshot.queue_limit > 0 && snapshot.waiting * 2 >= snapshot.queue_limit))
    return "overloaded";
  for (std::size_t i = 0; i < servers.count(); ++i) {
    const std::string_view word = state_word(servers, i, now);
    if (word != "reachable" && word != "unknown") return "degraded";
  }
  return "ok";
}

ordered_json by_reason(const admission::ReasonCounts& counts) {
  ordered_json result = ordered_json::object();
  for (const conf::ReasonText& text : conf::reason_texts)
    if (const auto count = counts[conf::index_of(text.reason)]; count > 0)
      result[text.word] = count;
  return result;
}

// How another conf would have decided; null without one.
ordered_json shadow_state(const admission::ShadowCounts& shadow) {
  if (!shadow.is_on) return nullptr;
  return {{"alike", shadow.alike},
          {"would_refuse", by_reason(shadow.would_refuse)},
          {"would_accept", by_reason(shadow.would_accept)},
          {"queue_size", shadow.waiting},
          {"workers", shadow.workers}};
}

// How the workers are shared out, and where the adaptive discipline sheds.
ordered_json priorities(const admission::Snapshot& snapshot) {
  ordered_json result = ordered_json::object();
  for (std::size_t i = 0; i < conf::priority_count; ++i)
    result[std::to_string(i + 1)] = {{"active_workers", snapshot.active_by_priority[i]},
                                     {"reserved_workers", snapshot.reserved_by_priority[i]},
                                     {"congested", snapshot.congested[i]}};
  return result;
}

ordered_json percentiles(const admission::Quantiles& quantiles) {
  return {{"p50", measure::in_rounded_ms(quantiles.p50)},
          {"p95", measure::in_rounded_ms(quantiles.p95)},
          {"p99", measure::in_rounded_ms(quantiles.p99)}};
}

ordered_json upstream_state(const proxy::Servers& servers, admission::Time now) {
  ordered_json result = ordered_json::object();
  for (std::size_t i = 0; i < servers.count(); ++i) {
    std::string text(state_word(servers, i, now));
    if (!servers.has_address(i)) text += ": " + servers.why_no_address(i);
    result[servers.name(i)] = std::move(text);
  }
  return result;
}

// Of each server, by status class.
ordered_json upstream_answers(const proxy::Servers& servers) {
  ordered_json result = ordered_json::object();
  for (std::size_t i = 0; i < servers.count(); ++i)
    for (std::size_t of = 0; of < proxy::Servers::class_count; ++of)
      result[servers.name(i)][std::string(proxy::Servers::class_words[of])] =
          servers.answers(i, of);
  return result;
}

ordered_json conf_state(const ConfHistory& history) {
  ordered_json set = ordered_json::object();
  for (const auto& [key, value] : history.set_at_run_time) set[key] = value;
  return {
      {"changed_at", wall_time_text(history.read_at)}, {"reloads", history.reloads},
      {"failed_reloads", history.failed_reloads},      {"last_reload_failed", history.last_failed},
      {"last_reload_error", history.last_error},       {"set_at_run_time", set}};
}

// By plan; null where no conf so far had any.
ordered_json quotas_state(const Policy& policy) {
  if (!policy.quotas) return nullptr;
  const QuotaTable& table = policy.quotas->table();
  const auto now = Quotas::now();
  ordered_json plans = ordered_json::object();
  const auto sums = table.by_plan(policy.rules->quotas(), now);
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const PlanQuota& plan = policy.rules->quotas()[i];
    const conf::QuotaSettings& quota = plan.quota;
    const auto period = [&](QuotaPeriod kind, std::int64_t limit, std::int64_t soft) {
      const QuotaTable::PlanUsage& sum = sums[i][index_of(kind)];
      return ordered_json{{"limit", limit},
                          {"soft", soft},
                          {"clients", sum.clients},
                          {"used_up", sum.used_up},
                          {"used", sum.usage.in(quota.unit)}};
    };
    plans[plan.name] = {{"unit", conf::word_of(quota.unit)},
                        {"day", period(QuotaPeriod::day, quota.day, quota.day_soft)},
                        {"month", period(QuotaPeriod::month, quota.month, quota.month_soft)}};
  }
  return {{"plans", plans},
          {"clients", table.clients()},
          {"clients_max", table.clients_max()},
          {"requests_not_remembered", table.not_remembered()},
          {"write_errors", policy.quotas->write_errors()},
          {"unwritten_seconds", policy.quotas->behind(now)}};
}

// Named one by one: what is added later is operators' until somebody says otherwise.
constexpr std::array strangers_fields{"status",
                                      "total_requests",
                                      "processed_requests",
                                      "failed_requests",
                                      "rejected_requests",
                                      "abandoned_requests",
                                      "queue_size",
                                      "active_workers",
                                      "in_flight_requests",
                                      "workers_without_client",
                                      "average_wait_time_ms",
                                      "average_process_time_ms",
                                      "wait_time_ms",
                                      "process_time_ms",
                                      "rejected_by_reason",
                                      "failed_by_reason",
                                      "queue_by_priority",
                                      "uptime_seconds",
                                      "last_updated"};
constexpr std::array strangers_limits{"workers", "queue_size",         "rate",
                                      "burst",   "request_timeout_ms", "queue_timeout_ms"};

ordered_json without_what_is_operators(const ordered_json& json) {
  ordered_json shown = ordered_json::object();
  for (const char* field : strangers_fields) shown[field] = json.at(field);
  for (const char* limit : strangers_limits) shown["limits"][limit] = json.at("limits").at(limit);
  return shown;
}

}  // namespace

std::string_view state_word(const proxy::Servers& servers, std::size_t server,
                            admission::Time now) {
  using State = proxy::Servers::State;
  const State state = servers.state(server);
  if (!servers.has_address(server)) return "not known";
  if (state == State::unreachable) return "unreachable";
  if (servers.is_ejected(server, now)) return "ejected";
  if (servers.is_failing(server)) return "failing";
  return state == State::reachable ? "reachable" : "unknown";
}

Health describe_health(const Shared& shared, const Policy& policy, admission::Time now,
                       Asker asker) {
  const admission::Snapshot snapshot = shared.gate.snapshot(now);
  const bool is_draining = shared.is_draining.load(std::memory_order_relaxed);
  const conf::AdmissionSettings& limits = policy.rules->settings.admission;

  ordered_json by_priority = ordered_json::object();
  for (std::size_t i = 0; i < conf::priority_count; ++i)
    by_priority[std::to_string(i + 1)] = snapshot.waiting_by_priority[i];

  const ordered_json json{
      {"status", status_word(snapshot, *policy.servers, is_draining, now)},
      {"total_requests", snapshot.total},
      {"processed_requests", snapshot.processed},
      {"failed_requests", admission::sum(snapshot.failed)},
      {"rejected_requests", admission::sum(snapshot.rejected)},
      {"abandoned_requests", snapshot.abandoned},
      {"queue_size", snapshot.waiting},
      {"active_workers", snapshot.active_workers},
      {"in_flight_requests", snapshot.in_flight},
      {"workers_without_client", snapshot.workers_without_client},
      {"streams", shared.streams.load(std::memory_order_relaxed)},
      {"average_wait_time_ms", measure::in_rounded_ms(snapshot.average_wait)},
      {"average_process_time_ms", measure::in_rounded_ms(snapshot.average_process)},
      {"wait_time_ms", percentiles(snapshot.wait)},
      {"process_time_ms", percentiles(snapshot.process)},
      {"rejected_by_reason", by_reason(snapshot.rejected)},
      {"failed_by_reason", by_reason(snapshot.failed)},
      {"observed_by_reason", by_reason(snapshot.observed)},
      {"shadow", shadow_state(snapshot.shadow)},
      {"queue_by_priority", by_priority},
      {"priorities", priorities(snapshot)},
      {"queue_bytes", snapshot.waiting_bytes},
      {"client_memory_bytes", shared.memory.used()},
      {"limits",
       {{"workers", snapshot.workers},
        {"queue_size", limits.queue_size},
        {"queue_bytes", limits.queue_bytes.count},
        {"client_memory_bytes", shared.memory.limit()},
        {"rate", snapshot.rate},
        {"burst", limits.burst},
        {"request_timeout_ms", limits.request_timeout.count()},
        {"queue_timeout_ms", limits.queue_timeout.count()},
        {"connections", policy.rules->connection_limit}}},
      {"clients",
       {{"known", snapshot.clients.known},
        {"places", snapshot.clients.places},
        {"unknown", snapshot.clients.unknown},
        {"unknown_places", snapshot.clients.unknown_places},
        {"forgotten", snapshot.clients.forgotten},
        {"forgotten_early", snapshot.clients.forgotten_early},
        {"requests_not_remembered", snapshot.clients.not_remembered}}},
      {"quotas", quotas_state(policy)},
      {"upstream", upstream_state(*policy.servers, now)},
      {"upstream_answers", upstream_answers(*policy.servers)},
      {"connections", shared.connections.load(std::memory_order_relaxed)},
      {"connections_refused", shared.connections_refused.load(std::memory_order_relaxed)},
      {"access_log_lines_dropped", shared.access_log.dropped_lines()},
      {"uptime_seconds",
       std::chrono::duration_cast<std::chrono::seconds>(now - shared.started).count()},
      {"conf", conf_state(policy.history)},
      {"version", CLASSGATE_VERSION},
      {"last_updated", wall_time_text(std::chrono::system_clock::now())},
  };
  const bool can_serve = !is_draining && !policy.servers->none_reachable();
  return {can_serve ? 200 : 503,
          json_text(asker == Asker::stranger ? without_what_is_operators(json) : json)};
}

const Health& StrangersHealth::at(admission::Time now, const Shared& shared, const Policy& policy) {
  const bool is_draining = shared.is_draining.load(std::memory_order_relaxed);
  if (is_made_ && is_draining == was_draining_ &&
      now - made_ < policy.rules->settings.ops.health_cache)
    return health_;
  health_ = describe_health(shared, policy, now, Asker::stranger);
  made_ = now;
  is_made_ = true;
  was_draining_ = is_draining;
  return health_;
}

}  // namespace classgate::gateway
