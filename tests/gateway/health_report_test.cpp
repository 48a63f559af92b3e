// The health of a gateway as a value: what it is made of, and what is written of it. Long, because
// the pages stand here whole. (With a gateway: health_test.cpp.)

#include "gateway/health_report.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "gateway/health.h"
#include "gateway/health_json.h"
#include "gateway/json_text.h"
#include "tests/gateway/quota_kit.h"

namespace classgate::gateway::test {
namespace {

using conf::Reason;
using Status = HealthReport::Status;
using proxy::Servers;

// Every number another one, so that none stands in the place of another.
HealthReport report_by_hand() {
  admission::Snapshot books;
  books.total = 100;
  books.processed = 80;
  books.abandoned = 2;
  books.rejected[conf::index_of(Reason::queue_full)] = 7;
  books.failed[conf::index_of(Reason::upstream_timeout)] = 1;
  books.failed[conf::index_of(Reason::upstream_broken)] = 11;
  books.observed[conf::index_of(Reason::shed)] = 9;
  books.workers = 50;
  books.active_workers = 4;
  books.in_flight = 3;
  books.workers_without_client = 13;
  books.queue_limit = 1000;
  books.waiting = 5;
  books.waiting_by_priority = {0, 1, 4, 0, 0};
  books.active_by_priority = {4, 0, 0, 0, 0};
  books.reserved_by_priority = {14, 0, 0, 0, 0};
  books.congested = {false, true, false, false, false};
  books.rate = 12.5;
  books.waiting_bytes = 15;
  books.average_wait = 1'234'567ns;
  books.average_process = 20ms;
  books.wait = {1ms, 2500us, 3ms};
  books.process = {10ms, 21ms, 30ms};
  books.shadow = {.is_on = true, .alike = 90, .waiting = 16, .workers = 17};
  books.shadow.would_refuse[conf::index_of(Reason::queue_full)] = 6;
  books.clients = {.known = 18,
                   .places = 19,
                   .unknown = 22,
                   .unknown_places = 23,
                   .network = 21,
                   .network_places = 20,
                   .forgotten = 24,
                   .forgotten_early = 25,
                   .not_remembered = 26};
  return {.status = Status::degraded,
          .admission = books,
          .limits = {.queue_size = 1001,
                     .queue_bytes = 27,
                     .client_memory_bytes = 28,
                     .burst = 29,
                     .request_timeout = 31s,
                     .queue_timeout = 32ms,
                     .connections = 33},
          .streams = 34,
          .client_memory_bytes = 35,
          .quotas = QuotaHealth{.plans = {{.name = "free",
                                           .unit = conf::QuotaUnit::cost,
                                           .periods = {{{36, 37, 38, 39, 40}, {0, 0, 41, 0, 42}}}}},
                                .clients = 43,
                                .clients_max = 44,
                                .requests_not_remembered = 45,
                                .write_errors = 46,
                                .unwritten = 47s},
          .servers = {{.name = "127.0.0.1:9000",
                       .state = ServerHealth::State::ejected,
                       .why_no_address = "",
                       .answers = {48, 49, 51, 52}},
                      {.name = "model.test:9000",
                       .state = ServerHealth::State::without_address,
                       .why_no_address = "no such name"}},
          .connections = 53,
          .connections_refused = 54,
          .access_log_lines_dropped = 55,
          .uptime = 56s,
          .conf = {.reloads = 57,
                   .failed_reloads = 58,
                   .last_failed = true,
                   .last_error = "classgate.conf:1: no such key\n",
                   .read_at = std::chrono::sys_days(2026y / 11 / 27),
                   .set_at_run_time = {{"admission.workers", "50"}}},
          .version = "1.2.3",
          .made = std::chrono::sys_days(2026y / 11 / 28) + 9h + 30min + 7ms};
}

constexpr std::string_view told_to_operators = R"({
  "status": "degraded",
  "sharing": "off",
  "total_requests": 100,
  "processed_requests": 80,
  "failed_requests": 12,
  "rejected_requests": 7,
  "abandoned_requests": 2,
  "queue_size": 5,
  "active_workers": 4,
  "in_flight_requests": 3,
  "workers_without_client": 13,
  "streams": 34,
  "average_wait_time_ms": 1.235,
  "average_process_time_ms": 20.0,
  "wait_time_ms": {
    "p50": 1.0,
    "p95": 2.5,
    "p99": 3.0
  },
  "process_time_ms": {
    "p50": 10.0,
    "p95": 21.0,
    "p99": 30.0
  },
  "rejected_by_reason": {
    "queue_full": 7
  },
  "failed_by_reason": {
    "upstream_timeout": 1,
    "upstream_broken": 11
  },
  "observed_by_reason": {
    "shed": 9
  },
  "shadow": {
    "alike": 90,
    "would_refuse": {
      "queue_full": 6
    },
    "would_accept": {},
    "queue_size": 16,
    "workers": 17
  },
  "queue_by_priority": {
    "1": 0,
    "2": 1,
    "3": 4,
    "4": 0,
    "5": 0
  },
  "priorities": {
    "1": {
      "active_workers": 4,
      "reserved_workers": 14,
      "congested": false
    },
    "2": {
      "active_workers": 0,
      "reserved_workers": 0,
      "congested": true
    },
    "3": {
      "active_workers": 0,
      "reserved_workers": 0,
      "congested": false
    },
    "4": {
      "active_workers": 0,
      "reserved_workers": 0,
      "congested": false
    },
    "5": {
      "active_workers": 0,
      "reserved_workers": 0,
      "congested": false
    }
  },
  "queue_bytes": 15,
  "client_memory_bytes": 35,
  "limits": {
    "workers": 50,
    "queue_size": 1001,
    "queue_bytes": 27,
    "client_memory_bytes": 28,
    "rate": 12.5,
    "burst": 29.0,
    "request_timeout_ms": 31000,
    "queue_timeout_ms": 32,
    "connections": 33
  },
  "clients": {
    "known": 18,
    "places": 19,
    "unknown": 22,
    "unknown_places": 23,
    "network": 21,
    "network_places": 20,
    "forgotten": 24,
    "forgotten_early": 25,
    "requests_not_remembered": 26
  },
  "patterns": null,
  "quotas": {
    "plans": {
      "free": {
        "unit": "cost",
        "day": {
          "limit": 36,
          "soft": 37,
          "clients": 38,
          "used_up": 39,
          "used": 40
        },
        "month": {
          "limit": 0,
          "soft": 0,
          "clients": 41,
          "used_up": 0,
          "used": 42
        }
      }
    },
    "clients": 43,
    "clients_max": 44,
    "requests_not_remembered": 45,
    "write_errors": 46,
    "unwritten_seconds": 47
  },
  "shared_workers": null,
  "upstream": {
    "127.0.0.1:9000": "ejected",
    "model.test:9000": "not known: no such name"
  },
  "upstream_answers": {
    "127.0.0.1:9000": {
      "2xx": 48,
      "3xx": 49,
      "4xx": 51,
      "5xx": 52
    },
    "model.test:9000": {
      "2xx": 0,
      "3xx": 0,
      "4xx": 0,
      "5xx": 0
    }
  },
  "connections": 53,
  "connections_refused": 54,
  "access_log_lines_dropped": 55,
  "uptime_seconds": 56,
  "conf": {
    "changed_at": "2026-11-27T00:00:00.000Z",
    "reloads": 57,
    "failed_reloads": 58,
    "last_reload_failed": true,
    "last_reload_error": "classgate.conf:1: no such key\n",
    "set_at_run_time": {
      "admission.workers": "50"
    }
  },
  "version": "1.2.3",
  "last_updated": "2026-11-28T09:30:00.007Z"
}
)";

