#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "conf/planning_options.h"
#include "conf/time_zone.h"

namespace classgate::conf {

// A time as an operator writes it: "24h" ago (units s, m, h, d, w, and y of 365 days), or a date,
// as "2026-11-28", or a date and a time, as "2026-11-28 09:30" and "2026-11-28T09:30:00".
struct UsageTime {
  bool is_ago = true;
  std::chrono::seconds span{};  // since then; or the clock's time then, since January 1970
  // Unix time, where a clock shows what `zone` says. A time that it never shows is the one before.
  std::int64_t at(std::int64_t now, const TimeZone& zone) const;
};
std::optional<UsageTime> read_usage_time(std::string_view text);

// What `classgate usage` is asked.
struct UsageOptions {
  enum class Question : std::uint8_t { table, client, sessions };
  enum class Form : std::uint8_t { text, json, csv };
  Question question = Question::table;
  Form form = Form::text;
  std::string by = "client";       // or plan, route, reason, status, priority
  std::string order = "requests";  // or cost, refused
  std::string client = {};         // its own day, or its sessions
  UsageTime since{.is_ago = true, .span = std::chrono::hours(24)};
  UsageTime until{};  // now
  std::uint32_t top = 20;
  std::string time_zone = "UTC";
  std::string file = {};  // empty: where the conf says
};
inline constexpr std::uint32_t usage_top_max = 100'000;

// The error names the option and says what it takes.
std::expected<UsageOptions, std::string> read_usage(const GivenOptions& given);

}  // namespace classgate::conf
