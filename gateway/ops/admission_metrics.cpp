#include "gateway/ops/admission_metrics.h"

#include <chrono>
#include <string>
#include <string_view>

namespace classgate::gateway {

void add_quotas(MetricFamilies& out, const QuotaHealth& quotas) {
  const auto add = [&](auto member) {
    for (const QuotaHealth::Plan& plan : quotas.plans)
      for (const QuotaPeriod kind : quota_periods)
        out.value(plan.periods[index_of(kind)].*member,
                  {{"plan", plan.name}, {"period", kind == QuotaPeriod::day ? "day" : "month"}});
  };
  using Period = QuotaHealth::Period;
  out.gauge("classgate_quota_limit",
            "What each client of the plan may have in this period (quota_day, quota_month), in its "
            "unit; 0: no limit.");
  add(&Period::limit);
  out.gauge("classgate_quota_used",
            "What all clients of the plan have had of their quotas in this period, in its unit.");
  add(&Period::used);
  out.gauge("classgate_quota_clients",
            "Clients of the plan that have had anything in this period.");
  add(&Period::clients);
  out.gauge("classgate_quota_clients_used_up", "Of these, those that have nothing left.");
  add(&Period::used_up);
  out.counter("classgate_quota_not_remembered_total",
              "Requests of clients of plans' networks beyond clients.quota_clients_max, who share "
              "one quota.")
      .value(quotas.requests_not_remembered);
  out.counter("classgate_quota_write_errors_total",
              "Times that clients.quota_file could not be written.")
      .value(quotas.write_errors);
  out.gauge("classgate_quota_unwritten_seconds",
            "Since all that was counted was in clients.quota_file; a second or two is usual.")
      .value(quotas.unwritten.count());
}

void add_admission(MetricFamilies& out, const HealthReport& report) {
  const admission::Snapshot& snapshot = report.admission;
  out.gauge("classgate_queue_length", "Requests that wait for a worker.");
  for (std::size_t i = 0; i < conf::priority_count; ++i)
    out.value(snapshot.waiting_by_priority[i], {{"priority", word_of_priority(i)}});
  out.gauge("classgate_queue_limit", "Requests that may wait (admission.queue_size).")
      .value(snapshot.queue_limit);
  out.gauge("classgate_queue_bytes", "Bodies held by waiting requests.")
      .value(snapshot.waiting_bytes);
  out.gauge("classgate_queue_bytes_limit", "Bodies that waiting requests may hold.")
      .value(report.limits.queue_bytes);
  out.gauge("classgate_clients_known",
            "Clients that are remembered, of whatever kind: the sum of "
            "classgate_clients_remembered (not how many clients.clients_file has).")
      .value(snapshot.clients.known);
  const auto& clients = snapshot.clients;
  out.gauge(
         "classgate_clients_remembered",
         "The same by the part of the table: of those whom the operator "
         "knows, of those whose address is in a plan's network, and of all others; where there is "
         "no such part, in that of the known.")
      .value(clients.known - clients.network - clients.unknown, {{"part", "known"}})
      .value(clients.network, {{"part", "network"}})
      .value(clients.unknown, {{"part", "unknown"}});
  out.gauge("classgate_clients_remembered_limit",
            "Places of each part (fairness.clients_max, likewise, clients.unknown_max).")
      .value(clients.places - clients.network_places - clients.unknown_places, {{"part", "known"}})
      .value(clients.network_places, {{"part", "network"}})
      .value(clients.unknown_places, {{"part", "unknown"}});
  out.counter("classgate_clients_forgotten_total",
              "Clients that were forgotten for others; early: they had spent something.")
      .value(snapshot.clients.forgotten, {{"early", "no"}})
      .value(snapshot.clients.forgotten_early, {{"early", "yes"}});
  out.counter("classgate_clients_not_remembered_total",
              "Requests of clients for whom there was no room in their part of the table.")
      .value(
          clients.not_remembered - clients.network_not_remembered - clients.unknown_not_remembered,
          {{"part", "known"}})
      .value(clients.network_not_remembered, {{"part", "network"}})
      .value(clients.unknown_not_remembered, {{"part", "unknown"}});
  out.gauge("classgate_workers_busy", "Workers that are taken.").value(snapshot.active_workers);
  out.gauge("classgate_workers_without_client",
            "Busy workers whose client has left or got its 504.")
      .value(snapshot.workers_without_client);
  out.gauge("classgate_streams", "Answers that are streams now; each holds its workers.")
      .value(report.streams);
  out.gauge("classgate_workers_busy_by_priority", "Busy workers, by priority of their request.");
  for (std::size_t i = 0; i < conf::priority_count; ++i)
    out.value(snapshot.active_by_priority[i], {{"priority", word_of_priority(i)}});
  out.gauge("classgate_workers_reserved", "Workers reserved for a priority ([reserve]).");
  for (std::size_t i = 0; i < conf::priority_count; ++i)
    out.value(snapshot.reserved_by_priority[i], {{"priority", word_of_priority(i)}});
  out.gauge("classgate_congested", "1 while the adaptive discipline sheds in a priority.");
  for (std::size_t i = 0; i < conf::priority_count; ++i)
    out.value(snapshot.congested[i] ? 1 : 0, {{"priority", word_of_priority(i)}});
  out.gauge("classgate_workers_limit", "Requests in the upstream at once (admission.workers).")
      .value(snapshot.workers);
  out.gauge("classgate_rate_limit", "Requests a second (admission.rate); 0: no limit.")
      .value(snapshot.rate);
  out.gauge("classgate_rate_burst", "Requests that may come at once (admission.burst).")
      .value(report.limits.burst);
  out.gauge("classgate_draining", "1 when the gateway finishes what it accepted and takes no more.")
      .value(report.status == HealthReport::Status::draining ? 1 : 0);
}

void add_sharing(MetricFamilies& out, const SharingHealth& sharing, admission::Time now) {
  out.gauge("classgate_sharing_state",
            "1 for how it goes with the workers that several gateways have together.");
  for (const std::string_view word : SharingHealth::state_words)
    if (word != "off")
      out.value(word == word_of(sharing.state) ? 1 : 0, {{"state", std::string(word)}});
  out.gauge("classgate_sharing_workers", "Workers of all gateways together.")
      .value(sharing.workers);
  out.gauge("classgate_sharing_workers_here", "Of these, those that this gateway may use now.")
      .value(sharing.seats);
  out.gauge("classgate_sharing_workers_without_ledger",
            "Of these, those that it may use when it hears nothing of the ledger.")
      .value(sharing.floor);
  out.gauge("classgate_sharing_workers_kept",
            "Of these, those that are kept for gateways that nobody sees any more.")
      .value(sharing.kept);
  if (!sharing.rates.empty())
    out.gauge("classgate_sharing_rate",
              "Requests a second of all gateways together, the least that a conf of theirs says; "
              "without a route: of all requests.");
  for (const SharingHealth::Rate& rate : sharing.rates)
    out.value(rate.rate, {{"route", rate.route}});
  if (!sharing.rates.empty())
    out.gauge("classgate_sharing_rate_here", "Of these, those that this gateway may let in now.");
  for (const SharingHealth::Rate& rate : sharing.rates)
    out.value(rate.here, {{"route", rate.route}});
  out.gauge("classgate_sharing_gateways", "Gateways that have them together, as heard last.")
      .value(sharing.members);
  out.counter("classgate_sharing_exchanges_total", "Reports that the ledger has answered.")
      .value(sharing.exchanges);
  out.gauge("classgate_sharing_exchange_seconds", "What the last of them took.")
      .value(std::chrono::duration<double>(sharing.took).count());
  if (sharing.heard != admission::Time{})
    out.gauge("classgate_sharing_heard_seconds", "Since the last of them was answered.")
        .value(std::chrono::duration<double>(now - sharing.heard).count());
  out.counter("classgate_sharing_failures_total",
              "Times that the ledger's engine could not be used, by what was wrong.");
  for (std::size_t i = 0; i < sharing_failure_count; ++i)
    out.value(sharing.failures[i], {{"kind", std::string(sharing_failure_words[i])}});
}

}  // namespace classgate::gateway