constexpr std::string_view told_to_strangers = R"({
  "status": "degraded",
  "sharing": "off",
  "total_requests": 100,
  "processed_requests": 80,
  "failed_requests": 12,
  "rejected_requests": 7,
  "abandoned_requests": 2,
  "queue_size": 5,
  "active_workers": 4,
  "in_flight_requests": 3,
  "workers_without_client": 13,
  "average_wait_time_ms": 1.235,
  "average_process_time_ms": 20.0,
  "wait_time_ms": {
    "p50": 1.0,
    "p95": 2.5,
    "p99": 3.0
  },
  "process_time_ms": {
    "p50": 10.0,
    "p95": 21.0,
    "p99": 30.0
  },
  "rejected_by_reason": {
    "queue_full": 7
  },
  "failed_by_reason": {
    "upstream_timeout": 1,
    "upstream_broken": 11
  },
  "queue_by_priority": {
    "1": 0,
    "2": 1,
    "3": 4,
    "4": 0,
    "5": 0
  },
  "uptime_seconds": 56,
  "last_updated": "2026-11-28T09:30:00.007Z",
  "limits": {
    "workers": 50,
    "queue_size": 1001,
    "rate": 12.5,
    "burst": 29.0,
    "request_timeout_ms": 31000,
    "queue_timeout_ms": 32
  }
}
)";

