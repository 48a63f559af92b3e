#include "admission/usage_week.h"

#include <algorithm>
#include <cmath>

namespace classgate::admission {

void UsageWeek::begin(Hour hour, float most) {
  if (hour <= hour_) return;  // time never runs backwards here
  if (is_over(hour)) {
    *this = UsageWeek(hour);
    return;
  }
  hours_[hour_ % kept] = packed(std::min(used_, most));
  for (Hour empty = hour_ + 1; empty <= hour; ++empty) hours_[empty % kept] = 0;
  hour_ = hour;
  used_ = 0;
}

std::optional<float> UsageWeek::usual() const {
  std::array<float, 3 * week / day> samples{};
  std::size_t count = 0;
  for (Hour days = 1; days <= week / day; ++days)
    for (const Hour hours : {days * day - 1, days * day, days * day + 1})
      if (hours <= known()) samples[count++] = ago(hours);
  if (count == 0) return std::nullopt;
  const auto rank = static_cast<std::ptrdiff_t>(std::ceil(0.95 * static_cast<double>(count))) - 1;
  const auto end = samples.begin() + static_cast<std::ptrdiff_t>(count);
  std::nth_element(samples.begin(), samples.begin() + rank, end);
  float usual = samples[static_cast<std::size_t>(rank)];
  if (week <= known()) usual = std::max(usual, ago(week));
  const Hour last = std::min(known(), week);
  float sum = 0;
  for (Hour hours = day - 1; hours <= last; ++hours) sum += ago(hours);
  return std::max(usual, sum / static_cast<float>(last - day + 2));
}

std::optional<UsageWeek> UsageWeek::restored(Hour hour, float used,
                                             std::span<const std::uint16_t> ago) {
  constexpr float most = 1e15F;  // which is none either, and adds up to no infinity
  const auto is_amount = [](float value) { return value >= 0 && value <= most; };
  if (ago.size() >= kept || ago.size() > hour || !is_amount(used)) return std::nullopt;
  UsageWeek restored_week(hour - static_cast<Hour>(ago.size()));
  restored_week.hour_ = hour;
  restored_week.used_ = used;
  for (std::size_t i = 0; i < ago.size(); ++i) {
    if (!is_amount(unpacked(ago[i]))) return std::nullopt;
    restored_week.hours_[(hour - 1 - static_cast<Hour>(i)) % kept] = ago[i];
  }
  return restored_week;
}

std::uint32_t UsageWeek::hours_used() const {
  return static_cast<std::uint32_t>(
      std::ranges::count_if(hours_, [](std::uint16_t hour) { return hour != 0; }));
}

}  // namespace classgate::admission
