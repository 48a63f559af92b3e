#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "admission/history/demand_forecast.h"
#include "gateway/ops/demand_file.h"
#include "gateway/ops/errand.h"
#include "gateway/server.h"
#include "proxy/net/timer.h"

namespace classgate::gateway {

// Demand by the minute and what is forecast of it, of the running gateway. The loops add to
// counters (LoopMetrics::demand); at the turn of each minute these are read here, and all the rest
// is an errand on a thread that ends with it: some tenths of a millisecond. So an idle gateway
// wakes once a minute, and has no thread for it.
//
// The file (forecast.file) is read at the beginning, written every five minutes and at the end,
// with the part of the minute that has been counted. Of two processes of an upgrade the old one
// counts no more when it has handed over, and writes then; the new one looks at the file once more
// five seconds after it has begun, and takes what it does not know. On the supervisor's loop.
class LiveForecast {
 public:
  // Told each minute that there is a new report.
  using OnReport = std::function<void(const history::DemandReport&)>;
  LiveForecast(proxy::net::Loop& loop, Server& server, OnReport on_report);
  ~LiveForecast();  // waits for what end() writes, two seconds at most

  void begin();
  void end();  // begin() may follow
  // The last minute's; null: there is none (yet).
  std::shared_ptr<const history::DemandReport> report() const { return report_; }

 private:
  // What only the errand touches while it is under way.
  struct Mind;
  struct Job;
  struct Outcome {
    std::shared_ptr<const history::DemandReport> report;
    std::optional<history::DemandMinute> part;  // that another process has counted
    DemandFileStamp stamp;                      // of the file that was read
    std::string problem;                        // with the file, for an operator
    std::size_t taken = 0;                      // minutes that are known by it
    bool has_written = false;
    std::string missed_at;  // that time, by the clock of clients.time_zone
  };
  struct Readings {
    history::MinuteSampler::Totals asked{};
    history::WorkDonePerPriority done{};
  };
  static Outcome work(const Job& job);
  void tick();
  void look_again();
  void start(bool reads, bool writes);
  void on_outcome(Outcome outcome);
  void tell(const history::DemandReport& report, const std::string& missed_at);
  void start_timer();
  Readings read_counters() const;
  history::DemandQuestion question() const;
  static history::MinuteSampler::Time now();

  static constexpr std::size_t waiting_max = 60;  // minutes, while an errand is under way
  static constexpr int minutes_between_writes = 5;
  Server& server_;
  const std::string path_;  // empty: off
  const OnReport on_report_;
  std::shared_ptr<std::unique_ptr<Mind>> mind_;  // null: nothing has been counted
  std::shared_ptr<const history::DemandReport> report_;
  history::MinuteSampler sampler_;
  history::WorkDonePerPriority done_{};  // when it was last read
  std::vector<history::DemandMinute> minutes_;
  history::WorkDonePerPriority ended_{};  // since the last errand
  DemandFileStamp stamp_;
  int minutes_to_write_ = minutes_between_writes;
  bool is_counting_ = false;
  bool writes_at_last_ = false;
  std::string problem_;                                  // that was said
  std::optional<std::chrono::sys_seconds> missed_told_;  // when it was said that a target is missed
  std::shared_ptr<std::atomic<bool>> is_writing_ = std::make_shared<std::atomic<bool>>(false);
  proxy::net::Timer minute_;
  proxy::net::Timer again_;
  Errand<Outcome> errand_;
};

}  // namespace classgate::gateway
