#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "admission/time.h"

namespace classgate::planning {

using admission::Duration;
using admission::Time;

// What a simulation needs of a line in the access log (gateway/access_line.h). The views point into
// the line, or into `unquoted` of the reader. A line may stand for many refusals.
struct AccessEntry {
  // Whatever a line says, it is in these ranges, so that what is added up later does not overflow.
  static constexpr Duration duration_max = std::chrono::hours(366 * 24);
  static constexpr std::uint64_t bytes_max = 1ULL << 50;
  static constexpr std::uint64_t rolled_up_max = 100'000;
  static constexpr Duration span_max = std::chrono::hours(1);  // of those
  static constexpr std::int64_t year_first = 1970;
  static constexpr std::int64_t year_last = 2199;

  std::int64_t time_ns = 0;  // end of the request, since 1970
  std::string_view client;   // its id, or its address where there is none
  std::string_view path;
  std::string_view verdict;
  std::string_view reason;
  int priority = 0;
  Duration deadline{};
  Duration upload{};
  Duration upstream{};
  Duration total{};
  std::uint64_t bytes_in = 0;
  std::uint64_t rolled_up = 0;  // refusals from since_ns to time_ns; 0: one request
  std::int64_t since_ns = 0;
  bool is_rolled_up() const { return rolled_up > 0; }
};

// Reads lines of both formats, text and JSON. A day of 100 requests a second is three gigabytes:
// this looks at each byte about once and allocates nothing.
class AccessReader {
 public:
  // Or what is wrong with the line.
  std::expected<AccessEntry, std::string> read(std::string_view line);

 private:
  bool take(AccessEntry& entry, std::string_view key, std::string_view value);
  bool take_time(std::string_view text, std::int64_t& into);
  std::string_view unquote(std::string_view text);

  std::string unquoted_;
  std::string_view address_;  // of the line
  std::string last_date_;     // "2026-11-24T09:30", and its minute: most lines share it
  std::int64_t last_minute_ns_ = 0;
  unsigned seen_ = 0;  // the fields that every line must have
};

}  // namespace classgate::planning
