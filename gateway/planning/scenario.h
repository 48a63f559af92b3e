#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "admission/simulation/simulation.h"
#include "conf/command_line.h"
#include "gateway/planning/log_format.h"
#include "gateway/planning/named_traffic.h"
#include "gateway/planning/scale.h"

namespace classgate::planning {

// What is asked: a log or a workload, and the upstream behind it. The same for every conf under
// which it is run; may be shared by threads.
class Scenario {
 public:
  // Reads what the command line names. Errors are ready to be printed, one a line.
  static std::expected<Scenario, std::string> open(const conf::PlanningOptions& options);

  // With `knows_clients` who the clients of a workload are to this conf is looked up, by their keys
  // (workload_clients.h), as the gateway would: for those who ask no gateway.
  std::expected<std::unique_ptr<NamedTraffic>, std::string> traffic(
      const conf::Settings& settings, bool knows_clients = false) const;
  const conf::UpstreamModel& upstream() const { return upstream_; }
  void set_servers(std::uint32_t servers);
  void set_capacity(std::uint32_t capacity);
  // So many times the traffic, besides --scale. Empty, or why that can't be.
  std::string multiply(double times);
  // Of a log only what arrives in [from, to).
  void take_part(Duration from, Duration to);
  // Of a workload another course of chance.
  void set_seed(std::uint64_t seed);
  std::uint64_t seed() const { return seed_; }
  const conf::Workload* workload() const { return workload_ ? &*workload_ : nullptr; }
  std::string describe() const;
  std::string describe_upstream() const;

 private:
  std::optional<conf::Workload> workload_;
  std::shared_ptr<const LogFile> log_;
  const LogFormat* format_ = nullptr;  // of log_
  bool keeps_going_ = false;
  std::uint64_t seed_ = 1;
  Scale scale_;  // of log_: a workload is scaled itself
  Duration from_{};
  Duration to_ = Duration::max();
  std::string upstream_text_;  // as given; empty: the workload's, or as recorded
  conf::UpstreamModel upstream_;
};

// One run under one conf.
struct Result {
  conf::Settings settings;
  std::string conf;                       // what it is called
  std::unique_ptr<NamedTraffic> traffic;  // for the names
  simulation::Tally tally;
  simulation::Time end{};
  std::uint64_t events = 0;
  // What may be in the service at once: admission.workers, or fewer where its servers take fewer.
  std::uint32_t workers = 0;

  // From the first to the last arrival: what rates are told over.
  double seconds() const;
  double goodput(const simulation::Counts& counts) const;
  double worker_share() const;  // of the time of these `workers` that was used
};

// Told now and then with the share that is done, 0 to 1.
using OnProgress = std::function<void(double)>;
// Puts something around the traffic, to see what passes.
using Wrap = std::function<std::unique_ptr<NamedTraffic>(std::unique_ptr<NamedTraffic>)>;

std::expected<Result, std::string> run(const Scenario& scenario, const conf::Settings& settings,
                                       const std::string& conf_name,
                                       const OnProgress& on_progress = {}, const Wrap& wrap = {});

}  // namespace classgate::planning
