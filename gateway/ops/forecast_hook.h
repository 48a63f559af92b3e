#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "admission/history/demand_forecast.h"
#include "gateway/ops/errand.h"
#include "gateway/server.h"

namespace classgate::gateway {

// One run of a program.
struct HookRun {
  std::string program;                   // a path; no shell reads it, and it has no arguments
  std::vector<std::string> environment;  // "NAME=VALUE", all that it has
  std::string input;                     // on its standard input
  std::chrono::milliseconds timeout{};   // then it is killed, with its process group
};
// Who may end it from another thread.
class HookProcess {
 public:
  void began(pid_t pid);
  // It has ended, and its number may soon be another's.
  void is_over();
  void kill();

 private:
  std::mutex mutex_;
  pid_t pid_ = 0;
};
// Waits until it has ended. Empty: with status 0; else what was wrong, with what it said last on
// its standard error. Throws nothing but std::bad_alloc. A thread that may wait.
std::string run_hook(const HookRun& run, HookProcess& process);

// Runs forecast.hook when another number of servers is needed than it was told of: one at a time,
// on a thread of its own, in the environment of this process but for what is only ours. What fails
// is tried again the next minute; it is said when it begins to fail, and when it works again. On
// the supervisor's loop.
class ForecastHook {
 public:
  ForecastHook(proxy::net::Loop& loop, const Server& server);
  ~ForecastHook() { process_->kill(); }

  // There is a new report.
  void follow(const history::DemandReport& report);

 private:
  void on_end(const std::string& problem);

  const Server& server_;
  std::optional<std::uint32_t> told_;  // servers, by a run that went well
  std::uint32_t telling_ = 0;
  std::string problem_;  // of the last run
  std::shared_ptr<HookProcess> process_ = std::make_shared<HookProcess>();
  Errand<std::string> errand_;
};

}  // namespace classgate::gateway
