#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "conf/time_zone.h"
#include "conf/usage_options.h"
#include "gateway/history/usage_query.h"

namespace classgate::gateway {

// What `classgate usage` has found, before it is written in some form.
struct UsageReport {
  std::string file = {};
  conf::UsageOptions options = {};
  std::shared_ptr<const conf::TimeZone> zone = {};
  std::int64_t since = 0;  // what is told, Unix time
  std::int64_t until = 0;
  UsageTable table = {};
  // Of one client: its rows, and their sum.
  history::UsageLevel level = history::UsageLevel::hour;
  std::vector<history::UsageRow> rows = {};
  history::UsageRow sum = {};
  std::vector<history::SessionRow> sessions = {};
  std::vector<UsersAnswer> users = {};  // by the level

  std::string time(std::int64_t at) const;        // RFC 3339; "" of 0
  std::string clock_time(std::int64_t at) const;  // "2026-11-28 09:30"; "-" of 0
};

// Texts of others, as names of clients, are made printable in each of them.
std::string usage_text(const UsageReport& report);
// RFC 4180. A cell that a spreadsheet would take for a formula has a ' in front.
std::string usage_csv(const UsageReport& report);
std::string usage_json(const UsageReport& report);

}  // namespace classgate::gateway
