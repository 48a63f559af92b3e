#pragma once

#include <expected>
#include <string>

#include "gateway/planning/scenario.h"

namespace classgate::planning {

// What an operator wants to hold: "wait p95 <= 100ms for priority 3", "refused <= 1%",
// "answer p99 <= 2s for class people".
struct Target {
  enum class What : std::uint8_t { wait, answer, refused, failed, left };
  What what = What::wait;
  double share = 0.95;  // of wait and answer: the percentile; 1: the greatest; 0: the mean
  double most = 0;      // milliseconds, or a share of the requests, 0 to 1
  int priority = 0;     // 0: of all
  std::string group;    // a class or route; empty: of all
  std::string text;

  double measure(const Result& result) const;
  bool is_met(const Result& result) const { return measure(result) <= most; }
  bool is_a_time() const { return what == What::wait || what == What::answer; }
  // "140 ms" or "3.10 %"
  std::string print(double value) const;
};

std::expected<Target, std::string> parse_target(const std::string& text);

}  // namespace classgate::planning
