#pragma once

#include <spdlog/details/log_msg.h>
#include <spdlog/formatter.h>
#include <spdlog/sinks/sink.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "conf/format.h"
#include "gateway/log_target.h"

namespace classgate::gateway {

// The end of a log: formats what the writer's thread brings and writes it with one write(2). What
// can't be written is counted and told, and the next is tried again.
//
// The target belongs to the writer's thread. Other threads leave requests under the mutex; the
// writer takes over one when it comes to an empty message, so that what was logged before still
// goes to the old place. Whoever hears true from a request posts that message. Of a writer that
// hangs, few requests are kept: the last one holds.
class LogSink final : public spdlog::sinks::sink {
 public:
  struct Names {
    std::string_view log;  // "the access log"
    std::string_view key;  // "log.access"
  };
  // Takes a complaint or good news, for an operator. On the writer's thread.
  using Tell = std::function<void(spdlog::level::level_enum level, const std::string& text)>;

  LogSink(Names names, Tell tell) : names_(names), tell_(std::move(tell)) {}

  // --- Any thread. ---
  [[nodiscard]] bool request_reopen();
  // A formatter that is null leaves the one there is.
  [[nodiscard]] bool request_replacement(LogTarget target,
                                         std::unique_ptr<spdlog::formatter> formatter);
  // The process ends: what is left is written within WriteTime::all, or lost.
  void end_soon() { write_time_.end_soon(); }
  std::uint64_t lost_lines() const { return lost_lines_.load(std::memory_order_relaxed); }

  // --- The writer's thread. ---
  void log(const spdlog::details::log_msg& message) override;
  // Does all that was requested. For a log whose queue may lose the empty message.
  void take_over_all();
  void flush() override {}

  // Before there is a writer.
  void set_pattern(const std::string& pattern) override;
  void set_formatter(std::unique_ptr<spdlog::formatter> formatter) override;

 private:
  struct Request {
    std::optional<LogTarget> target;
    std::unique_ptr<spdlog::formatter> formatter;
    bool reopen = false;
  };
  static constexpr std::size_t requests_max = 4;
  [[nodiscard]] bool put(Request request);
  bool take_over();
  void note(const LogTarget::Written& written);

  const Names names_;
  const Tell tell_;
  std::atomic<bool> has_requests_{false};
  std::atomic<std::uint64_t> lost_lines_{0};

  std::mutex mutex_;
  std::deque<Request> requests_;

  LogTarget target_;
  WriteTime write_time_;
  std::unique_ptr<spdlog::formatter> formatter_;
  spdlog::memory_buf_t buffer_;
  std::optional<std::chrono::steady_clock::time_point> told_at_;
  bool owes_good_news_ = false;
};

}  // namespace classgate::gateway
