#include "admission/history/demand.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace classgate::history {

double sum(const Asked& asked) { return std::accumulate(asked.begin(), asked.end(), 0.0); }

DemandRecord::Day::Day() {
  for (Asked& minute : minutes) minute.fill(unknown);
}

bool DemandRecord::add(Slot minute, const Asked& asked) {
  if (minute < 0 || (!is_empty() && minute <= last_)) return false;
  if (is_empty()) first_ = minute;
  last_ = minute;
  ++known_;
  forget_before(minute - kept + 1);
  auto& in_day = days_[minute / day];
  if (!in_day) in_day = std::make_unique<Day>();
  in_day->minutes[static_cast<std::size_t>(minute % day)] = asked;
  return true;
}

// Whole days; at() does not tell of what is older than two weeks.
void DemandRecord::forget_before(Slot minute) {
  while (!days_.empty() && days_.begin()->first < minute / day) {
    for (const Asked& asked : days_.begin()->second->minutes)
      if (!std::isnan(asked[0])) --known_;
    days_.erase(days_.begin());
  }
  first_ = std::max(first_, minute);
}

std::optional<Asked> DemandRecord::at(Slot minute) const {
  if (is_empty() || minute < first_ || minute > last_) return std::nullopt;
  const auto in_day = days_.find(minute / day);
  if (in_day == days_.end()) return std::nullopt;
  const Asked& asked = in_day->second->minutes[static_cast<std::size_t>(minute % day)];
  if (std::isnan(asked[0])) return std::nullopt;
  return asked;
}

// ---- Minutes -----------------------------------------------------------------------------------

void MinuteSampler::begin(const Totals& totals, Time now) {
  totals_ = totals;
  since_ = now;
  part_ = {.seconds = 0};
}

void MinuteSampler::add_part(const DemandMinute& part) {
  if (part.minute != std::chrono::floor<std::chrono::minutes>(since_).time_since_epoch().count())
    return;
  for (std::size_t i = 0; i < part_.asked.size(); ++i) part_.asked[i] += part.asked[i];
  for (const auto& [plan, cost] : part.plans) part_.plans[plan] += cost;
  part_.seconds += part.seconds;
}

DemandMinute MinuteSampler::so_far(const Totals& totals, Time now) const {
  const std::chrono::duration<float> counted = now - since_;
  // By the middle of what was counted: the clock is read shortly after the turn of a minute.
  const auto middle = since_ + (now - since_) / 2;
  DemandMinute minute{
      .minute = std::chrono::floor<std::chrono::minutes>(middle).time_since_epoch().count(),
      .asked = part_.asked,
      .seconds = part_.seconds + counted.count(),
      .plans = part_.plans};
  for (std::size_t i = 0; i < minute.asked.size(); ++i)
    minute.asked[i] +=
        static_cast<float>(std::max(totals.by_priority[i] - totals_.by_priority[i], 0.0));
  for (const auto& [plan, total] : totals.by_plan) {
    const auto before = totals_.by_plan.find(plan);
    const double grown = total - (before == totals_.by_plan.end() ? 0 : before->second);
    if (grown > 0) minute.plans[plan] += static_cast<float>(grown);
  }
  return minute;
}

std::optional<DemandMinute> MinuteSampler::read(const Totals& totals, Time now) {
  DemandMinute minute = so_far(totals, now);
  begin(totals, now);
  if (!(minute.seconds >= seconds_least && minute.seconds <= seconds_most)) return std::nullopt;
  for (float& asked : minute.asked) asked *= 60 / minute.seconds;
  for (auto& [plan, cost] : minute.plans) cost *= 60 / minute.seconds;
  minute.seconds = 60;
  return minute;
}

}  // namespace classgate::history
