#pragma once

#include <expected>
#include <string>
#include <utility>

#include "conf/settings.h"

namespace classgate::gateway {

// The gateway's own messages: spdlog's default logger while this lives. Written by a thread of its
// own and bounded twice: log.lines_max lines a second reach the file (the next second says how many
// more there were), and a writer that hangs loses the oldest, never the loops' time.
class ErrorLog {
 public:
  // The error is one line for an operator: which file, what is wrong.
  static std::expected<ErrorLog, std::string> open(const conf::LogSettings& settings);
  ErrorLog(ErrorLog&& other) noexcept : is_open_(std::exchange(other.is_open_, false)) {}
  ~ErrorLog();  // writes what is left

 private:
  ErrorLog() = default;
  bool is_open_ = true;
};

}  // namespace classgate::gateway
