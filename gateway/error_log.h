#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <string>

#include "conf/settings.h"
#include "gateway/log_target.h"

namespace classgate::gateway {

// The gateway's own messages: spdlog's default logger while this lives. Written by a thread of its
// own and bounded twice: log.lines_max lines a second reach the file, and some milestones beside
// them (gateway/milestones.h; the next second says how many more there were), and a writer that
// hangs loses the oldest, never the loops' time. When the file can't be written, standard error is
// told. All of this is for the main thread.
class ErrorLog {
 public:
  // The error is one line for an operator: which file, what is wrong.
  static std::expected<ErrorLog, std::string> open(const conf::LogSettings& settings);
  ErrorLog(ErrorLog&&) noexcept;
  ~ErrorLog();  // writes what is left, within WriteTime::all

  // Where these settings want it. Any thread; may wait for the disk.
  static std::expected<LogTarget, std::string> open_target(const conf::LogSettings& settings);
  // Goes over to the place that was opened for these settings, to their format, level and bound.
  void reconfigure(const conf::LogSettings& settings, LogTarget target);
  // Opens the file anew by its name, after a log rotation; the old one goes on when that fails.
  // Returns before it is done.
  void reopen();
  // Over log.lines_max, or lost by a place that can't be written or a writer that hangs.
  std::uint64_t dropped_lines() const;

 private:
  struct Parts;
  explicit ErrorLog(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;  // null: moved from
};

}  // namespace classgate::gateway
