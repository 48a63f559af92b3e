#pragma once

#include <expected>
#include <string>

#include "gateway/planning/scenario.h"

namespace classgate::planning {

// What an operator wants to hold: "wait p95 <= 100ms for priority 3", "refused <= 1%",
// "answer p99 <= 2s for class people", "served >= 90%". Served is the share of those on which the
// service did not break off itself: no limit mends that.
struct Target {
  enum class What : std::uint8_t { wait, answer, served, refused, failed, left };
  What what = What::wait;
  double share = 0.95;  // of wait and answer: the percentile; 1: the greatest; 0: the mean
  double most = 0;      // milliseconds, or a share of the requests, 0 to 1; of served: not served
  int priority = 0;     // 0: of all
  std::string group_kind;  // "class" or "route"; empty: of all
  std::string group;
  std::string text;

  bool is_of_times() const { return what == What::wait || what == What::answer; }
  bool is_of_all() const { return priority == 0 && group_kind.empty(); }
  // Infinite where there is nothing to measure: without samples no target is met.
  double measure(const Result& result) const;
  // "140 ms" or "3.10 %"
  std::string print(double value) const;
};

// The error names the column.
std::expected<Target, std::string> parse_target(const std::string& text);

}  // namespace classgate::planning
