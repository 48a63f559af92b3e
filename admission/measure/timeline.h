#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "admission/measure/spread.h"
#include "conf/reason.h"
#include "conf/settings.h"

namespace classgate::measure {

// What happened when, in steps of equal length. Begins with steps of a second; when there are too
// many, two become one, so that a day takes no more memory than a minute.
class Timeline {
 public:
  static constexpr std::size_t steps_max = 480;
  using ByPriority = std::array<std::uint64_t, conf::priority_count>;

  struct Step {
    ByPriority arrived{};
    ByPriority served{};
    std::array<std::uint64_t, conf::reason_count> rejected{};
    std::uint64_t failed = 0;
    std::uint64_t abandoned = 0;
    Spread waits;
    std::array<double, conf::priority_count> waiting_seconds{};  // of all waiters together
    double active_seconds = 0;                                   // of all workers together

    void add(const Step& other);
  };

  Step& at(Time now);
  void record_wait(Duration waited, Time now);
  void waiting_changed(int priority, int by, Time now);
  void active_changed(int by, Time now);
  // Counts what waits and works up to `now`, which is the end: before reading.
  void settle(Time now);

  Duration step_length() const { return length_; }
  // Of a step, what lies before the end: the last one is hardly ever whole.
  Duration covered(std::size_t index) const;
  Duration end() const { return end_; }
  const std::vector<Step>& steps() const { return steps_; }

 private:
  // A number that changes, and since when it is what it is.
  struct Level {
    std::int64_t value = 0;
    Time since{};
  };
  template <typename Field>
  void spread(Level& level, Time now, Field field);
  std::size_t index_of(Time now);

  Duration length_ = std::chrono::seconds(1);
  Duration end_{};
  std::vector<Step> steps_;
  std::array<Level, conf::priority_count> waiting_;
  Level active_;
};

}  // namespace classgate::measure
