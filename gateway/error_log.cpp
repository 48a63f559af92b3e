#include "gateway/error_log.h"

#include <spdlog/async.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "gateway/quoted.h"

namespace classgate::gateway {
namespace {

constexpr std::size_t messages_max = 1024;  // waiting for the writer

spdlog::level::level_enum level_of(conf::LogLevel level) {
  switch (level) {
    case conf::LogLevel::debug: return spdlog::level::debug;
    case conf::LogLevel::info: return spdlog::level::info;
    case conf::LogLevel::warning: return spdlog::level::warn;
    case conf::LogLevel::error: return spdlog::level::err;
  }
  return spdlog::level::info;
}

// The message as a JSON string: parts of it were written by clients and upstreams.
class QuotedMessage final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& out) override {
    std::string text;
    append_quoted(text, {message.payload.data(), message.payload.size()});
    out.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<QuotedMessage>();
  }
};

std::unique_ptr<spdlog::formatter> formatter_of(conf::LogFormat format) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
  formatter->add_flag<QuotedMessage>('*').set_pattern(
      format == conf::LogFormat::json
          ? R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l","message":%*})"
          : "%Y-%m-%dT%H:%M:%S.%eZ %l %v");
  return formatter;
}

// Lets so many lines a second through; the first line of a later second tells what was left out.
// Used by the writer's thread alone.
class BoundedSink final : public spdlog::sinks::sink {
 public:
  BoundedSink(spdlog::sink_ptr target, std::uint32_t lines_max)
      : target_(std::move(target)), lines_max_(lines_max) {}

  void log(const spdlog::details::log_msg& message) override {
    const auto second = std::chrono::floor<std::chrono::seconds>(message.time);
    if (second != second_) {
      say_what_was_left_out(message);
      second_ = second;
      lines_ = 0;
    }
    if (++lines_ > lines_max_)
      ++left_out_;
    else
      target_->log(message);
  }
  void flush() override { target_->flush(); }
  void set_pattern(const std::string& pattern) override { target_->set_pattern(pattern); }
  void set_formatter(std::unique_ptr<spdlog::formatter> formatter) override {
    target_->set_formatter(std::move(formatter));
  }

 private:
  void say_what_was_left_out(const spdlog::details::log_msg& now) {
    if (left_out_ == 0) return;
    const std::string text =
        fmt::format("{} more lines were not written (log.lines_max a second)", left_out_);
    spdlog::details::log_msg summary(now.logger_name, spdlog::level::warn, text);
    summary.time = now.time;
    target_->log(summary);
    left_out_ = 0;
  }

  spdlog::sink_ptr target_;
  const std::uint32_t lines_max_;
  std::chrono::sys_seconds second_{};
  std::uint32_t lines_ = 0;
  std::uint64_t left_out_ = 0;
};

spdlog::sink_ptr open_target(const std::string& place) {
  if (place == "stderr") return std::make_shared<spdlog::sinks::stderr_sink_mt>();
  if (place == "stdout") return std::make_shared<spdlog::sinks::stdout_sink_mt>();
  return std::make_shared<spdlog::sinks::basic_file_sink_mt>(place);
}

}  // namespace

std::expected<ErrorLog, std::string> ErrorLog::open(const conf::LogSettings& settings) {
  try {
    auto sink = std::make_shared<BoundedSink>(open_target(settings.error), settings.lines_max);
    sink->set_formatter(formatter_of(settings.format));
    spdlog::init_thread_pool(messages_max, 1);
    auto logger =
        std::make_shared<spdlog::async_logger>("classgate", std::move(sink), spdlog::thread_pool(),
                                               spdlog::async_overflow_policy::overrun_oldest);
    logger->set_level(level_of(settings.level));
    logger->flush_on(spdlog::level::debug);
    spdlog::set_default_logger(std::move(logger));
  } catch (const spdlog::spdlog_ex& failure) {
    return std::unexpected(fmt::format("cannot write the log: {} (see log.error)", failure.what()));
  }
  return ErrorLog();
}

ErrorLog::~ErrorLog() {
  if (is_open_) spdlog::shutdown();
}

}  // namespace classgate::gateway
