#pragma once

#include "admission/history/forecast_experts.h"
#include "admission/history/forecast_past.h"
#include "admission/history/forecast_ridge.h"

namespace classgate::history {

// What the regressions see of a moment: values relative to the mean of the day before it, so that
// what was learnt of a small load holds for a large one. They are computed anew from the past when
// what came is known, rather than kept for as long as the horizon is.
struct Moment {
  const Past& past;
  Slot now;     // nothing later is looked at
  Slot target;  // the slot that is forecast
  const Forecasts& said;
  double level;   // the mean of the day before, > 0 or the offset is
  double offset;  // > 0; so that zeros have a logarithm

  double difference(double value) const;  // from the level, in units of it
  double log_ratio(double value) const;
  double of_difference(double difference) const;
  double of_log_ratio(double ratio) const;  // bounded: e^5 times the level at most

  // Recent values, seasons and simple experts.
  Ridge::Vector all(bool is_log) const;
  // Recent values alone.
  Ridge::Vector recent() const;
  // What says how far above the median, `p50`, a quantile lies.
  Ridge::Vector of_quantile(double p50) const;
};

}  // namespace classgate::history
