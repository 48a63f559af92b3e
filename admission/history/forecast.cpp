#include "admission/history/forecast.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace classgate::history {
namespace {

using std::chrono::seconds;
constexpr float not_said = std::numeric_limits<float>::quiet_NaN();

// How long things are remembered: the figures are those that did best over real and made loads.
constexpr seconds regression_memory = 14 * Past::day;
constexpr seconds loss_memory = 7 * Past::day;
constexpr seconds spread_memory = 10 * Past::day;
constexpr seconds level_memory = 7 * Past::day;
constexpr seconds late_memory = std::chrono::hours(3);
constexpr seconds hour_memory = std::chrono::hours(5);  // of each hour: five days
constexpr double quantile_rate = 0.05;
constexpr double margin_rate = 0.01;

double keep_of(seconds time, seconds step) {
  return std::exp(-static_cast<double>(step.count()) / static_cast<double>(time.count()));
}

// Until samples speak against it: as now.
Ridge::Vector as_now() {
  Ridge::Vector prior{};
  prior[1] = 1;
  return prior;
}

// The median and so many times what an hour usually changes (Moment::of_quantile).
Ridge::Vector above_median(double changes) {
  Ridge::Vector prior{};
  prior[8] = 1;
  prior[6] = changes;
  return prior;
}

Past past_of(const ForecastSettings& settings) {
  // Regressions look eight days back from when they would have spoken.
  const seconds longest = *std::ranges::max_element(settings.horizons);
  return {settings.step, 8 * Past::day + std::chrono::hours(2) + longest, settings.zone};
}

}  // namespace

void Forecaster::Above::learn(double error, double scale) {
  seen += 1;
  if (!(scale > 0)) return;
  for (std::size_t q = 1; q < quantiles; ++q) {
    const double rate = std::max(quantile_rate, 0.5 / std::sqrt(seen)) * (q == 2 ? 3 : 1);
    times[q] += rate * ((error > times[q] * scale ? 1.0 : 0.0) - (1 - taus[q]));
  }
}

void Forecaster::Errors::learn(double error, double keep) {
  above.learn(error, spread);
  spread += std::max(1 - keep, 1 / above.seen) * (std::abs(error) - spread);
}

Forecaster::Regressions::Regressions(seconds step)
    : linear(keep_of(regression_memory, step), 3, as_now()),
      of_log(keep_of(regression_memory, step), 3, as_now()),
      recent(keep_of(regression_memory, step), 10, as_now()),
      of_p90(keep_of(regression_memory, step), 10, above_median(1.5), 0.9),
      of_p99(keep_of(regression_memory, step), 10, above_median(3), 0.99) {}

Forecaster::Horizon::Horizon(Slot steps_ahead, seconds step)
    : steps(steps_ahead),
      pending(static_cast<std::size_t>(steps)),
      regressions(step),
      blends{Blend(experts + 1, taus[0], keep_of(loss_memory, step)),
             Blend(experts + 1 + scales, taus[1], keep_of(loss_memory, step)),
             Blend(experts + 1 + scales, taus[2], keep_of(loss_memory, step))} {
  now.fill(not_said);
  for (Said& each : pending) each.by_expert.fill(not_said);
}

Forecaster::PerVoice Forecaster::Horizon::voices(const Said& of, std::size_t q) const {
  PerVoice voices;
  for (std::size_t k = 0; k < experts; ++k)
    voices[k] = errors[k].quantile(static_cast<double>(of.by_expert[k]), q);
  voices[experts] = static_cast<double>(of.regressed[q]);
  for (std::size_t s = 0; s < scales; ++s)
    voices[experts + 1 + s] =
        static_cast<double>(of.mixed[0]) + above[s].times[q] * static_cast<double>(of.scale[s]);
  return voices;
}

Forecaster::Forecaster(ForecastSettings settings)
    : settings_(std::move(settings)),
      past_(past_of(settings_)),
      experts_(past_),
      keep_(keep_of(spread_memory, settings_.step)) {
  for (const seconds time : settings_.horizons)
    horizons_.emplace_back(past_.steps_in(time), settings_.step);
}

