#pragma once

#include <atomic>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>

#include "conf/settings.h"
#include "gateway/log_target.h"

namespace spdlog {
class logger;
namespace details {
class thread_pool;
}
}  // namespace spdlog

namespace classgate::gateway {

class LogSink;

// One line an exchange, written by a thread of its own. Loops hand over what a turn produced; when
// the writer is behind by more than log.buffer, lines are dropped and counted, never waited for.
// The log may be opened anew, or elsewhere, while the loops go on.
class AccessLog {
 public:
  // The error is one line for an operator: which file, what is wrong.
  static std::expected<std::unique_ptr<AccessLog>, std::string> open(
      const conf::LogSettings& settings);
  ~AccessLog();

  // --- Any thread. ---
  bool is_on() const { return is_on_.load(std::memory_order_acquire); }
  bool is_json() const { return is_json_.load(std::memory_order_relaxed); }
  // `lines` without the last newline. Only by one who has seen is_on() since the start.
  void hand_over(std::string lines, std::uint64_t line_count);
  // A line that a loop did not begin, because of log.access_lines_max.
  void count_dropped_line() { dropped_.fetch_add(1, std::memory_order_relaxed); }
  double sample() const { return sample_.load(std::memory_order_relaxed); }
  std::uint32_t lines_max() const { return lines_max_.load(std::memory_order_relaxed); }
  std::uint32_t refusals_max() const { return refusals_max_.load(std::memory_order_relaxed); }
  // Left out by any of the bounds, or lost because the place could not be written.
  std::uint64_t dropped_lines() const;

  // Where these settings want the lines; none when they are off. May wait for the disk.
  static std::expected<std::optional<LogTarget>, std::string> open_target(
      const conf::LogSettings& settings);

  // --- The main thread. ---
  // Goes over to the place that was opened for these settings, to their format and bounds. What was
  // handed over before goes to the old place; lines that loops have begun keep their format. On
  // failure nothing changes.
  std::expected<void, std::string> reconfigure(const conf::LogSettings& settings,
                                               std::optional<LogTarget> target);
  // Opens the file anew by its name, after a log rotation; when that fails the error log tells, and
  // the old one goes on. Returns before it is done.
  void reopen();

 private:
  AccessLog();
  void start_writer();
  void wake_writer();

  std::atomic<std::uint64_t> bytes_behind_{0};
  std::atomic<std::uint64_t> batches_behind_{0};
  std::atomic<std::uint64_t> dropped_{0};
  std::atomic<std::uint64_t> bytes_max_{0};
  std::atomic<double> sample_{1};
  std::atomic<std::uint32_t> lines_max_{1};
  std::atomic<std::uint32_t> refusals_max_{1};
  std::atomic<bool> is_json_{false};
  std::atomic<bool> is_on_{false};
  const std::shared_ptr<LogSink> sink_;
  // Both made when the log is on for the first time, and kept.
  std::shared_ptr<spdlog::details::thread_pool> writer_;
  std::shared_ptr<spdlog::logger> logger_;
};

}  // namespace classgate::gateway
