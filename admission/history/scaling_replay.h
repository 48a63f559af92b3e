#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <vector>

#include "admission/history/forecast_past.h"
#include "conf/forecast_options.h"
#include "conf/time_zone.h"

namespace classgate::history {

// A load over time. What happens inside a step nobody measured: it goes in a straight line from the
// middle of a step to the middle of the next. Held values would jump at each border of steps, by
// what the load in truth takes minutes for, and every rule would be measured by those jumps. Over
// missing steps the line goes on.
struct LoadCurve {
  std::chrono::seconds step{60};  // 1 min to 1 h
  Slot first_slot = 0;
  std::vector<double> values;  // 0 or more; NaN: missing

  double at(std::chrono::seconds since_begin) const;
  std::chrono::seconds length() const { return step * static_cast<Slot>(values.size()); }
  bool is_known(std::chrono::seconds since_begin) const;
};

struct ScalingSettings {
  double per_server = 1;                         // the load that one takes, > 0
  std::chrono::seconds start_delay{60};          // 1 s to 1 h
  std::shared_ptr<const conf::TimeZone> zone{};  // of the forecast; null: UTC
};

// Over the second half of a load, in its units times minutes.
struct ScalingResult {
  double load = 0;     // what came
  double unmet = 0;    // came, and was more than the servers that served take
  double running = 0;  // what the running servers could take, also while they start
  int most = 0;        // servers at once
  std::size_t started = 0;
};

// Servers that were wished for: each serves `start_delay` later, and goes at once when it is not
// wanted any more, those first that are still starting. One thread.
class Servers {
 public:
  explicit Servers(std::chrono::seconds start_delay) : start_delay_(start_delay) {}
  void begin_with(int ready) { ready_ = ready; }
  // Returns how many were started.
  int want(std::chrono::seconds now, int wanted);
  int ready() const { return ready_; }
  int running() const { return ready_ + starting_; }

 private:
  struct Batch {
    std::chrono::seconds ready_at;
    int servers;
  };
  std::chrono::seconds start_delay_;
  std::deque<Batch> batches_;  // in the order of their time
  int ready_ = 0;
  int starting_ = 0;
};

// Replays a load under a rule, second by second. It begins with as many as the first second needs.
// The forecast learns of minutes that are over, as in a gateway, and on the same line as the other
// rules: where steps are longer than a minute, minutes are smoother than real ones, which flatters
// it.
ScalingResult replay_scaling(const LoadCurve& load, conf::ScalingRule rule,
                             const ScalingSettings& settings);

}  // namespace classgate::history
