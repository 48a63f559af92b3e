#include "gateway/access_lines.h"

#include <chrono>
#include <utility>

#include "gateway/access_line.h"
#include "gateway/wall_time.h"

namespace classgate::gateway {
namespace {

constexpr std::size_t batch_bytes = 32 * 1024;

}  // namespace

void AccessLines::add(const ExchangeRecord& record, proxy::net::Time now) {
  if (lines_.size() > batch_bytes) hand_over();
  ++count_;
  append_access_line(lines_, log_.is_json(), time_text(now), record);
}

AccessLines::Wanted AccessLines::within_bounds(AccessQuota::Kind kind, proxy::net::Time now,
                                               std::uint32_t loops) {
  const auto decision =
      quota_.judge(kind, now,
                   {.sample = log_.sample(),
                    .lines_max = AccessQuota::share_of(log_.lines_max(), loops),
                    .refusals_max = AccessQuota::share_of(log_.refusals_max(), loops)});
  switch (decision) {
    case AccessQuota::LineDecision::write: return Wanted::line;
    case AccessQuota::LineDecision::roll_up: return Wanted::roll_up;
    case AccessQuota::LineDecision::over_rate: log_.count_dropped_line(); return Wanted::no;
    default: return Wanted::no;
  }
}

bool AccessLines::roll_up(const RefusalRollup::Refusal& refusal, proxy::net::Time now) {
  const bool is_first = rollup_.is_empty();
  if (!rollup_.add(refusal, now)) tell_rolled_up(now);
  return is_first;
}

// The wall clock's times, from those of the loop.
void AccessLines::tell_rolled_up(proxy::net::Time now) {
  const auto clock = std::chrono::system_clock::now();
  const auto text_of = [&](proxy::net::Time at) {
    return wall_time_text(clock - std::chrono::round<std::chrono::milliseconds>(now - at));
  };
  rollup_.take([&](const RefusalRollup::Line& line) {
    if (lines_.size() > batch_bytes) hand_over();
    ++count_;
    append_rolled_up_line(lines_, log_.is_json(), text_of(line.first), text_of(line.last), line);
  });
}

void AccessLines::hand_over() {
  if (count_ == 0) return;
  lines_.pop_back();  // the log ends each entry itself
  log_.hand_over(std::exchange(lines_, {}), std::exchange(count_, 0));
}

std::chrono::system_clock::time_point AccessLines::wall_time(proxy::net::Time now) {
  if (wall_time_of_ != now) {
    wall_time_of_ = now;
    wall_time_ = std::chrono::system_clock::now();
    time_text_.clear();
  }
  return wall_time_;
}

std::string_view AccessLines::time_text(proxy::net::Time now) {
  const auto wall = wall_time(now);
  if (time_text_.empty()) time_text_ = wall_time_text(wall);
  return time_text_;
}

}  // namespace classgate::gateway
