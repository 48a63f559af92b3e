#include "admission/history/forecast_blend.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "conf/invariant.h"

namespace classgate::history {
namespace {

constexpr double power = 20;  // 3 % more loss halve a weight, nearly
// What one that says nothing loses, beside the mixture. Were it nothing, one that speaks for the
// first time after a storm would be the best of all: it has lost nothing in it.
constexpr double silence = 1.1;
// In units: a storm is one of many things that happen, and not all that counts for a week.
constexpr double loss_most = 20;
// So that experts without regret share what nobody has earned.
constexpr double weight_least = 1e-9;

}  // namespace

Blend::Blend(std::size_t of_experts, double tau, double keep)
    : experts_(of_experts), tau_(tau), keep_(keep) {
  CLASSGATE_INVARIANT(of_experts >= 1 && of_experts <= experts_max);
  for (std::size_t k = 0; k < experts_; ++k)
    records_[k].weight = 1.0 / static_cast<double>(experts_);
}

double Blend::loss_of(double forecast, double came) const {
  const double above = came - forecast;
  return above > 0 ? tau_ * above : (tau_ - 1) * above;
}

double Blend::combine(std::span<const double> forecasts) const {
  double sum = 0;
  double weights = 0;
  for (std::size_t k = 0; k < experts_; ++k)
    if (std::isfinite(forecasts[k])) {
      sum += (records_[k].weight + weight_least) * forecasts[k];
      weights += records_[k].weight + weight_least;
    }
  return weights == 0 ? std::numeric_limits<double>::quiet_NaN() : sum / weights;
}

double Blend::mix(std::span<const double> forecasts) const {
  const double combined = combine(forecasts);
  const auto said = [&](std::size_t k) { return k == experts_ ? combined : forecasts[k]; };
  double best = std::numeric_limits<double>::infinity();
  for (std::size_t k = 0; k <= experts_; ++k)
    if (records_[k].seen > 0 && std::isfinite(said(k)))
      best = std::min(best, mean_loss(records_[k]));
  if (!std::isfinite(best)) return combined;
  double sum = 0;
  double weights = 0;
  for (std::size_t k = 0; k <= experts_; ++k) {
    const Record& record = records_[k];
    if (record.seen == 0 || !std::isfinite(said(k))) continue;
    const double loss = mean_loss(record);
    const double weight = loss <= best ? 1 : std::pow(best / loss, power);
    sum += weight * said(k);
    weights += weight;
  }
  return sum / weights;
}

void Blend::learn(std::span<const double> forecasts, double came, double unit) {
  const double combined = combine(forecasts);
  if (!std::isfinite(combined) || !std::isfinite(came) || !(unit > 0)) return;
  const double gradient = combined > came ? 1 - tau_ : combined < came ? -tau_ : 0;
  double total = 0;
  const double of_mixture = loss_of(mix(forecasts), came) / unit;
  for (std::size_t k = 0; k <= experts_; ++k) {
    const double said = k == experts_ ? combined : forecasts[k];
    const bool has_said = std::isfinite(said);
    const double loss = has_said ? loss_of(said, came) / unit : silence * of_mixture;
    const double regret = has_said ? gradient * (combined - said) / unit : 0;
    Record& record = records_[k];
    record.loss = keep_ * record.loss + std::min(loss, loss_most);
    record.seen = keep_ * record.seen + 1;
    record.regret = keep_ * record.regret + std::clamp(regret, -loss_most, loss_most);
    record.square = keep_ * record.square + std::min(regret * regret, loss_most * loss_most);
  }
  const auto earned = [](const Record& record) {
    return std::max(record.regret, 0.0) / (1 + record.square);
  };
  for (std::size_t k = 0; k < experts_; ++k) total += earned(records_[k]);
  if (total <= 0) return;  // none is better than the combination
  for (std::size_t k = 0; k < experts_; ++k) records_[k].weight = earned(records_[k]) / total;
}

}  // namespace classgate::history