TEST_CASE("what is told of a report is its numbers under their names, to the byte") {
  const HealthReport report = report_by_hand();
  CHECK(json_text(health_json(report, Asker::operator_of_it)) == told_to_operators);
  CHECK(json_text(health_json(report, Asker::stranger)) == told_to_strangers);
}

TEST_CASE("without a quota or another conf in the shadow, null is told of them") {
  HealthReport report = report_by_hand();
  report.quotas.reset();
  report.admission.shadow = {};
  const auto page = health_json(report, Asker::operator_of_it);
  CHECK(page.at("quotas").is_null());
  CHECK(page.at("shadow").is_null());
}

struct Nobody final : admission::Waiters {
  void on_granted(admission::Ticket, std::uint32_t, admission::Permit) override {}
  void on_shed(admission::Ticket, std::uint32_t, const admission::Rejection&) override {}
};

// What a report is made from: a worker, a line of four, two servers that are up.
struct Parts {
  explicit Parts(const conf::Settings& wanted = settings())
      : ids(wanted), log(std::move(*AccessLog::open(wanted.log))), shared(wanted, ids, *log, key) {
    policy.rules = std::make_shared<const Rules>(wanted, ids, 33, key);
    policy.servers =
        Servers::make(wanted.upstream.servers, nullptr, Servers::look_up(wanted.upstream));
    for (const std::size_t server : {0U, 1U})
      policy.servers->mark(server, Servers::State::reachable);
    shared.gate.attach(nobody);
  }
  static conf::Settings settings() {
    conf::Settings made;
    made.upstream.servers = {{"127.0.0.1", 9001, "127.0.0.1:9001"},
                             {"127.0.0.1", 9002, "127.0.0.1:9002"}};
    made.admission.workers = 1;
    made.admission.queue_size = 4;
    made.admission.queue_bytes = conf::KiB(27);
    made.admission.rate = 12.5;
    made.admission.burst = 29;
    made.admission.request_timeout = 31s;
    made.admission.queue_timeout = 32s;
    made.client.memory = conf::MiB(28);
    made.log.access = "off";
    return made;
  }
  admission::Gate::Answer ask() { return shared.gate.enter(admission::Arrival{.at = now}, now); }
  HealthReport report(Asker asker = Asker::operator_of_it) {
    return report_health(shared, policy, now, asker);
  }

  const HashKey key = make_hash_key();
  const admission::Ids ids;
  const std::unique_ptr<AccessLog> log;
  Shared shared;
  Policy policy;
  Nobody nobody;
  admission::Time now = shared.started + 56'500ms;
};

TEST_CASE("a report has what there is at one instant") {
  Parts parts;
  const auto works = parts.ask(), waits = parts.ask();
  parts.shared.gate.refuse(Reason::malformed, parts.now);
  parts.shared.streams = 34;
  parts.shared.connections = 53;
  parts.shared.connections_refused = 54;
  parts.shared.access_log.count_dropped_line();
  parts.policy.history.reloads = 57;
  parts.policy.servers->note_answer(1, 404, {}, parts.now);
  const auto before = std::chrono::system_clock::now();
  const HealthReport report = parts.report();
  CHECK(report.status == Status::ok);
  CHECK(report.can_serve());
  CHECK(report.admission.total == 3);
  CHECK(report.admission.active_workers == 1);
  CHECK(report.admission.waiting == 1);
  CHECK(report.admission.rejected[conf::index_of(Reason::malformed)] == 1);
  CHECK(report.admission.workers == 1);
  CHECK(report.admission.rate == 12.5);
  CHECK(report.limits.queue_size == 4);
  CHECK(report.limits.queue_bytes == conf::KiB(27).count);
  CHECK(report.limits.client_memory_bytes == conf::MiB(28).count);
  CHECK(report.limits.burst == 29);
  CHECK(report.limits.request_timeout == 31s);
  CHECK(report.limits.queue_timeout == 32s);
  CHECK(report.limits.connections == 33);
  CHECK(report.streams == 34);
  CHECK(report.client_memory_bytes == parts.shared.memory.used());
  CHECK(!report.quotas);
  REQUIRE(report.servers.size() == 2);
  CHECK(report.servers[1].name == "127.0.0.1:9002");
  CHECK(report.servers[1].state == ServerHealth::State::reachable);
  CHECK(report.servers[1].answers == std::array<std::uint64_t, 4>{0, 0, 1, 0});
  CHECK(report.connections == 53);
  CHECK(report.connections_refused == 54);
  CHECK(report.access_log_lines_dropped == 1);
  CHECK(report.uptime == 56s);
  CHECK(report.conf.reloads == 57);
  CHECK(!report.version.empty());
  CHECK(report.made >= before);
  CHECK(report.made <= std::chrono::system_clock::now());
}

