#include "gateway/error_log.h"

#include <spdlog/async.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <atomic>

#include "conf/format.h"
#include "conf/printable.h"
#include "gateway/log_sink.h"
#include "gateway/milestones.h"
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

// Parts of a message were written by clients and upstreams: one line of text, whatever they wrote.
class PrintableMessage final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& out) override {
    const std::string_view said(message.payload.data(), message.payload.size());
    if (conf::is_plain_text(said)) {  // nearly all is; without memory, too
      out.append(said);
      return;
    }
    out.append(conf::printable(said));
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<PrintableMessage>();
  }
};

// The same as a JSON string.
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

std::string pattern_of(const conf::LogSettings& settings) {
  if (settings.format == conf::LogFormat::json)
    return R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l","message":%*})";
  // syslog has the time and the level beside the text.
  return settings.error == "syslog" ? "%&" : "%Y-%m-%dT%H:%M:%S.%eZ %l %&";
}

std::unique_ptr<spdlog::formatter> formatter_of(const conf::LogSettings& settings) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
  formatter->add_flag<QuotedMessage>('*').add_flag<PrintableMessage>('&').set_pattern(
      pattern_of(settings));
  return formatter;
}

}  // namespace

// (With a name of its own outside, because ErrorLog::Parts holds one.)
// Lets so many lines a second through; the first line of a later second tells what was left out.
// Half of them are for warnings and worse, half of that half is for errors: what is told of
// everything that goes well does not drown what went wrong. Milestones have a number of their own.
// Used by the writer's thread but for what says otherwise.
class BoundedSink final : public spdlog::sinks::sink {
 public:
  explicit BoundedSink(std::shared_ptr<LogSink> target) : target_(std::move(target)) {}

  // Any thread.
  void set_lines_max(std::uint32_t lines) { lines_max_.store(lines, std::memory_order_relaxed); }
  std::uint64_t left_out() const { return left_out_ever_.load(std::memory_order_relaxed); }

  void log(const spdlog::details::log_msg& message) override {
    target_->take_over_all();  // the message that asks for it may have been overrun
    if (message.payload.size() == 0) return;
    const auto second = std::chrono::floor<std::chrono::seconds>(message.time);
    if (second != second_) {
      say_what_was_left_out(message);
      second_ = second;
      lines_ = milestones_ = 0;
    }
    if (message.source.filename == milestone_mark && milestones_ < milestones_max) {
      ++milestones_;
      return target_->log(message);
    }
    if (lines_ < lines_max_for(message.level)) {
      ++lines_;
      return target_->log(message);
    }
    ++left_out_;
    left_out_ever_.fetch_add(1, std::memory_order_relaxed);
  }
  void flush() override { target_->flush(); }
  void set_pattern(const std::string& pattern) override { target_->set_pattern(pattern); }
  void set_formatter(std::unique_ptr<spdlog::formatter> formatter) override {
    target_->set_formatter(std::move(formatter));
  }

 private:
  std::uint32_t lines_max_for(spdlog::level::level_enum level) const {
    const std::uint32_t all = lines_max_.load(std::memory_order_relaxed);
    if (level >= spdlog::level::err) return all;
    return level == spdlog::level::warn ? all - all / 4 : all - all / 2;
  }
  void say_what_was_left_out(const spdlog::details::log_msg& now) {
    if (left_out_ == 0) return;
    const std::string text =
        fmt::format("{} more lines were not written (log.lines_max a second)", left_out_);
    spdlog::details::log_msg summary(now.logger_name, spdlog::level::warn, text);
    summary.time = now.time;
    target_->log(summary);
    left_out_ = 0;
  }

  const std::shared_ptr<LogSink> target_;
  std::atomic<std::uint32_t> lines_max_{1};
  std::atomic<std::uint64_t> left_out_ever_{0};
  std::chrono::sys_seconds second_{};
  std::uint32_t lines_ = 0;
  std::uint32_t milestones_ = 0;
  std::uint64_t left_out_ = 0;
};

namespace {

std::string complaint(const std::string& why) {
  return fmt::format("cannot write the log: {} (see log.error)", why);
}

// When the log itself fails, what is left is standard error; if that is what fails, nothing.
void tell_standard_error(spdlog::level::level_enum, const std::string& text) {
  write_what_fits(STDERR_FILENO, fmt::format("classgate: {}\n", conf::printable(text)));
}

}  // namespace

struct ErrorLog::Parts {
  std::shared_ptr<LogSink> sink = std::make_shared<LogSink>(
      LogSink::Names{.log = "the log", .key = "log.error"}, tell_standard_error);
  std::shared_ptr<BoundedSink> bounded = std::make_shared<BoundedSink>(sink);
  std::shared_ptr<spdlog::logger> logger;

  // Its level lets it pass whatever log.level is.
  void wake_writer() { logger->log(spdlog::level::critical, std::string_view()); }
  void go_over_to(LogTarget target, const conf::LogSettings& settings) {
    logger->set_level(level_of(settings.level));
    bounded->set_lines_max(settings.lines_max);
    if (sink->request_replacement(std::move(target), formatter_of(settings))) wake_writer();
  }
};

ErrorLog::ErrorLog(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
ErrorLog::ErrorLog(ErrorLog&&) noexcept = default;

std::expected<ErrorLog, std::string> ErrorLog::open(const conf::LogSettings& settings) {
  auto target = open_target(settings);
  if (!target) return std::unexpected(target.error());
  auto parts = std::make_unique<Parts>();
  try {
    spdlog::init_thread_pool(messages_max, 1);
    parts->logger =
        std::make_shared<spdlog::async_logger>("classgate", parts->bounded, spdlog::thread_pool(),
                                               spdlog::async_overflow_policy::overrun_oldest);
  } catch (const spdlog::spdlog_ex& failure) {
    return std::unexpected(complaint(failure.what()));
  }
  target->keep();
  parts->go_over_to(std::move(*target), settings);
  spdlog::set_default_logger(parts->logger);
  return ErrorLog(std::move(parts));
}

std::expected<LogTarget, std::string> ErrorLog::open_target(const conf::LogSettings& settings) {
  auto target = LogTarget::open(settings.error);
  if (!target) return std::unexpected(complaint(target.error()));
  return target;
}

void ErrorLog::reconfigure(const conf::LogSettings& settings, LogTarget target) {
  target.keep();
  parts_->go_over_to(std::move(target), settings);
}

void ErrorLog::reopen() {
  if (parts_->sink->request_reopen()) parts_->wake_writer();
}

std::uint64_t ErrorLog::dropped_lines() const {
  return parts_->sink->lost_lines() + parts_->bounded->left_out() +
         spdlog::thread_pool()->overrun_counter();
}

ErrorLog::~ErrorLog() {
  if (!parts_) return;
  parts_->sink->end_soon();
  spdlog::shutdown();
}

}  // namespace classgate::gateway
