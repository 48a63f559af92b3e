#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "gateway/planning/access_entry.h"

// What stands in the lines of others' logs: times, numbers, requests. Values are within the ranges
// of AccessEntry, or none.
namespace classgate::planning {

// Takes one thing after the other from the beginning of a line.
class Cursor {
 public:
  explicit Cursor(std::string_view line) : rest_(line) {}

  bool skip(std::string_view text);
  // Up to the next space, which goes too; empty at the end.
  std::string_view word();
  std::optional<std::string_view> between(char open, char close);
  // In double quotes, escapes as written.
  std::optional<std::string_view> quoted();
  void skip_spaces();
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};

std::optional<std::uint64_t> number_of(std::string_view text, std::uint64_t most);
// "0.123" in units of `unit`; what nobody wrote ("-") is none.
std::optional<Duration> duration_of(std::string_view text, Duration unit);
// "0.010, 0.020 : 0.001" seconds, as nginx has them of each server that was asked; together they
// had the request for the sum. None: there is none, or it is nothing of the kind.
std::optional<Duration> sum_of_seconds(std::string_view text);
// A number as any program may write it ("1,5", "4.2e-05") as digits with a point at most; none: it
// is no such number.
std::optional<std::string> plain_number(std::string_view text);
// "200"
std::optional<int> status_of(std::string_view text);

// Since 1970. What has no time zone counts as UTC: only differences matter.
std::optional<std::int64_t> epoch_of(std::string_view text);     // "1795512607.123" seconds
std::optional<std::int64_t> iso_time_of(std::string_view text);  // RFC 3339, or with a space
// "24/Nov/2026:09:30:07 +0000", "06/Feb/2009:12:14:14.655"
std::optional<std::int64_t> clf_time_of(std::string_view text);

// The path of a target as a client sent it ("/v1?x", "http://host/v1"), in normal form; `into` may
// hold it. Where there is none that could be judged the request is no work.
void take_path(AccessEntry& entry, std::string_view target, std::string& into);
// The target in "POST /v1/classify HTTP/1.1"; empty: that is no request.
std::string_view target_of(std::string_view request);
std::string_view method_of(std::string_view request);  // "POST" in it

// Who made the answer of which a log tells.
enum class Answerer : std::uint8_t { service, proxy, untold };
// What became of a request that got this status, in our words.
void judge(AccessEntry& entry, int status, Answerer answerer);
void was_left(AccessEntry& entry);    // its client did not wait for the answer
void is_no_work(AccessEntry& entry);  // and so no traffic: the service never had to see it

// Part of a line, for a message: short, and printable whatever it is.
std::string shown(std::string_view text);
std::unexpected<std::string> is_not(std::string_view field, std::string_view value);

}  // namespace classgate::planning