TEST_CASE(
    "of what is true of a gateway the worst is told, and who sends requests is told to stop") {
  Parts parts;
  std::vector<admission::Gate::Answer> asked;
  const auto status = [&] { return parts.report().status; };
  const auto page_status = [&] {
    return make_health_page(parts.shared, parts.policy, parts.now, Asker::stranger).status;
  };
  for (int i = 0; i < 2; ++i) asked.push_back(parts.ask());
  CHECK(status() == Status::ok);
  parts.policy.servers->mark(1, Servers::State::unreachable);
  CHECK(status() == Status::degraded);
  asked.push_back(parts.ask());  // half the line is taken
  CHECK(status() == Status::overloaded);
  CHECK(page_status() == 200);
  parts.policy.servers->mark(0, Servers::State::unreachable);
  CHECK(status() == Status::down);
  CHECK(page_status() == 503);
  parts.shared.is_draining = true;
  CHECK(status() == Status::draining);
  CHECK(page_status() == 503);
  while (!asked.empty()) asked.pop_back();  // who waits goes before who works
}

TEST_CASE("for ten seconds after the line was too long for somebody it is an overload") {
  Parts parts;
  {
    std::vector<admission::Gate::Answer> asked;
    for (int i = 0; i < 6; ++i) asked.push_back(parts.ask());
    CHECK(std::holds_alternative<admission::Rejection>(asked.back()));
    while (!asked.empty()) asked.pop_back();
  }
  parts.now += 9'999ms;
  CHECK(parts.report().status == Status::overloaded);
  parts.now += 1ms;
  CHECK(parts.report().status == Status::ok);
}

TEST_CASE("of what is true of a server the worst is told") {
  using State = ServerHealth::State;
  Parts parts;
  const auto later = parts.now + 1s;
  Servers& servers = *parts.policy.servers;
  const auto state = [&](admission::Time at) { return state_of(servers, 0, at); };
  servers.mark(0, Servers::State::unknown);
  CHECK(state(parts.now) == State::unknown);
  servers.mark(0, Servers::State::reachable);
  CHECK(state(parts.now) == State::reachable);
  for (std::uint32_t i = 0; i < Servers::answers_in_window; ++i)
    servers.note_answer(0, 500, {.share = 0.5, .time = 1s}, parts.now);
  CHECK(state(parts.now) == State::ejected);
  CHECK(state(later) == State::failing);
  servers.mark(0, Servers::State::unreachable);
  CHECK(state(parts.now) == State::unreachable);
  const conf::Address name{"model.test", 9000, "model.test:9000"};
  const auto nameless =
      Servers::make({name}, nullptr, {{name, std::unexpected(std::string("no such name"))}});
  CHECK(state_of(*nameless, 0, parts.now) == State::without_address);
  for (const State well : {State::reachable, State::unknown}) CHECK(is_well(well));
  for (const State ill :
       {State::failing, State::ejected, State::unreachable, State::without_address})
    CHECK(!is_well(ill));
}

// They are a sum over all clients, and a stranger may ask as often as he likes.
TEST_CASE("quotas are added up for operators alone") {
  const QuotaFolder folder;
  conf::Settings settings = Parts::settings();
  settings.clients.quota_file = folder.file();
  conf::PlanSettings& free = settings.admission.fairness.plans.emplace_back();
  free.name = "free";
  free.quota = {.day = 3, .month_soft = 5};
  Parts parts(settings);
  auto opened = Quotas::open(settings.clients, parts.key, quota_names_of(settings, parts.key));
  REQUIRE_MESSAGE(opened, opened.error());
  parts.policy.quotas = *opened;
  const PlanQuota& plan = parts.policy.rules->quotas().front();
  for (int i = 0; i < 3; ++i) parts.policy.quotas->table().take(7, plan, 1, Quotas::now());
  CHECK(!parts.report(Asker::stranger).quotas);
  const auto quotas = parts.report().quotas;
  REQUIRE(quotas);
  CHECK(quotas->clients == 1);
  CHECK(quotas->clients_max == 100'000);
  CHECK(quotas->write_errors == 0);
  REQUIRE(quotas->plans.size() == 1);
  CHECK(quotas->plans[0].name == "free");
  const auto& [day, month] = quotas->plans[0].periods;
  CHECK(day.limit == 3);
  CHECK(month.limit == 0);
  CHECK(month.soft == 5);
}

}  // namespace
}  // namespace classgate::gateway::test
