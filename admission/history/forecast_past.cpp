#include "admission/history/forecast_past.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "conf/invariant.h"

namespace classgate::history {
namespace {

constexpr double missing = std::numeric_limits<double>::quiet_NaN();

}  // namespace

Past::Past(std::chrono::seconds step, std::chrono::seconds kept,
           std::shared_ptr<const conf::TimeZone> zone)
    : step_(step),
      zone_(zone ? std::move(zone) : std::make_shared<const conf::TimeZone>()),
      values_(static_cast<std::size_t>(kept / step) + 2, std::numeric_limits<float>::quiet_NaN()) {}

void Past::add(Slot slot, double value) {
  const auto size = static_cast<Slot>(values_.size());
  if (is_empty() || slot - last_ > size) {
    std::ranges::fill(values_, std::numeric_limits<float>::quiet_NaN());
    first_ = slot;
  } else {
    for (Slot between = last_ + 1; between < slot; ++between)
      values_[place_of(between)] = std::numeric_limits<float>::quiet_NaN();
  }
  last_ = slot;
  values_[place_of(slot)] = static_cast<float>(value);
  asked_.fill({});
}

Slot Past::steps_in(std::chrono::seconds time) const {
  return std::max<Slot>(1, (time + step_ / 2) / step_);
}

double Past::at(Slot slot) const {
  if (slot > last_ || slot < first_ || last_ - slot >= static_cast<Slot>(values_.size()))
    return missing;
  return static_cast<double>(values_[place_of(slot)]);
}

double Past::mean(Slot slot, Slot count) const {
  constexpr Slot few = 256;  // no dearer than to look it up
  if (count <= few) return new_mean(slot, count);
  return asked({slot, step_ * count, {}, 0}, [&] { return new_mean(slot, count); });
}

double Past::new_mean(Slot slot, Slot count) const {
  const Slot oldest = std::max(first_, last_ - static_cast<Slot>(values_.size()) + 1);
  const Slot begin = std::max(slot - count + 1, oldest);
  Slot left = std::min(slot, last_) - begin + 1;
  if (left <= 0) return missing;
  // A day of minutes is asked for many times a step: the ring is walked in its two straight parts,
  // and each sum waits for a quarter of the additions only.
  constexpr std::size_t lanes = 4;
  std::array<double, lanes> sums{};
  std::array<int, lanes> known{};
  for (std::size_t place = place_of(begin); left > 0; place = 0) {
    const auto part = std::min(static_cast<std::size_t>(left), values_.size() - place);
    for (std::size_t i = 0; i < part; ++i) {
      const float value = values_[place + i];
      const bool is_known = !std::isnan(value);
      sums[i % lanes] += is_known ? static_cast<double>(value) : 0;
      known[i % lanes] += is_known ? 1 : 0;
    }
    left -= static_cast<Slot>(part);
  }
  const int all = known[0] + known[1] + known[2] + known[3];
  return all == 0 ? missing : (sums[0] + sums[1] + sums[2] + sums[3]) / all;
}

double Past::quantile(Slot slot, std::chrono::seconds time, std::chrono::seconds apart,
                      double share) const {
  return asked({slot, time, apart, share}, [&] { return new_quantile(slot, time, apart, share); });
}

double Past::new_quantile(Slot slot, std::chrono::seconds time, std::chrono::seconds apart,
                          double share) const {
  std::array<double, 256> known;
  std::size_t count = 0;
  const Slot stride = steps_in(apart);
  for (Slot each = slot; each > slot - steps_in(time) && count < known.size(); each -= stride)
    if (const double value = at(each); !std::isnan(value)) known[count++] = value;
  if (count == 0) return missing;
  const auto middle =
      known.begin() + static_cast<std::ptrdiff_t>(std::min(
                          count - 1, static_cast<std::size_t>(share * static_cast<double>(count))));
  std::nth_element(known.begin(), middle, known.begin() + static_cast<std::ptrdiff_t>(count));
  return *middle;
}

double Past::hourly_change(Slot slot, std::chrono::seconds time) const {
  const Slot hour = steps_in(std::chrono::hours(1));
  double sum = 0;
  int known = 0;
  for (Slot each = slot; each > slot - steps_in(time); each -= steps_in(std::chrono::minutes(10)))
    if (const double change = std::abs(at(each) - at(each - hour)); !std::isnan(change)) {
      sum += change;
      ++known;
    }
  return known == 0 ? missing : sum / known;
}

double Past::last_known(Slot slot) const {
  const Slot oldest = std::max(first_, last_ - static_cast<Slot>(values_.size()) + 1);
  for (Slot each = std::min(slot, last_); each >= oldest; --each)
    if (const double value = at(each); !std::isnan(value)) return value;
  return missing;
}

Slot Past::days_before(Slot slot, int days) const {
  const auto time = time_of(slot);
  const auto before = time - day * days;
  const auto changed = zone_->offset_at(time) - zone_->offset_at(before);
  return slot - (day * days) / step_ + changed / step_;
}

std::chrono::seconds Past::time_of_week(Slot slot) const {
  constexpr std::chrono::seconds week = 7 * day;
  constexpr std::chrono::seconds monday = 4 * day;  // 1 January 1970 was a Thursday
  const auto time = time_of(slot);
  const auto local = time.time_since_epoch() + zone_->offset_at(time) - monday;
  return ((local % week) + week) % week;
}

}  // namespace classgate::history
