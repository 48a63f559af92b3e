#include "gateway/access_log.h"

#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/sinks/sink.h>
#include <spdlog/spdlog.h>

#include <system_error>

#include "conf/format.h"
#include "gateway/log_sink.h"

namespace classgate::gateway {
namespace {

constexpr std::size_t batches_max = 1024;
constexpr std::size_t requests_max = 8;  // empty messages, kept free for them

// Passes lines on to the real sink and says how many bytes the writer has caught up with.
class CountingSink final : public spdlog::sinks::sink {
 public:
  CountingSink(spdlog::sink_ptr target, std::atomic<std::uint64_t>& bytes_behind,
               std::atomic<std::uint64_t>& batches_behind)
      : target_(std::move(target)), bytes_behind_(bytes_behind), batches_behind_(batches_behind) {}

  void log(const spdlog::details::log_msg& message) override {
    target_->log(message);
    if (message.payload.size() == 0) return;  // a request, no batch
    bytes_behind_.fetch_sub(message.payload.size(), std::memory_order_relaxed);
    batches_behind_.fetch_sub(1, std::memory_order_relaxed);
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

AccessLog::AccessLog()
    : sink_(std::make_shared<LogSink>(LogSink::Names{.log = "the access log", .key = "log.access"},
                                      [](spdlog::level::level_enum level, const std::string& text) {
                                        spdlog::log(level, "{}", text);
                                      })) {}

// The pool's destructor writes what is left and waits for its thread; what the thread uses goes
// after it.
AccessLog::~AccessLog() {
  sink_->end_soon();
  writer_.reset();
  if (const std::uint64_t lost = dropped_lines(); lost > 0)
    spdlog::warn(
        "the access log has {} lines less than there were requests to tell of (log.buffer, "
        "log.access_lines_max, or its place could not be written)",
        lost);
}

std::expected<std::unique_ptr<AccessLog>, std::string> AccessLog::open(
    const conf::LogSettings& settings) {
  auto target = open_target(settings);
  if (!target) return std::unexpected(std::move(target.error()));
  std::unique_ptr<AccessLog> log(new AccessLog);
  if (auto configured = log->reconfigure(settings, std::move(*target)); !configured)
    return std::unexpected(std::move(configured.error()));
  return log;
}

std::expected<std::optional<LogTarget>, std::string> AccessLog::open_target(
    const conf::LogSettings& settings) {
  if (settings.access == "off") return std::nullopt;
  auto target = LogTarget::open(settings.access);
  if (target) return std::move(*target);
  return std::unexpected(
      fmt::format("cannot write the access log: {} (see log.access)", target.error()));
}

std::expected<void, std::string> AccessLog::reconfigure(const conf::LogSettings& settings,
                                                        std::optional<LogTarget> target) {
  const bool turns_on = target.has_value();
  if (turns_on) {
    try {
      if (!logger_) start_writer();
    } catch (const std::exception& failure) {  // spdlog_ex, or system_error: no thread
      return std::unexpected(fmt::format("cannot write the access log: {}", failure.what()));
    }
    target->keep();
    if (sink_->request_replacement(std::move(*target), nullptr)) wake_writer();
  }
  // When it goes off, the old place stays for what loops have begun; reopen() would close it.
  bytes_max_.store(settings.buffer.count, std::memory_order_relaxed);
  sample_.store(settings.sample, std::memory_order_relaxed);
  lines_max_.store(settings.access_lines_max, std::memory_order_relaxed);
  refusals_max_.store(settings.refusals_max, std::memory_order_relaxed);
  is_json_.store(settings.format == conf::LogFormat::json, std::memory_order_relaxed);
  is_on_.store(turns_on, std::memory_order_release);
  return {};
}

void AccessLog::start_writer() {
  auto sink = std::make_shared<CountingSink>(sink_, bytes_behind_, batches_behind_);
  writer_ = std::make_shared<spdlog::details::thread_pool>(batches_max, 1);
  logger_ = std::make_shared<spdlog::async_logger>("access", std::move(sink), writer_,
                                                   spdlog::async_overflow_policy::overrun_oldest);
  logger_->set_pattern("%v");
}

void AccessLog::wake_writer() { logger_->info(std::string_view()); }

void AccessLog::reopen() {
  if (!logger_) return;
  if (is_on() ? sink_->request_reopen() : sink_->request_replacement(LogTarget(), nullptr))
    wake_writer();
}

std::uint64_t AccessLog::dropped_lines() const {
  return dropped_.load(std::memory_order_relaxed) + sink_->lost_lines();
}

void AccessLog::hand_over(std::string lines, std::uint64_t line_count) {
  // The bounds are kept here, before the queue, so that the count of dropped lines is exact. Loops
  // first take their room and then look whether there was any: together they never take too much.
  const std::uint64_t bytes = lines.size();
  const bool bytes_fit = bytes_behind_.fetch_add(bytes, std::memory_order_relaxed) + bytes <=
                         bytes_max_.load(std::memory_order_relaxed);
  const bool batch_fits =
      batches_behind_.fetch_add(1, std::memory_order_relaxed) + requests_max < batches_max;
  if (bytes_fit && batch_fits) return logger_->info(std::string_view(lines));
  bytes_behind_.fetch_sub(bytes, std::memory_order_relaxed);
  batches_behind_.fetch_sub(1, std::memory_order_relaxed);
  dropped_.fetch_add(line_count, std::memory_order_relaxed);
}

}  // namespace classgate::gateway
