#include "gateway/access_log.h"

#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/sink.h>
#include <spdlog/sinks/stdout_sinks.h>

namespace classgate::gateway {
namespace {

constexpr std::size_t batches_max = 1024;

// Passes lines on to the real sink and says how many bytes the writer has caught up with.
class CountingSink final : public spdlog::sinks::sink {
 public:
  CountingSink(spdlog::sink_ptr target, std::atomic<std::uint64_t>& bytes_behind,
               std::atomic<std::uint64_t>& batches_behind)
      : target_(std::move(target)), bytes_behind_(bytes_behind), batches_behind_(batches_behind) {}

  void log(const spdlog::details::log_msg& message) override {
    target_->log(message);
    bytes_behind_.fetch_sub(message.payload.size(), std::memory_order_relaxed);
    if (batches_behind_.fetch_sub(1, std::memory_order_relaxed) == 1) target_->flush();
  }
  void flush() override { target_->flush(); }
  void set_pattern(const std::string& pattern) override { target_->set_pattern(pattern); }
  void set_formatter(std::unique_ptr<spdlog::formatter> formatter) override {
    target_->set_formatter(std::move(formatter));
  }

 private:
  spdlog::sink_ptr target_;
  std::atomic<std::uint64_t>& bytes_behind_;
  std::atomic<std::uint64_t>& batches_behind_;
};

}  // namespace

std::expected<std::unique_ptr<AccessLog>, std::string> AccessLog::open(
    const conf::LogSettings& settings) {
  std::unique_ptr<AccessLog> log(new AccessLog);
  log->bytes_max_ = settings.buffer.count;
  log->is_json_ = settings.format == conf::LogFormat::json;
  if (settings.access == "off") return log;
  try {
    spdlog::sink_ptr target;
    if (settings.access == "stdout")
      target = std::make_shared<spdlog::sinks::stdout_sink_mt>();
    else if (settings.access == "stderr")
      target = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    else
      target = std::make_shared<spdlog::sinks::basic_file_sink_mt>(settings.access);
    auto sink =
        std::make_shared<CountingSink>(std::move(target), log->bytes_behind_, log->batches_behind_);
    log->writer_ = std::make_shared<spdlog::details::thread_pool>(batches_max, 1);
    log->logger_ = std::make_shared<spdlog::async_logger>(
        "access", std::move(sink), log->writer_, spdlog::async_overflow_policy::overrun_oldest);
    log->logger_->set_pattern("%v");
  } catch (const spdlog::spdlog_ex& failure) {
    return std::unexpected(
        fmt::format("cannot write the access log: {} (see log.access)", failure.what()));
  }
  return log;
}

AccessLog::~AccessLog() = default;  // the pool's destructor writes what is left

void AccessLog::hand_over(std::string lines, std::uint64_t line_count) {
  // The bounds are kept here, before the queue, so that the count of dropped lines is exact.
  if (bytes_behind_.load(std::memory_order_relaxed) + lines.size() > bytes_max_ ||
      batches_behind_.load(std::memory_order_relaxed) + 8 > batches_max) {
    dropped_.fetch_add(line_count, std::memory_order_relaxed);
    return;
  }
  bytes_behind_.fetch_add(lines.size(), std::memory_order_relaxed);
  batches_behind_.fetch_add(1, std::memory_order_relaxed);
  logger_->info(std::string_view(lines));
}

}  // namespace classgate::gateway
