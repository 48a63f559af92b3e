#pragma once

#include <array>
#include <chrono>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace classgate::conf {

// Which rule says how many servers there should be.
enum class ScalingRule { keda, kpa, hpa, forecast };
inline constexpr std::array scaling_rules{ScalingRule::keda, ScalingRule::kpa, ScalingRule::hpa,
                                          ScalingRule::forecast};
std::string_view word_of(ScalingRule rule);  // "KEDA"

// What `classgate forecast` is asked, beside a log, its format and where answers go.
struct ForecastOptions {
  std::string series = {};  // a CSV file; "-": standard input
  std::string of = {};      // a column by name, or of a log: "priority_3", "plan_free"; empty: all
  std::optional<std::chrono::seconds> horizon = {};  // none: the usual four
  std::optional<std::chrono::seconds> step = {};     // none: as found
  std::string time_zone = "UTC";                     // whose days and weeks
  bool backtest = false;                             // how good it was, and no forecast
  bool arrivals = false;                             // each row of the series is one
  std::vector<ScalingRule> autoscale = {};           // rules to be tried; none: no autoscaling
  std::chrono::seconds start_delay{60};              // from the wish for a server until it serves
  double per_server = 0;                             // the load that one takes; > 0 with autoscale
};

// As they stand on the command line: all that were given of each.
struct ForecastWords {
  std::vector<std::string> series, of, horizon, step, time_zone, autoscale, start_delay, per_server;
  bool backtest = false;
  bool arrivals = false;
};

// The error names the option and says what it takes.
std::expected<ForecastOptions, std::string> read_forecast(const ForecastWords& words);

}  // namespace classgate::conf