bool Forecaster::is_cold() const {
  return past_.is_empty() || past_.last() - past_.first() < past_.steps_in(Past::day);
}

Moment Forecaster::moment(Slot now, Slot target, const Forecasts& said) const {
  return {past_, now, target, said, past_.mean(now, past_.steps_in(Past::day)), offset_};
}

void Forecaster::learn_regressions(Horizon& horizon, Slot slot, double value) const {
  const Said& said = horizon.of(slot);
  const Moment then = moment(slot - horizon.steps, slot, said.by_expert);
  if (std::isnan(then.level) || offset_ <= 0) return;
  // An error counts what it is, not what it is relative to the level of its day.
  const double weight = (then.level + offset_) / (mean_ / mean_weight_ + offset_);
  const double difference = then.difference(value);
  Regressions& all = horizon.regressions;
  all.linear.learn(then.all(false), difference, weight);
  all.of_log.learn(then.all(true), then.log_ratio(value), weight);
  all.recent.learn(then.recent(), difference, weight);
  const auto above = then.of_quantile(static_cast<double>(said.mixed[0]));
  all.of_p90.learn(above, difference, weight);
  all.of_p99.learn(above, difference, weight);
}

std::size_t Forecaster::hour_of(Slot slot) const {
  return static_cast<std::size_t>(past_.time_of_week(slot) % Past::day / std::chrono::hours(1));
}

Forecaster::PerScale Forecaster::scale(const Horizon& horizon, double p50, Slot target) const {
  const auto of_the_hour = static_cast<double>(horizon.by_hour[hour_of(target)]);
  const double by_hour = of_the_hour > 0 ? of_the_hour : horizon.spread;
  const double by_level = horizon.relative * (p50 + offset_);
  const double together = std::sqrt(horizon.late * std::sqrt(by_hour * by_level));
  return {static_cast<float>(by_hour), static_cast<float>(horizon.late),
          static_cast<float>(together)};
}

void Forecaster::learn_scales(Horizon& horizon, double p50, double value, Slot slot) const {
  const double error = std::abs(value - p50);
  const auto eased = [&](double mean, double now, seconds memory) {
    const double keep = keep_of(memory, settings_.step);
    return mean == 0 ? now : keep * mean + (1 - keep) * now;
  };
  horizon.late = eased(horizon.late, error, late_memory);
  float& by_hour = horizon.by_hour[hour_of(slot)];
  by_hour = static_cast<float>(eased(static_cast<double>(by_hour), error, hour_memory));
  if (offset_ > 0)
    horizon.relative = eased(horizon.relative, error / (p50 + offset_), spread_memory);
}

void Forecaster::score(Horizon& horizon, Slot slot, double value) const {
  Said& said = horizon.of(slot);
  if (std::isnan(said.by_expert[place_of(Expert::as_now)])) return;
  if (horizon.spread > 0)
    for (std::size_t q = 0; q < quantiles; ++q)
      horizon.blends[q].learn(horizon.voices(said, q), value, horizon.spread);
  for (std::size_t k = 0; k < experts; ++k)
    if (!std::isnan(said.by_expert[k]))
      horizon.errors[k].learn(value - static_cast<double>(said.by_expert[k]), keep_);
  for (std::size_t q = 1; q < quantiles; ++q)
    horizon.margin[q] +=
        margin_rate * ((value > static_cast<double>(said.mixed[q]) ? 1.0 : 0.0) - (1 - taus[q]));
  for (std::size_t s = 0; s < scales; ++s)
    horizon.above[s].learn(value - static_cast<double>(said.mixed[0]),
                           static_cast<double>(said.scale[s]));
  learn_scales(horizon, static_cast<double>(said.mixed[0]), value, slot);
  const double error = std::abs(value - static_cast<double>(said.mixed[0]));
  horizon.spread = horizon.spread == 0 ? error : keep_ * horizon.spread + (1 - keep_) * error;
  learn_regressions(horizon, slot, value);
  said.by_expert.fill(not_said);
}

