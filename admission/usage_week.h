#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "admission/time.h"

namespace classgate::admission {

// What one client was served in each hour of the last week, and what of it is usual for this hour:
// the largest of
//   - the 95th percentile (by nearest rank) of this hour, the one before and the one after, on each
//   of
//     the last seven days: 21 hours, of which the one that stands out most does not count;
//   - the same hour a week ago, for what comes once a week;
//   - the mean of the week until a day ago, for whoever comes at any time.
// The hour that runs, and those of today, do not count: what a client does now says nothing of what
// is usual. Hours are cut from the clock that admission is given, which knows no time zone and no
// summer time: when that begins, a day's pattern moves by an hour, and is found beside.
//
// 356 bytes: each hour is kept as the upper half of a float (three digits in 256 steps). A value.
class UsageWeek {
 public:
  using Hour = std::uint32_t;
  // A week before the clock began has numbers, too.
  static Hour hour_of(Time now) {
    const auto hours = std::chrono::floor<std::chrono::hours>(now.time_since_epoch()).count();
    return static_cast<Hour>(hours + static_cast<std::int64_t>(2 * kept));
  }

  // Nothing is known yet.
  explicit UsageWeek(Hour first = 0) : first_(first), hour_(first) {}

  Hour hour() const { return hour_; }  // that runs
  float used() const { return used_; }
  // In the hour that runs.
  void note(float cost) { used_ += cost; }
  // A later hour runs. Of what was used in the last one, `most` at most is kept; in those between
  // there was nothing. After a week without anything a client is as one that is new.
  void begin(Hour hour, float most);
  // An hour, in what note() counts; none: no day is known yet.
  std::optional<float> usual() const;
  // Of the hours that are kept, how many had something.
  std::uint32_t hours_used() const;
  // For whoever keeps it: what was used in the hours that are over, the last one first, as far back
  // as usual() looks; each as the upper half of a float.
  std::size_t hours_over() const { return std::min<std::size_t>(known(), kept - 1); }
  std::uint16_t packed_ago(std::size_t hours) const {  // from 1 to hours_over()
    return hours_[(hour_ - static_cast<Hour>(hours)) % kept];
  }
  // One that says the same, when `hour` runs. None: there are too many, or some are no numbers.
  static std::optional<UsageWeek> restored(Hour hour, float used,
                                           std::span<const std::uint16_t> ago);
  // Nothing was used in the week before this hour, nor since.
  bool is_over(Hour hour) const { return hour > hour_ && hour - hour_ > week; }

  static constexpr Hour day = 24, week = 7 * day;
  // What usual() looks at: as far back as the hour after, a week ago, and the one that runs.
  static constexpr std::size_t kept = week + 2;

 private:
  Hour known() const { return hour_ - first_; }  // hours that are over
  float ago(Hour hours) const { return unpacked(hours_[(hour_ - hours) % kept]); }
  static std::uint16_t packed(float value) {
    return static_cast<std::uint16_t>((std::bit_cast<std::uint32_t>(value) + 0x8000U) >> 16U);
  }
  static float unpacked(std::uint16_t value) {
    return std::bit_cast<float>(std::uint32_t{value} << 16U);
  }

  Hour first_;
  Hour hour_;
  float used_ = 0;
  std::array<std::uint16_t, kept> hours_{};
};

}  // namespace classgate::admission
