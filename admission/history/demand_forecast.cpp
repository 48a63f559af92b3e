#include "admission/history/demand_forecast.h"

#include <algorithm>
#include <cmath>

namespace classgate::history {
namespace {

constexpr Slot minutes_a_day = DemandRecord::day;

Slot steps_of_horizon(std::size_t horizon) { return demand_horizons[horizon].count(); }

}  // namespace

void DemandForecast::add_to(Series& series, Slot minute, double value) {
  if (!series.forecaster) {
    ForecastSettings settings;
    settings.zone = zone_;
    series.forecaster = std::make_unique<Forecaster>(std::move(settings));
    series.first = minute;
  }
  series.forecaster->add(minute, value);
}

void DemandForecast::add(Slot minute, const Asked& asked, const PlanAsked& plans) {
  const bool was_empty = record_.is_empty();
  const Slot last = was_empty ? minute : record_.last();
  if (!record_.add(minute, asked)) return;
  add_to(all_, minute, sum(asked));
  for (std::size_t i = 0; i < asked.size(); ++i)
    if (asked[i] > 0 || priorities_[i].forecaster)
      add_to(priorities_[i], minute, static_cast<double>(asked[i]));
  add_to_plans(minute, plans);
  note_told(minute, last);
}

// A place that another plan has now begins anew.
void DemandForecast::add_to_plans(Slot minute, const PlanAsked& asked) {
  plan_record_.add(minute, asked);
  for (std::size_t i = 0; i < plans_.size(); ++i) {
    const bool is_used = !plan_record_.name(i).empty();
    if (!is_used || plans_[i].first != plan_record_.first(i)) plans_[i] = {};
    if (is_used) add_to(plans_[i], minute, static_cast<double>(plan_record_.at(i, minute)));
  }
}

// Nobody spoke in a gap.
void DemandForecast::note_told(Slot minute, Slot last) {
  for (std::size_t h = 0; h < told_.size(); ++h) {
    auto& ring = told_[h];
    const Slot size = steps_of_horizon(h) + minutes_a_day;
    ring.resize(static_cast<std::size_t>(size));
    const auto place = [&](Slot of) -> Told& { return ring[static_cast<std::size_t>(of % size)]; };
    const Slot target = minute + steps_of_horizon(h);
    for (Slot ago = 1; ago < std::min(minute - last, size); ++ago) place(target - ago) = {};
    const Quantiles said = said_of(all_, h);
    place(target) = {static_cast<float>(said.p50), static_cast<float>(said.p90)};
  }
}

DemandForecast::Told DemandForecast::told(Slot minute, std::size_t horizon) const {
  const auto& ring = told_[horizon];
  const Slot newest = record_.last() + steps_of_horizon(horizon);
  if (ring.empty() || minute > newest || minute <= newest - static_cast<Slot>(ring.size()))
    return {};
  return ring[static_cast<std::size_t>(minute) % ring.size()];
}

Quantiles DemandForecast::said_of(const Series& series, std::size_t horizon) const {
  if (!series.forecaster) return {};
  Quantiles said = series.forecaster->at(horizon);
  // No error has been seen: it can't tell how sure it is.
  if (record_.last() - series.first <= steps_of_horizon(horizon))
    said.p90 = said.p99 = std::numeric_limits<double>::quiet_NaN();
  return said;
}

std::optional<Quantiles> DemandForecast::of_priority(std::size_t priority,
                                                     std::size_t horizon) const {
  if (!priorities_[priority].forecaster) return std::nullopt;
  return said_of(priorities_[priority], horizon);
}

std::optional<Quantiles> DemandForecast::of_plan(std::size_t place, std::size_t horizon) const {
  if (!plans_[place].forecaster) return std::nullopt;
  return said_of(plans_[place], horizon);
}

Asked DemandForecast::middle(std::size_t horizon) const {
  Asked asked{};
  for (std::size_t i = 0; i < asked.size(); ++i)
    if (const auto said = of_priority(i, horizon)) asked[i] = static_cast<float>(said->p50);
  return asked;
}

Asked DemandForecast::lately() const {
  Asked mean{};
  float known = 0;
  for (Slot minute = record_.last(); minute > record_.last() - lately_minutes; --minute)
    if (const auto asked = record_.at(minute)) {
      for (std::size_t i = 0; i < mean.size(); ++i) mean[i] += (*asked)[i];
      ++known;
    }
  if (known > 0)
    for (float& asked : mean) asked /= known;
  return mean;
}

double DemandForecast::lately_of_plan(std::size_t place) const {
  double sum = 0;
  double known = 0;
  for (Slot minute = record_.last(); minute > record_.last() - lately_minutes; --minute)
    if (record_.at(minute)) {
      sum += static_cast<double>(plan_record_.at(place, minute));
      ++known;
    }
  return known > 0 ? sum / known : 0;
}

DemandForecast::Error DemandForecast::error(std::size_t horizon) const {
  Error error;
  double came = 0;
  double misses = 0;
  std::size_t sure = 0;
  std::size_t below = 0;
  for (Slot minute = record_.last() - minutes_a_day + 1; minute <= record_.last(); ++minute) {
    const auto asked = record_.at(minute);
    const Told said = told(minute, horizon);
    if (!asked || std::isnan(said.p50)) continue;
    const double value = sum(*asked);
    ++error.compared;
    came += value;
    misses += std::abs(value - static_cast<double>(said.p50));
    if (std::isnan(said.p90)) continue;
    ++sure;
    if (value <= static_cast<double>(said.p90)) ++below;
  }
  if (error.compared > 0) error.mean = misses / static_cast<double>(error.compared);
  error.share = misses / came;  // NaN: 0 / 0
  error.below_p90 = static_cast<double>(below) / static_cast<double>(sure);
  return error;
}

std::size_t DemandForecast::bytes() const {
  std::size_t bytes = sizeof *this + record_.bytes() + plan_record_.bytes();
  const auto count = [&](const Series& series) {
    if (series.forecaster) bytes += series.forecaster->bytes();
  };
  count(all_);
  for (const Series& series : priorities_) count(series);
  for (const Series& series : plans_) count(series);
  for (const auto& ring : told_) bytes += ring.capacity() * sizeof(Told);
  return bytes;
}

}  // namespace classgate::history
