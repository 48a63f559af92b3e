#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace classgate::conf {

// A calendar period of some place: when it begins and ends, and a number that it alone has there:
// days or months since January 1970.
struct CalendarPeriod {
  std::int64_t number = 0;
  std::chrono::sys_seconds begin;
  std::chrono::sys_seconds end;  // not in it any more
  bool contains(std::chrono::sys_seconds time) const { return time >= begin && time < end; }
};

// The clock of a place, from the system's time zones (IANA names; TZif files, RFC 9636). A day or
// month begins when that clock first shows its date: where it is put forward over midnight, at the
// hour that it shows then; where it is put back over midnight, the first time. So periods follow
// one another without a gap, and none comes twice. Immutable: any thread.
class TimeZone {
 public:
  static constexpr std::string_view folder = "/usr/share/zoneinfo";
  // "UTC" needs no file. The error says what to write. Waits for the disk.
  static std::expected<std::shared_ptr<const TimeZone>, std::string> load(const std::string& name);
  // What such a file holds.
  static std::expected<TimeZone, std::string> read(std::string_view file);
  TimeZone() = default;  // UTC

  std::chrono::seconds offset_at(std::chrono::sys_seconds time) const;  // east of UTC
  CalendarPeriod day_of(std::chrono::sys_seconds time) const;
  CalendarPeriod month_of(std::chrono::sys_seconds time) const;
  // "2026-11-28T00:00:00+01:00" (RFC 3339).
  std::string text_of(std::chrono::sys_seconds time) const;

 private:
  struct Change {
    std::chrono::sys_seconds at;
    std::chrono::seconds offset;  // from then on
  };
  static bool read_footer(std::string_view text, TimeZone& into);
  std::chrono::sys_seconds begin_of(std::chrono::sys_days date) const;

  std::chrono::seconds first_offset_{};  // before all changes
  std::vector<Change> changes_;          // in order
};

}  // namespace classgate::conf
