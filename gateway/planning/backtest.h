#pragma once

#include <array>
#include <chrono>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "admission/history/forecast.h"
#include "gateway/planning/series.h"

namespace classgate::planning {

// How good forecasts of one kind were, over the second half of a series.
struct Score {
  double mase = 0;  // mean absolute error, by that of "as yesterday" over the first half
  double wape = 0;  // sum of absolute errors, by the sum of what came
  double coverage_p90 = 0;
  double pinball_p90 = 0;  // in units of the values
  double pinball_p99 = 0;
  double mean_error = 0;  // absolute, in units of the values
};

struct Backtest {
  std::chrono::seconds horizon{};
  std::size_t compared = 0;  // values, with what had been said of them
  Score blend;
  std::array<Score, history::experts> experts;
  // From then on it was better than as now and as yesterday, taken together.
  std::optional<std::chrono::sys_seconds> useful_since;
};

struct Replay {
  std::vector<Backtest> backtests;          // for each horizon
  std::vector<history::Quantiles> to_come;  // NaN: it can't tell how sure it is
};

// Forecasts the series value by value, as if each had just come. The error says why it can't: more
// than two days are needed where `backtest` is asked for.
std::expected<Replay, std::string> replay(const Series& series,
                                          const std::vector<std::chrono::seconds>& horizons,
                                          std::shared_ptr<const conf::TimeZone> zone);
// Empty, or why the series can't be tried with this horizon.
std::string why_no_backtest(const Series& series, std::chrono::seconds horizon);

}  // namespace classgate::planning
