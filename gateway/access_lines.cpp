#include "gateway/access_lines.h"

#include <fmt/chrono.h>

#include <chrono>
#include <utility>

#include "conf/format.h"
#include "gateway/access_line.h"

namespace classgate::gateway {
namespace {

constexpr std::size_t batch_bytes = 32 * 1024;

}  // namespace

void AccessLines::add(const ExchangeRecord& record, proxy::net::Time now) {
  if (lines_.size() > batch_bytes) hand_over();
  ++count_;
  append_access_line(lines_, log_.is_json(), time_text(now), record);
}

bool AccessLines::is_within_bounds(bool is_routine, proxy::net::Time now, std::uint32_t loops) {
  const auto verdict = quota_.judge(
      is_routine, now,
      {.sample = log_.sample(), .lines_max = AccessQuota::share_of(log_.lines_max(), loops)});
  if (verdict == AccessQuota::Verdict::over_rate) log_.count_dropped_line();
  return verdict == AccessQuota::Verdict::write;
}

void AccessLines::hand_over() {
  if (count_ == 0) return;
  lines_.pop_back();  // the log ends each entry itself
  log_.hand_over(std::exchange(lines_, {}), std::exchange(count_, 0));
}

std::string_view AccessLines::time_text(proxy::net::Time now) {
  if (time_text_of_ != now) {
    time_text_of_ = now;
    const auto clock = std::chrono::system_clock::now();
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(clock.time_since_epoch());
    time_text_ =
        fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z",
                    fmt::gmtime(std::chrono::system_clock::to_time_t(clock)), ms.count() % 1000);
  }
  return time_text_;
}

}  // namespace classgate::gateway
