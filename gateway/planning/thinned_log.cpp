#include "gateway/planning/thinned_log.h"

#include <algorithm>

#include "conf/format.h"

namespace classgate::planning {

void ThinnedLog::add(std::int64_t time_ns) {
  const std::int64_t second = time_ns / 1'000'000'000;
  if (second != second_) lines_ = 0;
  second_ = second;
  // Threads have equal parts of it, and seconds of their own: what is nearly full was full for
  // some.
  if (++lines_ == std::max<std::uint64_t>(lines_max_ - lines_max_ / 20, 1)) ++full_seconds_;
}

std::string ThinnedLog::why() const {
  if (sample_ < 1)
    return fmt::format(
        "the conf has log.sample = {}: of the accepted requests only so many have a line, of the "
        "refused ones all (if this log was written with another: CLASSGATE_LOG_SAMPLE=1)",
        sample_);
  if (full_seconds_ > 0)
    return fmt::format(
        "in {} of its seconds it has as many lines as log.access_lines_max = {} lets it have: "
        "those "
        "of further accepted requests were dropped",
        full_seconds_, lines_max_);
  return {};
}

}  // namespace classgate::planning
