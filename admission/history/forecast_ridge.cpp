#include "admission/history/forecast_ridge.h"

#include <algorithm>
#include <cmath>

namespace classgate::history {

Ridge::Ridge(double keep, double ridge, const Vector& prior, double tau)
    : keep_(keep), ridge_(ridge), tau_(tau), prior_(prior), theta_(prior) {}

double Ridge::predict(const Vector& x) const {
  double sum = 0;
  for (std::size_t i = 0; i < features; ++i) sum += theta_[i] * x[i];
  return sum;
}

void Ridge::learn(const Vector& x, double y, double weight) {
  constexpr double spread_keep = 0.98;
  const double error = y - predict(x);
  const double residual = std::abs(error);
  if (!std::isfinite(residual) || !std::isfinite(weight)) return;
  spread_ = spread_ == 0 ? residual : spread_keep * spread_ + (1 - spread_keep) * residual;
  // Relative to the spread, so that weights have no unit and the ridge means the same everywhere.
  const double unit = std::max(spread_, 1e-9);
  const double least = 0.2;
  const double side = 2 * (error > 0 ? tau_ : 1 - tau_);
  const double w = side * std::min(weight, 100.0) / std::max(residual / unit, least);
  for (std::size_t i = 0; i < features; ++i) {
    b_[i] = keep_ * b_[i] + w * x[i] * y;
    for (std::size_t j = 0; j <= i; ++j)
      a_[i][j] = static_cast<float>(keep_ * static_cast<double>(a_[i][j]) + w * x[i] * x[j]);
  }
  solve();
}

void Ridge::solve() {
  std::array<Vector, features> l{};
  for (std::size_t i = 0; i < features; ++i)
    for (std::size_t j = 0; j <= i; ++j) {
      double sum = static_cast<double>(a_[i][j]) + (i == j ? ridge_ : 0);
      for (std::size_t k = 0; k < j; ++k) sum -= l[i][k] * l[j][k];
      if (i != j)
        l[i][j] = sum / l[j][j];
      else if (sum > ridge_ * 1e-6)
        l[i][i] = std::sqrt(sum);
      else
        return;  // not positive by rounding: the last solution stands
    }
  Vector z{};
  for (std::size_t i = 0; i < features; ++i) {
    double sum = b_[i] + ridge_ * prior_[i];
    for (std::size_t k = 0; k < i; ++k) sum -= l[i][k] * z[k];
    z[i] = sum / l[i][i];
  }
  for (std::size_t i = features; i-- > 0;) {
    double sum = z[i];
    for (std::size_t k = i + 1; k < features; ++k) sum -= l[k][i] * theta_[k];
    theta_[i] = sum / l[i][i];
  }
}

}  // namespace classgate::history
