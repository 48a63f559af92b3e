#include "gateway/ops/metrics.h"

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <tuple>
#include <utility>

#include "gateway/clients/pseudonym.h"
#include "gateway/health_report.h"
#include "gateway/history/usage_history.h"
#include "gateway/ops/admission_metrics.h"
#include "gateway/ops/certificate_metrics.h"
#include "gateway/ops/forecast_report.h"
#include "gateway/ops/process_stats.h"
#include "gateway/ops/usage_metrics.h"

namespace classgate::gateway {
namespace {

void add_requests(MetricFamilies& out, const Server& server) {
  std::map<std::pair<std::string, int>, std::array<std::uint64_t, ending_words.size()>> routes;
  for (const auto& station : server.stations())
    station->numbers().for_each_route([&](const RouteMetrics& route) {
      auto& sums = routes[{route.name, route.priority}];
      for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += route.endings[i].read();
    });
  out.counter("classgate_requests_total",
              "Requests that have ended, by route, priority and what came of them; route \"-\": "
              "refused before a route was found.");
  for (const auto& [route, sums] : routes)
    for (std::size_t i = 0; i < sums.size(); ++i)
      out.value(sums[i], {{"route", route.first},
                          {"priority", std::to_string(route.second)},
                          {"outcome", std::string(ending_words[i])}});
}

void add_reasons(MetricFamilies& out, const admission::Snapshot& snapshot) {
  const auto add = [&](const admission::ReasonCounts& counts, auto belongs) {
    for (const conf::ReasonText& text : conf::reason_texts)
      if (belongs(text.reason))
        out.value(counts[conf::index_of(text.reason)], {{"reason", std::string(text.word)}});
  };
  const auto is_upstream = [](conf::Reason reason) {
    return conf::kind_of(reason) == conf::ReasonKind::service;
  };
  out.counter("classgate_rejections_total", "Requests that were refused, by reason.");
  add(snapshot.rejected, [&](conf::Reason reason) { return !is_upstream(reason); });
  out.counter("classgate_observed_total",
              "Requests that would have been refused, but for [observe], by reason.");
  add(snapshot.observed, [](conf::Reason reason) {
    return admission::waits_for_tokens(reason) || reason == conf::Reason::would_miss_deadline ||
           reason == conf::Reason::shed;
  });
  if (snapshot.shadow.is_on) {
    out.counter("classgate_shadow_alike_total", "Requests on which the shadow conf agreed.")
        .value(snapshot.shadow.alike);
    out.counter("classgate_shadow_would_refuse_total",
                "Requests let in that the shadow conf would have refused, by its reason.");
    for (const conf::ReasonText& text : conf::reason_texts)
      if (const auto count = snapshot.shadow.would_refuse[conf::index_of(text.reason)]; count > 0)
        out.value(count, {{"reason", std::string(text.word)}});
    out.counter("classgate_shadow_would_accept_total",
                "Requests refused that the shadow conf would have let in, by the reason here.");
    for (const conf::ReasonText& text : conf::reason_texts)
      if (const auto count = snapshot.shadow.would_accept[conf::index_of(text.reason)]; count > 0)
        out.value(count, {{"reason", std::string(text.word)}});
  }
  out.counter("classgate_failures_total", "Requests that were admitted and failed, by reason.");
  add(snapshot.failed, [&](conf::Reason reason) {
    return is_upstream(reason) || snapshot.failed[conf::index_of(reason)] > 0;
  });
}

void add_durations(MetricFamilies& out, const Server& server) {
  const auto add = [&](auto member) {
    for (std::size_t i = 0; i < conf::priority_count; ++i) {
      std::vector<const DurationHistogram*> parts;
      for (const auto& station : server.stations())
        parts.push_back(&(station->numbers().*member)[i]);
      out.histogram(parts, {{"priority", word_of_priority(i)}});
    }
  };
  out.histograms("classgate_wait_seconds", "Time from arrival to a worker, of admitted requests.");
  add(&LoopMetrics::waits);
  out.histograms("classgate_upstream_seconds", "Time for which a request kept its worker.");
  add(&LoopMetrics::upstream_times);
}

// Where there are plans; plan "-": who is in none.
void add_plans(MetricFamilies& out, const Server& server) {
  std::map<std::string, std::vector<const PlanMetrics*>> plans;
  for (const auto& station : server.stations())
    station->numbers().for_each_plan(
        [&](const PlanMetrics& plan) { plans[plan.name].push_back(&plan); });
  if (plans.size() < 2) return;
  const auto sum = [](const std::vector<const PlanMetrics*>& parts, auto counter_of) {
    std::uint64_t total = 0;
    for (const PlanMetrics* part : parts) total += counter_of(*part).read();
    return total;
  };
  out.counter("classgate_plan_requests_total",
              "Requests that have ended, by the plan of their client and what came of them.");
  for (const auto& [name, parts] : plans)
    for (std::size_t i = 0; i < ending_words.size(); ++i)
      out.value(sum(parts, [i](const PlanMetrics& plan) -> auto& { return plan.endings[i]; }),
                {{"plan", name}, {"outcome", std::string(ending_words[i])}});
  out.counter("classgate_plan_rejections_total",
              "Requests that were refused, by the plan of their client and reason; what never was "
              "is left out.");
  for (const auto& [name, parts] : plans)
    for (const conf::ReasonText& text : conf::reason_texts) {
      const std::size_t index = conf::index_of(text.reason);
      const std::uint64_t count =
          sum(parts, [index](const PlanMetrics& plan) -> auto& { return plan.refusals[index]; });
      if (count > 0) out.value(count, {{"plan", name}, {"reason", std::string(text.word)}});
    }
  out.counter("classgate_plan_cost_total",
              "Tokens that requests cost which went in, by the plan of their client.");
  for (const auto& [name, parts] : plans)
    out.value(sum(parts, [](const PlanMetrics& plan) -> auto& { return plan.cost; }),
              {{"plan", name}});
  out.histograms(
      "classgate_plan_seconds",
      "Time from arrival to the end, of requests that went in, by the plan of their client.");
  for (const auto& [name, parts] : plans) {
    std::vector<const DurationHistogram*> times;
    for (const PlanMetrics* part : parts) times.push_back(&part->times);
    out.histogram(times, {{"plan", name}});
  }
}

// The few that have most now: never a series for each client there is (ops.client_metrics).
void add_clients(MetricFamilies& out, const Server& server) {
  const std::uint32_t most = server.settings().ops.client_metrics;
  if (most == 0) return;
  const auto clients = server.shared().gate.top_clients(most, std::chrono::steady_clock::now());
  out.gauge(
      "classgate_client_workers_busy",
      "Busy workers of the clients that have most; client \"-\": all that are not remembered.");
  for (const admission::ClientState& client : clients)
    out.value(client.now.active, {{"client", pseudonym_of(client.id)}});
  out.gauge("classgate_client_queue_length", "Places in the queue of the same clients.");
  for (const admission::ClientState& client : clients)
    out.value(client.now.waiting, {{"client", pseudonym_of(client.id)}});
}

void add_traffic(MetricFamilies& out, const Server& server, const HealthReport& report) {
  const auto sum = [&](Counter LoopMetrics::* counter) {
    std::uint64_t total = 0;
    for (const auto& station : server.stations()) total += (station->numbers().*counter).read();
    return total;
  };
  out.gauge("classgate_connections", "Client connections.").value(report.connections);
  out.gauge("classgate_connections_limit", "Client connections at most.")
      .value(report.limits.connections);
  out.counter("classgate_connections_accepted_total", "Client connections accepted.")
      .value(sum(&LoopMetrics::accepted));
  out.counter("classgate_http2_connections_total", "Of these, those on which HTTP/2 is spoken.")
      .value(sum(&LoopMetrics::http2_connections));
  out.counter("classgate_http2_requests_total", "Requests on them: streams.")
      .value(sum(&LoopMetrics::http2_requests));
  out.counter("classgate_upstream_requests_total",
              "Requests that went to the service, by the protocol of their last attempt.")
      .value(sum(&LoopMetrics::carried_by_http1), {{"protocol", "http/1.1"}})
      .value(sum(&LoopMetrics::carried_by_http2), {{"protocol", "h2"}});
  MetricFamilies& calls = out.counter(
      "classgate_grpc_calls_total", "Calls of gRPC, by what their client was told (grpc-status).");
  for (std::size_t code = 0; code < std::tuple_size_v<decltype(LoopMetrics::grpc_calls)>; ++code) {
    std::uint64_t total = 0;
    for (const auto& station : server.stations())
      total += station->numbers().grpc_calls[code].read();
    if (total > 0) calls.value(total, {{"code", std::to_string(code)}});
  }
  out.counter("classgate_connections_refused_total",
              "Client connections refused for lack of room (client.max_connections).")
      .value(report.connections_refused);
  out.counter("classgate_client_connections_refused_total",
              "Client connections refused because their address had enough "
              "(client.connections_per_address).")
      .value(server.shared().client_connections_refused.load(std::memory_order_relaxed));
  out.counter("classgate_proxy_headers_refused_total",
              "Connections of trusted proxies closed for want of a PROXY header "
              "(client.proxy_protocol).")
      .value(sum(&LoopMetrics::introductions_refused));
  out.counter("classgate_invariants_broken_total",
              "Faults of classgate itself, each with its place in the log: the one connection or "
              "request concerned was cut.")
      .value(server.shared().invariants_broken.load(std::memory_order_relaxed));
  out.counter("classgate_exceptions_contained_total",
              "As classgate_invariants_broken_total, of other exceptions (out of memory).")
      .value(server.shared().exceptions_contained.load(std::memory_order_relaxed));
  out.counter("classgate_retries_total", "Second attempts to get a request to the upstream.")
      .value(sum(&LoopMetrics::retries));
  out.counter("classgate_retries_denied_total",
              "Second attempts that the budget did not allow (upstream.retry_budget).")
      .value(sum(&LoopMetrics::retries_denied));
  out.counter("classgate_retries_isolated_total",
              "Requests that were lost with an HTTP/2 connection which others shared, and were to "
              "be sent again on none but one to themselves.")
      .value(sum(&LoopMetrics::retries_isolated));
  out.counter("classgate_tls_handshakes_total", "TLS handshakes with clients.")
      .value(sum(&LoopMetrics::handshakes_full), {{"result", "full"}})
      .value(sum(&LoopMetrics::handshakes_resumed), {{"result", "resumed"}})
      .value(sum(&LoopMetrics::handshakes_failed), {{"result", "failed"}});
  out.counter("classgate_received_bytes_total", "Request bodies, from clients.")
      .value(sum(&LoopMetrics::received_bytes));
  out.counter("classgate_sent_bytes_total", "Response bodies, to clients.")
      .value(sum(&LoopMetrics::sent_bytes));
  out.counter("classgate_answered_here_total",
              "Requests that the gateway answered itself, and that are in no other count of "
              "requests: /queue/health, preflights of browsers ([cors]), Max-Forwards: 0.");
  for (std::size_t i = 0; i < answered_here_words.size(); ++i) {
    std::uint64_t total = 0;
    for (const auto& station : server.stations())
      total += station->numbers().answered_here[i].read();
    out.value(total, {{"what", std::string(answered_here_words[i])}});
  }
  out.counter("classgate_limits_reached_total",
              "Times that a connection or exchange reached one of its limits, by key of the conf.");
  for (std::size_t i = 0; i < limit_keys.size(); ++i) {
    std::uint64_t total = 0;
    for (const auto& station : server.stations())
      total += station->numbers().limits_reached[i].read();
    out.value(total, {{"limit", std::string(limit_keys[i])}});
  }
  const auto add_results = [&](auto counters, const auto& words) {
    for (std::size_t i = 0; i < words.size(); ++i) {
      std::uint64_t total = 0;
      for (const auto& station : server.stations())
        total += (station->numbers().*counters)[i].read();
      out.value(total, {{"result", std::string(words[i])}});
    }
  };
  out.counter("classgate_token_checks_total",
              "Signed tokens of requests, by what came of them: remembered (it was verified "
              "before), verified, or why it is not believed; too_many: jwt.checks_max.");
  add_results(&LoopMetrics::token_checks, token_result_words);
  out.counter("classgate_token_signatures_checked_total",
              "Signatures of tokens that were checked (jwt.checks_max).")
      .value(sum(&LoopMetrics::token_signatures));
  out.counter("classgate_key_checks_total",
              "Keys of requests, by whether clients.clients_file or a plan knows them; not_valid: "
              "not now.");
  add_results(&LoopMetrics::key_checks, key_result_words);
  out.gauge("classgate_client_memory_bytes",
            "Memory held for clients: connections, TLS, heads, bodies, answers.")
      .value(report.client_memory_bytes);
  out.gauge("classgate_client_memory_limit_bytes",
            "Memory that may be held for clients (client.memory).")
      .value(report.limits.client_memory_bytes);
  out.counter("classgate_client_memory_pressure_total",
              "Clients that met the limit of memory, by what was done: those that held most gave "
              "way, newcomers were turned away, what would have grown was refused.")
      .value(sum(&LoopMetrics::memory_given_way), {{"action", "given_way"}})
      .value(sum(&LoopMetrics::memory_refused_newcomers), {{"action", "refused_newcomer"}})
      .value(sum(&LoopMetrics::memory_refused_growth), {{"action", "refused_growth"}});
  out.gauge("classgate_buffer_bytes", "Request bodies held in memory.")
      .value(sum(&LoopMetrics::held_bytes));
}

void add_upstream(MetricFamilies& out, const proxy::Servers& servers) {
  out.gauge("classgate_upstream_up",
            "1 when the server was reachable when last tried, 0 when not.");
  for (std::size_t i = 0; i < servers.count(); ++i)
    if (servers.state(i) != proxy::Servers::State::unknown)
      out.value(servers.state(i) == proxy::Servers::State::reachable ? 1 : 0,
                {{"server", servers.name(i)}});
  out.gauge("classgate_upstream_requests", "Requests that the server works on.");
  for (std::size_t i = 0; i < servers.count(); ++i)
    out.value(servers.requests(i), {{"server", servers.name(i)}});
  out.counter("classgate_upstream_ejections_total",
              "Times the server was passed over for its failures (upstream.eject_after).");
  for (std::size_t i = 0; i < servers.count(); ++i)
    out.value(servers.ejections(i), {{"server", servers.name(i)}});
  out.counter("classgate_upstream_unasked_total",
              "Times the server spoke without being asked (upstream.unasked_pause).");
  for (std::size_t i = 0; i < servers.count(); ++i)
    out.value(servers.unasked(i), {{"server", servers.name(i)}});
}

// Without those to operators.
void add_responses(MetricFamilies& out, const Server& server) {
  constexpr auto& classes = proxy::Servers::class_words;
  const proxy::Servers& servers = *server.policy().servers;
  out.counter("classgate_responses_total",
              "Answers to requests, by status class and who made them: a server, or the gateway "
              "itself.");
  for (std::size_t of = 0; of < classes.size(); ++of) {
    for (std::size_t i = 0; i < servers.count(); ++i)
      out.value(servers.answers(i, of), {{"code_class", std::string(classes[of])},
                                         {"source", "upstream"},
                                         {"server", servers.name(i)}});
    std::uint64_t own = 0;
    for (const auto& station : server.stations()) own += station->numbers().own_answers[of].read();
    out.value(own,
              {{"code_class", std::string(classes[of])}, {"source", "gateway"}, {"server", "-"}});
  }
  out.gauge("classgate_upstream_failing",
            "1 while too many of the server's answers are 5xx (upstream.eject_errors).");
  for (std::size_t i = 0; i < servers.count(); ++i)
    out.value(servers.is_failing(i) ? 1 : 0, {{"server", servers.name(i)}});
}

void add_gateway(MetricFamilies& out, const HealthReport& report,
                 std::uint64_t error_lines_dropped) {
  out.counter("classgate_log_lines_dropped_total",
              "Log lines that were not written, for want of room, time or disk.")
      .value(report.access_log_lines_dropped, {{"log", "access"}})
      .value(error_lines_dropped, {{"log", "error"}});
  const ConfHistory& history = report.conf;
  out.counter("classgate_reloads_total", "Reloads of the conf.")
      .value(history.reloads, {{"result", "ok"}})
      .value(history.failed_reloads, {{"result", "failed"}});
  out.gauge("classgate_last_reload_successful", "0 when the conf was bad at the last reload.")
      .value(history.last_failed ? 0 : 1);
  out.gauge("classgate_last_reload_success_timestamp_seconds", "When the conf in force was read.")
      .value(std::chrono::duration<double>(history.read_at.time_since_epoch()).count());
  out.gauge("classgate_build_info", "Always 1.")
      .value(1, {{"version", std::string(report.version)}, {"compiler", CLASSGATE_COMPILER}});
  const ProcessStats process = read_process_stats();
  out.counter("process_cpu_seconds_total", "CPU time, user and system.").value(process.cpu_seconds);
  out.gauge("process_open_fds", "Open file descriptors.").value(process.open_fds);
  out.gauge("process_max_fds", "File descriptors at most.").value(process.max_fds);
  out.gauge("process_resident_memory_bytes", "Resident memory.").value(process.resident_bytes);
  out.gauge("process_virtual_memory_bytes", "Virtual memory.").value(process.virtual_bytes);
  out.gauge("process_start_time_seconds", "When the process started.").value(process.start_time);
}

void add_operators(MetricFamilies& out, const OperatorServer::Counts& operators) {
  out.gauge("classgate_ops_connections", "Operators' connections.").value(operators.open);
  out.counter("classgate_ops_connections_ended_total",
              "Silent connections of operators that gave way to newcomers, by key of the conf.")
      .value(operators.over_address, {{"limit", "ops.connections_per_address"}})
      .value(operators.over_all, {{"limit", "ops.max_connections"}});
  out.counter("classgate_ops_connections_refused_total",
              "Connections of operators refused because all others waited for an answer.")
      .value(operators.refused);
}

}  // namespace

Exposition expose_metrics(const Server& server, std::uint64_t error_lines_dropped,
                          const OperatorServer::Counts& operators,
                          const history::DemandReport* forecast, std::string_view accept) {
  const HealthReport report = report_health(
      server.shared(), server.policy(), std::chrono::steady_clock::now(), Asker::operator_of_it);
  MetricFamilies families;
  add_requests(families, server);
  add_reasons(families, report.admission);
  add_durations(families, server);
  add_plans(families, server);
  if (report.quotas) add_quotas(families, *report.quotas);
  if (report.sharing.state != SharingHealth::State::off)
    add_sharing(families, report.sharing, std::chrono::steady_clock::now());
  add_clients(families, server);
  add_admission(families, report);
  add_traffic(families, server, report);
  add_upstream(families, *server.policy().servers);
  add_responses(families, server);
  add_gateway(families, report, error_lines_dropped);
  add_operators(families, operators);
  add_certificates(families, server.policy());
  add_forecast(families, forecast);
  if (const UsageHistory* const usage = server.usage()) add_users(families, usage->numbers());
  return families.written_for(accept);
}

}  // namespace classgate::gateway
