#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "admission/history/distinct_count.h"
#include "admission/history/quantile_sketch.h"

namespace classgate::history {

// How long the time is that a row tells of, in seconds.
enum class UsageLevel : std::uint32_t { second = 1, minute = 60, hour = 3600, day = 86'400 };
inline constexpr std::array usage_levels{UsageLevel::second, UsageLevel::minute, UsageLevel::hour,
                                         UsageLevel::day};
constexpr std::int64_t seconds_of(UsageLevel level) { return static_cast<std::int64_t>(level); }
// Unix time. Days are those of UTC.
constexpr std::int64_t start_of(UsageLevel level, std::int64_t at) {
  const std::int64_t rest = at % seconds_of(level);
  return at - rest - (rest < 0 ? seconds_of(level) : 0);
}

// Of what a row is the sum. Each request is in one row of each kind, so the rows of one kind add up
// to that of `all`.
enum class UsageKind : std::uint8_t { all, client, plan, route, priority, status };
inline constexpr std::array<std::string_view, 6> usage_kind_words{"all",   "client",   "plan",
                                                                  "route", "priority", "status"};
constexpr std::string_view word_of(UsageKind kind) {
  return usage_kind_words[static_cast<std::size_t>(kind)];
}

// The key of the row in which those of a kind are that have none of their own.
inline constexpr std::string_view usage_others = "(others)";

// Who failed, of requests that were let in and not served.
enum class FailedBy : std::uint8_t {
  status,       // the service answered, with 500 or more
  service,      // it was too slow, or broke off
  unreachable,  // nobody was there
  gateway,      // ourselves
};
inline constexpr std::array<std::string_view, 4> failed_by_words{"status", "service", "unreachable",
                                                                 "gateway"};
constexpr std::string_view word_of(FailedBy by) {
  return failed_by_words[static_cast<std::size_t>(by)];
}

// What was counted of one kind and key within one second, minute, hour or day. Plain; it adds up:
//   requests = served + failed + refused + abandoned.
struct UsageRow {
  UsageLevel level = UsageLevel::minute;
  UsageKind kind = UsageKind::all;
  std::int64_t start = 0;  // Unix time, a multiple of the level
  std::string key = {};    // "" of all; "c_4f7a91c2", a plan's or route's name, "3", "429"

  std::uint64_t requests = 0;
  std::uint64_t cost = 0;  // items of those that were let in
  std::uint64_t served = 0;
  std::uint64_t refused = 0;
  std::uint64_t failed = 0;
  std::uint64_t abandoned = 0;  // the client left first
  std::uint64_t bytes_in = 0;   // of bodies
  std::uint64_t bytes_out = 0;  // likewise
  QuantileSketch wait = {};     // for a worker, microseconds
  QuantileSketch service = {};  // at the service, microseconds
  std::int64_t first_seen = 0;  // Unix time; 0: nobody was
  std::int64_t last_seen = 0;   // likewise
  // Why they were refused, or failed: conf::index_of() the reason, how many; by number, none twice.
  std::vector<std::pair<std::uint8_t, std::uint64_t>> reasons = {};
  std::array<std::uint64_t, failed_by_words.size()> failed_by{};

  void add_reason(std::uint8_t reason, std::uint64_t times = 1) {
    const auto place = std::ranges::lower_bound(reasons, reason, {},
                                                &std::pair<std::uint8_t, std::uint64_t>::first);
    if (place != reasons.end() && place->first == reason)
      place->second += times;
    else
      reasons.insert(place, {reason, times});
  }
  // What the other has, too; level, kind, start and key stay as they are.
  void add(const UsageRow& other) {
    requests += other.requests;
    cost += other.cost;
    served += other.served;
    refused += other.refused;
    failed += other.failed;
    abandoned += other.abandoned;
    bytes_in += other.bytes_in;
    bytes_out += other.bytes_out;
    wait.add(other.wait);
    service.add(other.service);
    if (first_seen == 0 || (other.first_seen != 0 && other.first_seen < first_seen))
      first_seen = other.first_seen;
    last_seen = std::max(last_seen, other.last_seen);
    for (const auto& [reason, times] : other.reasons) add_reason(reason, times);
    for (std::size_t i = 0; i < failed_by.size(); ++i) failed_by[i] += other.failed_by[i];
  }
};

// Who was there within one minute, hour or day.
struct UsersRow {
  UsageLevel level = UsageLevel::hour;
  std::int64_t start = 0;
  DistinctCount distinct = {};
  std::uint64_t active_peak = 0;  // sessions that were open at once, at most
  std::uint64_t begun = 0;        // sessions
  std::uint64_t ended = 0;        // likewise
  std::uint64_t newcomers = 0;    // sessions of clients that were not known before
  std::uint64_t returning = 0;    // sessions of clients that were
};

// One client's activity without a gap.
struct SessionRow {
  std::string client = {};
  std::int64_t begun = 0;  // Unix time
  std::int64_t last = 0;   // likewise, of its last request so far
  std::uint64_t requests = 0;
  bool has_ended = false;
};

}  // namespace classgate::history
