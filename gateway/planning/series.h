#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <string>
#include <vector>

#include "conf/forecast_options.h"
#include "gateway/planning/conf_source.h"

namespace classgate::planning {

inline constexpr std::size_t series_steps_max = 5'000'000;

// A load, step by step.
struct Series {
  std::chrono::seconds step{};
  std::int64_t first_slot = 0;       // its time since 1970, in steps
  std::vector<double> values;        // 0 or more; NaN: missing
  std::string what;                  // "elb.csv, value": the file and the name of the column
  std::vector<std::string> remarks;  // what was made of rows that are not as they should be

  std::size_t missing() const;
  std::chrono::sys_seconds time_of(std::size_t index) const {
    return std::chrono::sys_seconds(step * (first_slot + static_cast<std::int64_t>(index)));
  }
};

// A CSV file (csv_row.h) with a header and a row for each step: its time (ISO 8601, "2026-11-28
// 09:30:00", or seconds since 1970 or since any moment, or milli-, micro- or nanoseconds since
// 1970) and its value, in the first two columns, or the value in
// the one that --of names. Its first lines say what separates its fields, how
// many there are, and how times are written: a row that is otherwise is an error, with its line.
// The step is what most rows are apart; rows of one step make their mean. Reads all of it: 5
// million rows at most.
std::expected<Series, std::string> read_series(const conf::ForecastOptions& options);

// Of an access log: what its requests cost, a minute, refused or served; of one priority or plan
// where --of names it.
std::expected<Series, std::string> read_demand(const conf::CommandLine& command,
                                               const Environment& environment);

}  // namespace classgate::planning
