#pragma once

#include <array>
#include <cstddef>
#include <string_view>
#include <vector>

#include "admission/history/forecast_past.h"
#include "admission/history/forecast_ridge.h"

namespace classgate::history {

// Who forecasts by itself. The first six are the field's usual ones; the rest answer what they
// miss.
enum class Expert : std::size_t {
  as_now,        // the last value
  as_yesterday,  // at the same time
  as_last_week,
  holt_winters,       // level, damped trend, a season of a day, all additive
  harmonic,           // regression on sines of a day and of a week
  shape,              // of a day and a week, x the level of the last hours
  last_hour,          // its mean
  last_day,           // its mean
  eased,              // as now, a seventh of the way back to the median of the last day
  eased_more,         // a third of the way
  carried,            // what last week and yesterday say, and part of what they are wrong by now
  regression,         // on recent values, seasons and the experts above, relative to the last day
  regression_of_log,  // the same of logarithms
  small_regression,   // on recent values alone: little to learn, so learnt soon
};
inline constexpr std::size_t experts = 14;
constexpr std::size_t place_of(Expert expert) { return static_cast<std::size_t>(expert); }
std::string_view word_of(Expert expert);

using Forecasts = std::array<float, experts>;  // NaN: has nothing to say

// Holt-Winters with additive season and damped trend (Gardner 1985): constants are times, so that
// it is the same whatever the step.
class HoltWinters {
 public:
  explicit HoltWinters(const Past& past);
  void learn(const Past& past, Slot slot, double value);
  double forecast(const Past& past, Slot target) const;  // NaN: no day has been seen
  std::size_t bytes() const { return season_.capacity() * sizeof(float); }

 private:
  std::size_t season_of(const Past& past, Slot slot) const;
  double alpha_;
  double beta_;
  double damping_;
  std::vector<float> season_;
  double level_ = 0;
  double trend_ = 0;
  Slot last_ = 0;
  std::size_t learnt_ = 0;
};

// How loads of a day and of a week go, relative to their level, by the clock.
class Shape {
 public:
  explicit Shape(const Past& past);
  void learn(const Past& past, Slot slot, double value);
  double relative(const Past& past, Slot slot) const;  // 1: as the mean
  double forecast(const Past& past, Slot now, Slot target) const;
  std::size_t bytes() const { return (day_.capacity() + week_.capacity()) * sizeof(Bin); }

 private:
  struct Bin {
    float mean = 0;
    float count = 0;
  };
  static void follow(Bin& bin, double value, double share);
  double level_of(const Past& past, Slot now) const;
  std::size_t bins_;  // of a day
  std::vector<Bin> day_;
  std::vector<Bin> week_;
  double level_ = 0;
  double weight_ = 0;
  // Of the moment that all horizons speak at.
  mutable Slot level_at_ = -1;
  mutable double level_now_ = 0;
};

// Regression on four sines of a day and three of a week, each with its cosine.
class Harmonics {
 public:
  explicit Harmonics(const Past& past);
  void learn(const Past& past, Slot slot, double value);
  double forecast(const Past& past, Slot target) const;

 private:
  static Ridge::Vector terms(std::chrono::seconds time_of_week);
  Ridge ridge_;
  double level_ = 0;
  std::size_t learnt_ = 0;
  std::size_t day_;
};

// All simple experts of a series. One thread.
class Experts {
 public:
  explicit Experts(const Past& past);
  void learn(const Past& past, Slot slot, double value);
  // What they say at `past.last()` of a slot to come.
  Forecasts forecast(const Past& past, Slot target) const;
  std::size_t bytes() const { return holt_winters_.bytes() + shape_.bytes(); }

 private:
  HoltWinters holt_winters_;
  Harmonics harmonics_;
  Shape shape_;
};

}  // namespace classgate::history
