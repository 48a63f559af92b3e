#include "gateway/health_json.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "admission/measure/units.h"
#include "conf/words.h"
#include "gateway/wall_time.h"

namespace classgate::gateway {
namespace {

using nlohmann::ordered_json;

ordered_json by_reason(const admission::ReasonCounts& counts) {
  ordered_json result = ordered_json::object();
  for (const conf::ReasonText& text : conf::reason_texts)
    if (const auto count = counts[conf::index_of(text.reason)]; count > 0)
      result[text.word] = count;
  return result;
}

// How another conf would have decided; null without one.
ordered_json shadow_json(const admission::ShadowCounts& shadow) {
  if (!shadow.is_on) return nullptr;
  return {{"alike", shadow.alike},
          {"would_refuse", by_reason(shadow.would_refuse)},
          {"would_accept", by_reason(shadow.would_accept)},
          {"queue_size", shadow.waiting},
          {"workers", shadow.workers}};
}

ordered_json queue_by_priority(const admission::Snapshot& snapshot) {
  ordered_json result = ordered_json::object();
  for (std::size_t i = 0; i < conf::priority_count; ++i)
    result[std::to_string(i + 1)] = snapshot.waiting_by_priority[i];
  return result;
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
  const auto told = [](admission::Duration of) {
    return measure::in_rounded_ms(measure::to_three_digits(of));
  };
  return {{"p50", told(quantiles.p50)}, {"p95", told(quantiles.p95)}, {"p99", told(quantiles.p99)}};
}

ordered_json limits_json(const HealthReport& report) {
  const HealthReport::Limits& limits = report.limits;
  return {{"workers", report.admission.workers},
          {"queue_size", limits.queue_size},
          {"queue_bytes", limits.queue_bytes},
          {"client_memory_bytes", limits.client_memory_bytes},
          {"rate", report.admission.rate},
          {"burst", limits.burst},
          {"request_timeout_ms", limits.request_timeout.count()},
          {"queue_timeout_ms", limits.queue_timeout.count()},
          {"connections", limits.connections}};
}

ordered_json clients_json(const admission::ClientTable::Counts& clients) {
  return {{"known", clients.known},
          {"places", clients.places},
          {"unknown", clients.unknown},
          {"unknown_places", clients.unknown_places},
          {"network", clients.network},
          {"network_places", clients.network_places},
          {"forgotten", clients.forgotten},
          {"forgotten_early", clients.forgotten_early},
          {"requests_not_remembered", clients.not_remembered}};
}

// fairness.rate = "pattern"; null where it is off.
ordered_json patterns_json(const admission::Snapshot& snapshot) {
  const admission::ClientPatterns::Counts& patterns = snapshot.patterns;
  if (patterns.places == 0) return nullptr;
  return {{"service_is_short", snapshot.is_short},
          {"is_learning", patterns.is_learning},
          {"clients", patterns.clients},
          {"clients_max", patterns.places},
          {"requests_not_remembered", patterns.not_remembered}};
}

ordered_json quotas_json(const std::optional<QuotaHealth>& quotas) {
  if (!quotas) return nullptr;
  const auto period = [](const QuotaHealth::Period& of) {
    return ordered_json{{"limit", of.limit},
                        {"soft", of.soft},
                        {"clients", of.clients},
                        {"used_up", of.used_up},
                        {"used", of.used}};
  };
  ordered_json plans = ordered_json::object();
  for (const QuotaHealth::Plan& plan : quotas->plans)
    plans[plan.name] = {{"unit", conf::word_of(plan.unit)},
                        {"day", period(plan.periods[index_of(QuotaPeriod::day)])},
                        {"month", period(plan.periods[index_of(QuotaPeriod::month)])}};
  return {{"plans", plans},
          {"clients", quotas->clients},
          {"clients_max", quotas->clients_max},
          {"requests_not_remembered", quotas->requests_not_remembered},
          {"write_errors", quotas->write_errors},
          {"unwritten_seconds", quotas->unwritten.count()}};
}

// All that the ledger knows.
ordered_json gateways_json(const SharingHealth& sharing) {
  ordered_json list = ordered_json::array();
  for (const SharingHealth::Gateway& one : sharing.gateways)
    list.push_back({{"name", one.name},
                    {"workers", one.seats},
                    {"in_use", one.in_use},
                    {"without_ledger", one.floor},
                    {"silent_ms", std::max<std::int64_t>(-one.lease.count(), 0)}});
  return list;
}

// null: the rate for all.
ordered_json shared_rates_json(const SharingHealth& sharing) {
  ordered_json list = ordered_json::array();
  for (const SharingHealth::Rate& rate : sharing.rates)
    list.push_back(
        {{"route", rate.route.empty() ? ordered_json(nullptr) : ordered_json(rate.route)},
         {"rate", rate.rate},
         {"rate_of_conf", rate.of_conf},
         {"here", std::round(rate.here * 1000) / 1000}});
  return list;
}

// Of the workers that several gateways have together; null where nothing is shared.
ordered_json shared_workers_json(const SharingHealth& sharing, admission::Time now) {
  if (sharing.state == SharingHealth::State::off) return nullptr;
  const bool was_heard = sharing.heard != admission::Time{};
  ordered_json failures = ordered_json::object();
  for (std::size_t i = 0; i < sharing_failure_count; ++i)
    failures[std::string(sharing_failure_words[i])] = sharing.failures[i];
  return {{"name", sharing.name},
          {"gateways", sharing.members},
          {"workers", sharing.workers},
          {"here", sharing.seats},
          {"without_ledger", sharing.floor},
          {"kept_for_unseen", sharing.kept},
          {"rates", shared_rates_json(sharing)},
          {"all", gateways_json(sharing)},
          {"ledger", sharing.server},
          {"exchanges", sharing.exchanges},
          {"exchange_ms", measure::in_rounded_ms(sharing.took)},
          {"heard_ms_ago", was_heard ? ordered_json(measure::in_rounded_ms(now - sharing.heard))
                                     : ordered_json(nullptr)},
          {"failures", failures},
          {"problem", sharing.problem}};
}

ordered_json upstream_json(const std::vector<ServerHealth>& servers) {
  ordered_json result = ordered_json::object();
  for (const ServerHealth& server : servers) {
    std::string text(word_of(server.state));
    if (server.state == ServerHealth::State::without_address) text += ": " + server.why_no_address;
    result[server.name] = std::move(text);
  }
  return result;
}

// Of each server, by status class.
ordered_json upstream_answers(const std::vector<ServerHealth>& servers) {
  ordered_json result = ordered_json::object();
  for (const ServerHealth& server : servers)
    for (std::size_t of = 0; of < server.answers.size(); ++of)
      result[server.name][std::string(proxy::Servers::class_words[of])] = server.answers[of];
  return result;
}

ordered_json conf_json(const ConfHistory& history) {
  ordered_json set = ordered_json::object();
  for (const auto& [key, value] : history.set_at_run_time) set[key] = value;
  return {
      {"changed_at", wall_time_text(history.read_at)}, {"reloads", history.reloads},
      {"failed_reloads", history.failed_reloads},      {"last_reload_failed", history.last_failed},
      {"last_reload_error", history.last_error},       {"set_at_run_time", set}};
}

// Named one by one: what is added later is operators' until somebody says otherwise.
constexpr std::array strangers_fields{"status",
                                      "sharing",
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

ordered_json health_json(const HealthReport& report, Asker asker) {
  const admission::Snapshot& snapshot = report.admission;
  ordered_json json{
      {"status", word_of(report.status)},
      {"sharing", word_of(report.sharing.state)},
      {"total_requests", snapshot.total},
      {"processed_requests", snapshot.processed},
      {"failed_requests", admission::sum(snapshot.failed)},
      {"rejected_requests", admission::sum(snapshot.rejected)},
      {"abandoned_requests", snapshot.abandoned},
      {"queue_size", snapshot.waiting},
      {"active_workers", snapshot.active_workers},
      {"in_flight_requests", snapshot.in_flight},
      {"workers_without_client", snapshot.workers_without_client},
      {"streams", report.streams},
      {"average_wait_time_ms", measure::in_rounded_ms(snapshot.average_wait)},
      {"average_process_time_ms", measure::in_rounded_ms(snapshot.average_process)},
      {"wait_time_ms", percentiles(snapshot.wait)},
      {"process_time_ms", percentiles(snapshot.process)},
      {"rejected_by_reason", by_reason(snapshot.rejected)},
      {"failed_by_reason", by_reason(snapshot.failed)},
      {"observed_by_reason", by_reason(snapshot.observed)},
      {"shadow", shadow_json(snapshot.shadow)},
      {"queue_by_priority", queue_by_priority(snapshot)},
      {"priorities", priorities(snapshot)},
      {"queue_bytes", snapshot.waiting_bytes},
      {"client_memory_bytes", report.client_memory_bytes},
      {"limits", limits_json(report)},
      {"clients", clients_json(snapshot.clients)},
      {"patterns", patterns_json(snapshot)},
      {"quotas", quotas_json(report.quotas)},
      {"shared_workers", shared_workers_json(report.sharing, std::chrono::steady_clock::now())},
      {"upstream", upstream_json(report.servers)},
      {"upstream_answers", upstream_answers(report.servers)},
      {"connections", report.connections},
      {"connections_refused", report.connections_refused},
      {"access_log_lines_dropped", report.access_log_lines_dropped},
      {"uptime_seconds", report.uptime.count()},
      {"conf", conf_json(report.conf)},
      {"version", report.version},
      {"last_updated", wall_time_text(report.made)},
  };
  return asker == Asker::stranger ? without_what_is_operators(json) : json;
}

}  // namespace classgate::gateway
