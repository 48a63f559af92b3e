#pragma once

#include <chrono>
#include <expected>
#include <optional>
#include <string>
#include <vector>

namespace classgate::conf {

// What `classgate forecast` is asked, beside a log, its format and where answers go.
struct ForecastOptions {
  std::string series = {};                           // a CSV file; "-": standard input
  std::optional<std::chrono::seconds> horizon = {};  // none: the usual four
  std::optional<std::chrono::seconds> step = {};     // none: as found
  std::string time_zone = "UTC";                     // whose days and weeks
  bool backtest = false;                             // how good it was, and no forecast
  bool arrivals = false;                             // each row of the series is one
};

// As they stand on the command line: all that were given of each.
struct ForecastWords {
  std::vector<std::string> series, horizon, step, time_zone;
  bool backtest = false;
  bool arrivals = false;
};

// The error names the option and says what it takes.
std::expected<ForecastOptions, std::string> read_forecast(const ForecastWords& words);

}  // namespace classgate::conf
