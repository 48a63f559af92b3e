#pragma once

#include <cstdint>
#include <expected>
#include <string>

namespace classgate::conf {

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
};

// The error names the column, and says how targets are written.
std::expected<Target, std::string> parse_target(const std::string& text);
// Of one of which a forecast can tell: wait or answer, p50 to p99 or the mean, of all or of a
// priority.
std::expected<Target, std::string> parse_time_target(const std::string& text);

}  // namespace classgate::conf
