#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "gateway/planning/access_entry.h"

namespace classgate::planning {

// Reads lines of the gateway's own access log, text and JSON. A day of 100 requests a second is
// three gigabytes: this looks at each byte about once and allocates nothing.
class AccessReader final : public LineReader {
 public:
  std::expected<AccessEntry, std::string> read(std::string_view line) override;

 private:
  bool take(AccessEntry& entry, std::string_view key, std::string_view value);
  bool take_time(std::string_view text, std::int64_t& into);
  static std::string_view unquote(std::string_view text, std::string& room);

  std::string path_, plan_, name_;  // of the line, where they are quoted
  std::string_view address_;        // of the line
  int grpc_status_ = 0;             // likewise; 0: a call that went well, or none
  std::string last_date_;           // "2026-11-24T09:30", and its minute: most lines share it
  std::int64_t last_minute_ns_ = 0;
  unsigned seen_ = 0;  // the fields that every line must have
};

}  // namespace classgate::planning
