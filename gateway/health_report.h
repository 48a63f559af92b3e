#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admission/books.h"
#include "conf/settings.h"
#include "gateway/clients/quota_table.h"
#include "gateway/policy.h"
#include "gateway/shared.h"

namespace classgate::gateway {

// Who asks. A stranger (where clients are accepted) sees how it goes: the state, the books, waits,
// the limits that concern a request. Addresses, version, conf, errors and clients are operators'.
enum class Asker : std::uint8_t { stranger, operator_of_it };

// One server of the upstream.
struct ServerHealth {
  enum class State : std::uint8_t {
    reachable,
    unknown,
    failing,
    ejected,
    unreachable,
    without_address
  };
  static constexpr std::array<std::string_view, 6> state_words{
      "reachable", "unknown", "failing", "ejected", "unreachable", "not known"};

  std::string name;
  State state = State::unknown;
  std::string why_no_address;  // one line; of one without an address
  std::array<std::uint64_t, proxy::Servers::class_count> answers{};  // by status class
};
constexpr std::string_view word_of(ServerHealth::State state) {
  return ServerHealth::state_words[static_cast<std::size_t>(state)];
}
// As far as anybody can tell, it serves.
constexpr bool is_well(ServerHealth::State state) {
  return state == ServerHealth::State::reachable || state == ServerHealth::State::unknown;
}
// The worst that is true of it.
ServerHealth::State state_of(const proxy::Servers& servers, std::size_t server,
                             admission::Time now);

// The quotas of all clients together.
struct QuotaHealth {
  struct Period {
    std::int64_t limit = 0;   // of each client, in the unit of the plan; 0: none
    std::int64_t soft = 0;    // likewise; 0: it does not warn
    std::size_t clients = 0;  // who have had anything
    std::size_t used_up = 0;  // of these: have nothing left
    std::int64_t used = 0;    // by all of them, in the unit of the plan
  };
  struct Plan {
    std::string name;
    conf::QuotaUnit unit = conf::QuotaUnit::requests;
    std::array<Period, quota_periods.size()> periods{};  // by index_of(QuotaPeriod)
  };
  std::vector<Plan> plans;
  std::size_t clients = 0;
  std::size_t clients_max = 0;
  std::uint64_t requests_not_remembered = 0;
  std::uint64_t write_errors = 0;
  std::chrono::seconds unwritten{};  // since all that was counted was in the file
};

// How the gateway is, at one instant. A value: whoever tells of it (health_json.h, ops/metrics.h)
// reads it here, and nothing else.
struct HealthReport {
  // The worst that is true.
  enum class Status : std::uint8_t { ok, degraded, overloaded, down, draining };
  // Those that `admission` does not have.
  struct Limits {
    std::uint32_t queue_size = 0;
    std::uint64_t queue_bytes = 0;
    std::uint64_t client_memory_bytes = 0;
    double burst = 0;
    std::chrono::milliseconds request_timeout{};
    std::chrono::milliseconds queue_timeout{};
    std::uint32_t connections = 0;
  };

  // Whoever sends requests here should go on.
  bool can_serve() const { return status != Status::draining && status != Status::down; }

  Status status = Status::ok;
  admission::Snapshot admission;  // its books balance
  Limits limits;
  std::uint64_t streams = 0;  // answers that are one
  std::uint64_t client_memory_bytes = 0;
  std::optional<QuotaHealth> quotas{};  // none where no conf so far had any
  std::vector<ServerHealth> servers{};
  SharingHealth sharing{};
  std::uint32_t connections = 0;
  std::uint64_t connections_refused = 0;
  std::uint64_t access_log_lines_dropped = 0;
  std::chrono::seconds uptime{};
  ConfHistory conf{};
  std::string_view version{};
  std::chrono::system_clock::time_point made{};
};
std::string_view word_of(HealthReport::Status status);

// Any thread. A stranger's is without what he is not told anyway and takes the longest to find: the
// quotas, a sum over all clients.
HealthReport report_health(const Shared& shared, const Policy& policy, admission::Time now,
                           Asker asker);

}  // namespace classgate::gateway
