#include "gateway/log_sink.h"

#include <spdlog/pattern_formatter.h>
#include <syslog.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "conf/format.h"

namespace classgate::gateway {
namespace {

constexpr std::chrono::seconds between_complaints{1};

std::string why_not_written(int error) {
  if (error == EAGAIN) return "it is full, and nobody reads it";
  return std::generic_category().message(error);
}

int severity_of(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::trace:
    case spdlog::level::debug: return LOG_DEBUG;
    case spdlog::level::warn: return LOG_WARNING;
    case spdlog::level::err: return LOG_ERR;
    case spdlog::level::critical: return LOG_CRIT;
    default: return LOG_INFO;
  }
}

}  // namespace

bool LogSink::request_reopen() {
  return put({.target = std::nullopt, .formatter = nullptr, .reopen = true});
}

bool LogSink::request_replacement(LogTarget target, std::unique_ptr<spdlog::formatter> formatter) {
  return put({.target = std::move(target), .formatter = std::move(formatter)});
}

bool LogSink::put(Request request) {
  const std::scoped_lock lock(mutex_);
  has_requests_ = true;
  if (requests_.size() < requests_max) {
    requests_.push_back(std::move(request));
    return true;
  }
  if (request.reopen)
    requests_.back().reopen = true;
  else
    requests_.back() = std::move(request);
  return false;
}

// False when there is nothing to do.
bool LogSink::take_over() {
  Request request;
  {
    const std::scoped_lock lock(mutex_);
    if (requests_.empty()) return false;
    request = std::move(requests_.front());
    requests_.pop_front();
    has_requests_ = !requests_.empty();
  }
  if (request.target) target_ = std::move(*request.target);
  if (request.formatter) formatter_ = std::move(request.formatter);
  if (!request.reopen) return true;
  if (const auto reopened = target_.reopen(); !reopened)
    tell_(spdlog::level::err,
          fmt::format("{} cannot be opened anew: {}; it goes on where it was ({})", names_.log,
                      reopened.error(), names_.key));
  return true;
}

void LogSink::take_over_all() {
  if (!has_requests_.load(std::memory_order_relaxed)) return;
  while (take_over()) {
  }
}

void LogSink::log(const spdlog::details::log_msg& message) {
  if (message.payload.size() == 0) {
    take_over();
    return;
  }
  buffer_.clear();
  formatter_->format(message, buffer_);
  note(target_.write({buffer_.data(), buffer_.size()}, severity_of(message.level), write_time_));
}

void LogSink::note(const LogTarget::Written& written) {
  if (written.lost_lines == 0) {
    if (std::exchange(owes_good_news_, false))
      tell_(spdlog::level::info, fmt::format("{} is written again; {} lines were lost ({})",
                                             names_.log, lost_lines(), names_.key));
    return;
  }
  lost_lines_.fetch_add(written.lost_lines, std::memory_order_relaxed);
  const auto now = std::chrono::steady_clock::now();
  if (told_at_ && now - *told_at_ < between_complaints) return;
  told_at_ = now;
  owes_good_news_ = true;
  tell_(spdlog::level::err,
        fmt::format("{} cannot be written: {}; {} lines lost so far ({})", names_.log,
                    why_not_written(written.error), lost_lines(), names_.key));
}

void LogSink::set_pattern(const std::string& pattern) {
  formatter_ = std::make_unique<spdlog::pattern_formatter>(pattern);
}

void LogSink::set_formatter(std::unique_ptr<spdlog::formatter> formatter) {
  formatter_ = std::move(formatter);
}

}  // namespace classgate::gateway
