#pragma once

#include <spdlog/spdlog.h>

#include <cstdint>
#include <utility>

namespace classgate::gateway {

// Lines of the process's own life: it starts, listens, has another conf, hands over, ends, or why
// it does not. They are what an operator looks for, and few: the error log writes them beside
// log.lines_max, so many of them in a second (ErrorLog).
inline constexpr std::uint32_t milestones_max = 40;

// In place of a file name in such a message. (spdlog takes it along as a pointer.)
inline constexpr char milestone_mark[] = "milestone";

// As spdlog::log(); any thread.
template <typename... Args>
void log_milestone(spdlog::level::level_enum level, spdlog::format_string_t<Args...> text,
                   Args&&... args) {
  spdlog::default_logger_raw()->log(spdlog::source_loc{milestone_mark, 1, ""}, level, text,
                                    std::forward<Args>(args)...);
}

}  // namespace classgate::gateway
