#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <expected>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "admission/history/forecast_past.h"
#include "admission/history/plan_demand.h"
#include "conf/settings.h"

namespace classgate::history {

// What was asked for in some time, by priority, in units of cost: arrivals with the refused ones,
// without their retries. float: exact up to 16 million a minute.
using Asked = std::array<float, conf::priority_count>;
double sum(const Asked& asked);

// A minute, or what has been counted of one so far.
struct DemandMinute {
  Slot minute = 0;  // since 1970
  Asked asked{};
  float seconds = 60;  // of it that were counted
  PlanAsked plans{};   // the same cost, by plan
};

// Two weeks of demand, minute by minute. Takes memory day by day: 28,800 bytes each, 432,000 in
// all. One thread.
class DemandRecord {
 public:
  static constexpr Slot day = 1'440;  // minutes
  static constexpr Slot kept = 14 * day;

  // Later than all before, else it is left out; those between are not known. False: left out.
  bool add(Slot minute, const Asked& asked);
  // None: not known.
  std::optional<Asked> at(Slot minute) const;
  bool is_empty() const { return known_ == 0; }
  Slot first() const { return first_; }  // of those that are kept
  Slot last() const { return last_; }
  std::size_t known() const { return known_; }  // minutes
  std::size_t bytes() const { return days_.size() * sizeof(Day); }

 private:
  static constexpr float unknown = std::numeric_limits<float>::quiet_NaN();
  struct Day {
    Day();
    std::array<Asked, day> minutes;  // the first of them is NaN: not known
  };
  void forget_before(Slot minute);

  std::map<Slot, std::unique_ptr<Day>> days_;
  Slot first_ = 0;
  Slot last_ = 0;
  std::size_t known_ = 0;
};

// Makes minutes of what counters stand at when they are read at the turn of each. A minute of which
// less than 50 s were counted is not known (a process that has just started, a machine that slept);
// what is missing of the others is taken to be as the rest. One thread.
class MinuteSampler {
 public:
  // Of counters that begin at 0 and only grow, in units of cost.
  struct Totals {
    std::array<double, conf::priority_count> by_priority{};
    std::map<std::string, double, std::less<>> by_plan{};
  };
  using Time = std::chrono::sys_time<std::chrono::milliseconds>;

  // Counting begins, or begins anew.
  void begin(const Totals& totals, Time now);
  // A part of that minute which another process has counted: the one before this.
  void add_part(const DemandMinute& part);
  // The minute that has just ended; none: it is not known.
  std::optional<DemandMinute> read(const Totals& totals, Time now);
  // Of the minute that has begun, what has been counted so far; changes nothing.
  DemandMinute so_far(const Totals& totals, Time now) const;

 private:
  static constexpr float seconds_least = 50;
  static constexpr float seconds_most = 70;  // of one reading to the next
  Totals totals_{};
  Time since_{};
  DemandMinute part_{};  // `seconds` 0: none
};

// The record as text: a header, then for each known minute "seconds since 1970, in all, by
// priority, seconds counted, by plan"; the last may be a part. The header has the names of plans,
// as plan_NAME, where bytes that would part columns stand as %HH; without plans there are no such
// columns. `classgate forecast --series` reads it.
inline constexpr std::size_t demand_text_max = std::size_t{6} << 20;  // bytes
std::string demand_text(const DemandRecord& record, const PlanRecord& plans,
                        const std::optional<DemandMinute>& part);

struct DemandRead {
  DemandRecord record;
  PlanRecord plans;
  std::optional<DemandMinute> part;
  std::size_t later = 0;  // minutes that were not taken, as they are still to come
};
// The error says what is wrong, and in which line: then nothing is taken. `now`: the minute that
// runs.
std::expected<DemandRead, std::string> read_demand_text(
    std::string_view text, Slot now = std::numeric_limits<Slot>::max());

}  // namespace classgate::history
