#pragma once

#include <array>
#include <chrono>
#include <memory>
#include <vector>

#include "admission/history/forecast_blend.h"
#include "admission/history/forecast_experts.h"
#include "admission/history/forecast_features.h"
#include "admission/history/forecast_past.h"
#include "admission/history/forecast_ridge.h"
#include "conf/time_zone.h"

namespace classgate::history {

struct Quantiles {
  double p50 = 0;
  double p90 = 0;
  double p99 = 0;
};

struct ForecastSettings {
  std::chrono::seconds step{60};  // 1 min to 1 h; a day is a whole number of steps
  // A step to a day; each is rounded to steps, one at least.
  std::vector<std::chrono::seconds> horizons{std::chrono::minutes(5), std::chrono::minutes(15),
                                             std::chrono::hours(1), std::chrono::hours(24)};
  std::shared_ptr<const conf::TimeZone> zone = {};  // whose days and weeks; null: UTC
};

// What a load will be in a while, and how surely. No clock, no I/O: time is the slot of a value.
//
// A set of experts (forecast_experts.h) says each what it thinks; three regressions are learnt on
// recent values, seasons and those experts. For each horizon and quantile a Blend weighs them by
// their recent loss. A quantile of an expert is its forecast and what its own errors add,
//   x_q = x + above_q spread,  above_q += rate ([error > above_q spread] - (1 - q))
// (adaptive conformal inference, Gibbs and Candes 2021): the share that comes out above stays near
// 1 - q, whatever the errors are like and however they change. A quantile regression is one more
// for p90 and p99. So is the mixture's median with what its own errors add, in units of how wide
// they are at that hour of the day, how wide they were in the last hours, and both together with
// the size of what is forecast. A last margin of the same kind keeps the mixture honest.
//
// For the first day it is as the last value: nobody knows better. Bounds: steps of a minute and the
// four horizons above take less than 256 KiB and 1 ms a value. One thread.
class Forecaster {
 public:
  explicit Forecaster(ForecastSettings settings);

  // A value, finite and 0 or more, of a slot later than all before (others are left out). Slots
  // between are missing: nothing is learnt of them.
  void add(Slot slot, double value);

  // Of the slot that is horizon `index` after the last added; zeros before the first.
  Quantiles at(std::size_t index) const { return horizons_[index].said; }
  // What one expert alone says, with quantiles of its own errors; NaN: nothing yet.
  Quantiles of_expert(std::size_t index, Expert expert) const;
  Slot steps_of(std::size_t index) const { return horizons_[index].steps; }
  std::size_t horizons() const { return horizons_.size(); }
  bool is_cold() const;       // no day is there yet
  std::size_t bytes() const;  // that it holds

 private:
  static constexpr std::size_t quantiles = 3;
  static constexpr std::array<double, quantiles> taus{0.5, 0.9, 0.99};
  using PerQuantile = std::array<float, quantiles>;
  // How wide the errors of the mixture's median will be, told in three ways.
  enum Scale : std::size_t { of_hour, of_late, of_all };
  static constexpr std::size_t scales = 3;
  using PerScale = std::array<float, scales>;
  // Experts, the quantile regression, the median and a multiple of each scale.
  using PerVoice = std::array<double, experts + 1 + scales>;
  static constexpr std::size_t hours = 24;

  // How far above a forecast its quantiles lie, in units of a scale of its errors.
  struct Above {
    std::array<double, quantiles> times{0, 1.5, 3.5};
    double seen = 0;
    void learn(double error, double scale);
  };
  // How wrong one has been, and how far above it a quantile therefore lies, in units of its spread.
  struct Errors {
    double spread = 0;  // the mean absolute error, mostly of the last ten days
    Above above;
    void learn(double error, double keep);
    double quantile(double forecast, std::size_t q) const {
      return forecast + above.times[q] * spread;
    }
  };
  // What was said of a slot that has not come yet.
  struct Said {
    Forecasts by_expert;
    PerQuantile regressed;
    PerQuantile mixed;
    PerScale scale;
  };
  struct Regressions {
    Regressions(std::chrono::seconds step);
    Ridge linear, of_log, recent, of_p90, of_p99;
  };
  struct Horizon {
    Horizon(Slot steps, std::chrono::seconds step);
    Slot steps;
    std::vector<Said> pending;  // by slot; nothing was said: NaN of as_now
    Regressions regressions;
    std::array<Errors, experts> errors;
    std::array<Blend, quantiles> blends;
    std::array<double, quantiles> margin{};  // in units of the spread
    double spread = 0;                       // of the mixture, as Errors has it
    double late = 0;                         // the same, of the last hours
    double relative = 0;                     // the same as spread, but to what was forecast
    std::array<float, hours> by_hour{};      // of the day; 0: not known
    std::array<Above, scales> above;
    Forecasts now{};
    Quantiles said;
    Said& of(Slot slot) { return pending[static_cast<std::size_t>(slot % steps)]; }
    PerVoice voices(const Said& said, std::size_t q) const;
  };

  Moment moment(Slot now, Slot target, const Forecasts& said) const;
  void score(Horizon& horizon, Slot slot, double value) const;
  void learn_regressions(Horizon& horizon, Slot slot, double value) const;
  std::size_t hour_of(Slot slot) const;
  PerScale scale(const Horizon& horizon, double p50, Slot target) const;
  void learn_scales(Horizon& horizon, double p50, double value, Slot slot) const;
  void issue(Horizon& horizon, Slot slot) const;

  ForecastSettings settings_;
  Past past_;
  Experts experts_;
  std::vector<Horizon> horizons_;
  double keep_;        // of spreads
  double offset_ = 0;  // added before logarithms are taken: a tenth of the mean of a week
  double mean_ = 0;    // of a week
  double mean_weight_ = 0;
};

}  // namespace classgate::history
