#include "admission/simulation/draw.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace classgate::simulation {
namespace {

using conf::Law;

constexpr double most = 86'400e9;         // ns
constexpr double normal_p95 = 1.6448536;  // of the standard normal distribution

double nanoseconds(conf::Nanoseconds time) { return static_cast<double>(time.count()); }

double sigma_of(const Law& law) {
  return std::log(nanoseconds(law.second) / nanoseconds(law.first)) / normal_p95;
}

// Box and Muller's; one of the two is enough.
double draw_normal(Random& random) {
  const double radius = std::sqrt(-2 * std::log(random.unit()));
  return radius * std::cos(2 * std::numbers::pi * random.unit());
}

double draw_ns(const Law& law, Random& random) {
  const double first = nanoseconds(law.first);
  switch (law.kind) {
    case Law::Kind::fixed: return first;
    case Law::Kind::exponential: return -std::log(random.unit()) * first;
    case Law::Kind::uniform: return first + random.unit() * (nanoseconds(law.second) - first);
    case Law::Kind::lognormal: return first * std::exp(sigma_of(law) * draw_normal(random));
    case Law::Kind::pareto:
      return first * (law.shape - 1) / law.shape * std::pow(random.unit(), -1 / law.shape);
  }
  return first;
}

}  // namespace

admission::Duration draw(const Law& law, Random& random) {
  if (law.kind == Law::Kind::fixed) return law.first;
  return admission::Duration(
      static_cast<admission::Duration::rep>(std::clamp(draw_ns(law, random), 0.0, most)));
}

double mean_seconds(const Law& law) {
  const double first = nanoseconds(law.first) / 1e9;
  switch (law.kind) {
    case Law::Kind::uniform: return (first + nanoseconds(law.second) / 1e9) / 2;
    case Law::Kind::lognormal: return first * std::exp(sigma_of(law) * sigma_of(law) / 2);
    default: return first;
  }
}

}  // namespace classgate::simulation