void Forecaster::issue(Horizon& horizon, Slot slot) const {
  const Slot target = slot + horizon.steps;
  Said& said = horizon.of(target);
  said.by_expert = experts_.forecast(past_, target);
  said.regressed.fill(not_said);
  const Moment here = moment(slot, target, said.by_expert);
  const bool is_warm = slot - past_.first() >= past_.steps_in(Past::day) + horizon.steps &&
                       offset_ > 0 && !std::isnan(here.level);
  if (is_warm) {
    const Regressions& all = horizon.regressions;
    const auto set = [&](Expert expert, double forecast) {
      said.by_expert[place_of(expert)] = static_cast<float>(forecast);
    };
    set(Expert::regression, here.of_difference(all.linear.predict(here.all(false))));
    set(Expert::regression_of_log, here.of_log_ratio(all.of_log.predict(here.all(true))));
    set(Expert::small_regression, here.of_difference(all.recent.predict(here.recent())));
  }
  for (std::size_t q = 0; q < quantiles; ++q) {
    if (q == 1 && is_warm) {
      const auto above = here.of_quantile(static_cast<double>(said.mixed[0]));
      const Regressions& all = horizon.regressions;
      said.regressed[1] = static_cast<float>(here.of_difference(all.of_p90.predict(above)));
      said.regressed[2] = static_cast<float>(here.of_difference(all.of_p99.predict(above)));
    }
    if (q == 1) said.scale = scale(horizon, static_cast<double>(said.mixed[0]), target);
    PerVoice voices = horizon.voices(said, q);
    if (is_cold()) std::fill(voices.begin() + 1, voices.end(), std::nan(""));
    double mixed = std::max(0.0, horizon.blends[q].mix(voices));
    if (q > 0)
      mixed = std::max(mixed + horizon.margin[q] * horizon.spread,
                       static_cast<double>(said.mixed[q - 1]));
    said.mixed[q] = static_cast<float>(mixed);
  }
  horizon.now = said.by_expert;
  horizon.said = {static_cast<double>(said.mixed[0]), static_cast<double>(said.mixed[1]),
                  static_cast<double>(said.mixed[2])};
}

void Forecaster::add(Slot slot, double value) {
  if (!std::isfinite(value) || value < 0 || (!past_.is_empty() && slot <= past_.last())) return;
  const Slot missing = past_.is_empty() ? 0 : slot - past_.last() - 1;
  for (Horizon& horizon : horizons_) score(horizon, slot, value);
  past_.add(slot, value);
  for (Horizon& horizon : horizons_)  // nobody spoke in a gap
    for (Slot ago = 1; ago <= std::min(missing, horizon.steps); ++ago)
      horizon.of(slot - ago).by_expert.fill(not_said);
  const double share = 1 - keep_of(level_memory, settings_.step);
  mean_ += share * (value - mean_);
  mean_weight_ += share * (1 - mean_weight_);
  const double wanted = 0.1 * mean_ / mean_weight_;
  if (wanted > 0 && (offset_ > 2 * wanted || offset_ < wanted / 2)) offset_ = wanted;
  experts_.learn(past_, slot, value);
  for (Horizon& horizon : horizons_) issue(horizon, slot);
}

Quantiles Forecaster::of_expert(std::size_t index, Expert expert) const {
  const Horizon& horizon = horizons_[index];
  const std::size_t k = place_of(expert);
  const auto forecast = static_cast<double>(horizon.now[k]);
  const Errors& errors = horizon.errors[k];
  return {forecast, std::max(errors.quantile(forecast, 1), 0.0),
          std::max(errors.quantile(forecast, 2), 0.0)};
}

std::size_t Forecaster::bytes() const {
  std::size_t bytes = sizeof *this + past_.bytes() + experts_.bytes();
  for (const Horizon& horizon : horizons_)
    bytes += sizeof horizon + horizon.pending.capacity() * sizeof(Said);
  return bytes;
}

}  // namespace classgate::history
