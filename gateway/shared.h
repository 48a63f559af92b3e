#pragma once

#include <atomic>
#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <random>
#include <string>

#include "admission/gate.h"
#include "conf/format.h"
#include "gateway/access_log.h"
#include "gateway/client_counts.h"
#include "gateway/history/usage_journal.h"
#include "gateway/memory_budget.h"
#include "gateway/policy.h"
#include "gateway/recent_timeouts.h"
#include "gateway/sharing/board.h"

namespace classgate::gateway {

// What all loops share for good: one Gate, the access log, and a few counters. What a reload may
// change is in the Policy. Owned by the Server.
struct Shared {
  // `name`: of the process that we take over from; empty: a new one.
  Shared(const conf::Settings& settings, const admission::Ids& ids, AccessLog& log,
         const HashKey& key, std::string name = {})
      : via_name(name.empty() ? make_via_name() : std::move(name)),
        gate(settings.admission, ids),
        memory(settings.client.memory.count),
        access_log(log),
        started(std::chrono::steady_clock::now()),
        client_counts(key),
        recent_timeouts(key),
        usage(settings.history.keep ? settings.threads : 0) {}

  // Who we are in the Via of requests: nobody else has this name, so a request that has it has been
  // here. Clients are not told it. A process that takes over (upgrade) has the same: what the one
  // before it sent on may come round to it.
  const std::string via_name;
  admission::Gate gate;
  MemoryBudget memory;
  AccessLog& access_log;
  const std::chrono::steady_clock::time_point started;
  std::atomic<std::uint32_t> connections{0};
  std::atomic<std::uint64_t> connections_refused{0};
  std::atomic<std::uint64_t> client_connections_refused{0};  // for their address alone
  // Faults of our own that were contained, on any loop (note_exception()).
  std::atomic<std::uint64_t> invariants_broken{0};
  std::atomic<std::uint64_t> exceptions_contained{0};
  // What Loop::at_exception() is told: counts it, and says so in the log with its place.
  void note_exception(const std::exception& thrown);
  ClientCounts client_counts;
  RecentTimeouts recent_timeouts;
  SharingBoard sharing;                   // of workers that several gateways have together
  UsageJournals usage;                    // what the loops tell the history
  std::atomic<std::uint64_t> streams{0};  // answers that are one, now
  // The newest policy, which the loops adopt one by one: by its servers and limits, not by those
  // that some loop still has, workers are bounded.
  void follow(std::shared_ptr<const Policy> policy, admission::Time now);
  // A server of that policy is up again, or down. Any thread.
  void fit_workers_to_servers(admission::Time now);
  std::atomic<bool> is_draining{false};

 private:
  std::mutex fitting_;
  std::shared_ptr<const Policy> newest_;  // guarded by fitting_

  static std::string make_via_name() {
    std::random_device random;
    return fmt::format("classgate-{:08x}{:08x}", random(), random());
  }
};

}  // namespace classgate::gateway
