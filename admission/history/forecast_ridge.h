#pragma once

#include <array>
#include <cstddef>

namespace classgate::history {

// A linear regression that is learnt sample by sample and forgets, with weights that make it follow
// a quantile `tau`, the median by default: each sample counts 1 / its residual (iteratively
// reweighted least squares, so the sum of absolute errors is what gets small; tau weighs those
// above and below), old ones fade by `keep` a sample.
//   A = keep A + w x xT,  b = keep b + w x y,  (A + ridge I) theta = b + ridge prior
// Solved by Cholesky once a sample: about 2,000 operations.
class Ridge {
 public:
  static constexpr std::size_t features = 16;
  using Vector = std::array<double, features>;

  // `keep` in (0, 1); the prior holds until samples speak against it.
  Ridge(double keep, double ridge, const Vector& prior, double tau = 0.5);

  double predict(const Vector& x) const;
  // `weight`: what an error costs here, beside others. Values that are not finite are left out.
  void learn(const Vector& x, double y, double weight);

 private:
  void solve();

  double keep_;
  double ridge_;
  double tau_;
  Vector prior_;
  Vector theta_;
  std::array<std::array<float, features>, features> a_{};  // the lower half
  Vector b_{};
  double spread_ = 0;  // of residuals, in the mean
};

}  // namespace classgate::history
