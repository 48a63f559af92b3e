#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "admission/history/usage_row.h"

namespace classgate::gateway {

enum class UsageBy : std::uint8_t { client, plan, route, reason, status, priority };
inline constexpr std::array<std::string_view, 6> usage_by_words{"client", "plan",   "route",
                                                                "reason", "status", "priority"};
constexpr std::string_view word_of(UsageBy by) {
  return usage_by_words[static_cast<std::size_t>(by)];
}
// By what the lines of a table are ordered, the most first.
enum class UsageOrder : std::uint8_t { requests, cost, refused };

struct UsageQuestion {
  UsageBy by = UsageBy::client;
  std::int64_t since = 0;  // Unix time
  std::int64_t until = 0;  // likewise; what began before it is told
  std::size_t top = 20;
  UsageOrder order = UsageOrder::requests;
};

// The sums over a time. Each is told by the coarsest rows that fit into it, whose edges are finer
// ones while there are any: `since` and `until` are what is really told, to the level of its rows.
struct UsageTable {
  std::int64_t since = 0;
  std::int64_t until = 0;
  history::UsageRow all = {};
  std::vector<history::UsageRow> lines = {};  // the top ones; by reason: the word, and `requests`
  history::UsageRow others = {};              // the sum of all the rest; key usage_others
  std::size_t keys_left = 0;                  // how many have no line of their own
};

struct UsersAnswer {
  std::int64_t start = 0;
  double distinct = 0;  // within 3 %
  std::uint64_t active_peak = 0;
  std::uint64_t begun = 0;
  std::uint64_t ended = 0;
  std::uint64_t newcomers = 0;
  std::uint64_t returning = 0;
};

}  // namespace classgate::gateway
