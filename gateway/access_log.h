#pragma once

#include <atomic>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>

#include "conf/settings.h"

namespace spdlog {
class logger;
namespace details {
class thread_pool;
}
}  // namespace spdlog

namespace classgate::gateway {

// One line an exchange, written by a thread of its own. Loops hand over what a turn produced; when
// the writer is behind by more than log.buffer, lines are dropped and counted, never waited for.
class AccessLog {
 public:
  // The error is one line for an operator: which file, what is wrong.
  static std::expected<std::unique_ptr<AccessLog>, std::string> open(
      const conf::LogSettings& settings);
  ~AccessLog();

  bool is_on() const { return logger_ != nullptr; }
  bool is_json() const { return is_json_; }
  // `lines` without the last newline. Any thread.
  void hand_over(std::string lines, std::uint64_t line_count);
  std::uint64_t dropped_lines() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  AccessLog() = default;
  std::atomic<std::uint64_t> bytes_behind_{0};
  std::atomic<std::uint64_t> batches_behind_{0};
  std::atomic<std::uint64_t> dropped_{0};
  std::uint64_t bytes_max_ = 0;
  bool is_json_ = false;
  std::shared_ptr<spdlog::details::thread_pool> writer_;
  std::shared_ptr<spdlog::logger> logger_;
};

}  // namespace classgate::gateway
