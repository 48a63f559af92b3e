#include "gateway/planning/backtest.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "conf/format.h"
#include "conf/units.h"

namespace classgate::planning {
namespace {

using history::Past;
using history::Quantiles;

// Sums while it is under way.
struct Sums {
  double errors = 0;
  double pinball_p90 = 0;
  double pinball_p99 = 0;
  double covered = 0;

  void add(const Quantiles& said, double came) {
    const auto pinball = [came](double at, double tau) {
      return came > at ? tau * (came - at) : (1 - tau) * (at - came);
    };
    errors += std::abs(came - said.p50);
    pinball_p90 += pinball(said.p90, 0.9);
    pinball_p99 += pinball(said.p99, 0.99);
    covered += came <= said.p90 ? 1 : 0;
  }
};

// NaN: there is nothing to divide by.
double by(double sum, double unit) {
  return unit > 0 ? sum / unit : sum == 0 ? 0 : std::numeric_limits<double>::quiet_NaN();
}

struct Compared {
  std::size_t compared = 0;
  double came = 0;
  Sums blend;
  std::array<Sums, history::experts> experts;
  // Absolute errors of each day: of the mixture, as now, as yesterday.
  std::vector<std::array<double, 3>> days;
};

// In the mean over the first half, or over all where that is no day.
double as_yesterday_error(const Series& series) {
  const auto day = static_cast<std::size_t>(Past::day / series.step);
  std::size_t end = series.values.size() / 2;
  if (end <= day) end = series.values.size();
  double sum = 0;
  std::size_t count = 0;
  for (std::size_t i = day; i < end; ++i)
    if (const double error = std::abs(series.values[i] - series.values[i - day]);
        !std::isnan(error)) {
      sum += error;
      ++count;
    }
  return count == 0 ? 0 : sum / static_cast<double>(count);
}

Score score(const Sums& sums, const Compared& trial, double scale) {
  const auto count = static_cast<double>(trial.compared);
  const double mean = sums.errors / count;
  return {by(mean, scale),          by(sums.errors, trial.came), sums.covered / count,
          sums.pinball_p90 / count, sums.pinball_p99 / count,    mean};
}

// The first day from which on every rest of the series, of three days at least, was forecast better
// than by either.
std::optional<std::size_t> useful_day(const Compared& trial) {
  constexpr std::size_t days_least = 3;
  std::array<double, 3> rest{};
  std::optional<std::size_t> since;
  const std::size_t days = trial.days.size();
  for (std::size_t day = days; day-- > 0;) {
    for (std::size_t k = 0; k < 3; ++k) rest[k] += trial.days[day][k];
    if (days - day < days_least) continue;
    if (rest[0] >= 0.99 * std::min(rest[1], rest[2])) break;
    since = day;
  }
  return since;
}

}  // namespace

std::string why_no_backtest(const Series& series, std::chrono::seconds horizon) {
  const auto there = series.step * static_cast<std::int64_t>(series.values.size());
  if (horizon < series.step)
    return fmt::format("a horizon of {} is less than a step, {}", conf::print_duration(horizon),
                       conf::print_duration(series.step));
  if (there > 2 * Past::day + horizon) return {};
  return fmt::format(
      "{}: too short: {} values are {}, and a forecast {} ahead is tried on more than two days "
      "and that",
      series.what, series.values.size(), conf::print_duration(there),
      conf::print_duration(horizon));
}

std::expected<Replay, std::string> replay(const Series& series,
                                          const std::vector<std::chrono::seconds>& horizons,
                                          std::shared_ptr<const conf::TimeZone> zone) {
  history::Forecaster forecaster(
      {.step = series.step, .horizons = horizons, .zone = std::move(zone)});
  const std::size_t size = series.values.size();
  const auto day = static_cast<std::size_t>(Past::day / series.step);
  std::vector<Compared> trials(horizons.size());
  for (std::size_t i = 0; i < size; ++i) {
    if (std::isnan(series.values[i])) continue;
    forecaster.add(series.first_slot + static_cast<std::int64_t>(i), series.values[i]);
    for (std::size_t h = 0; h < horizons.size(); ++h) {
      const std::size_t target = i + static_cast<std::size_t>(forecaster.steps_of(h));
      if (target >= size || std::isnan(series.values[target])) continue;
      const double came = series.values[target];
      Compared& trial = trials[h];
      const auto said_by = [&](history::Expert expert) {
        const Quantiles said = forecaster.of_expert(h, expert);
        // Until it has something to say, it is as now.
        return std::isnan(said.p50) ? forecaster.of_expert(h, history::Expert::as_now) : said;
      };
      if (trial.days.size() <= target / day) trial.days.resize(target / day + 1);
      auto& of_day = trial.days[target / day];
      of_day[0] += std::abs(came - forecaster.at(h).p50);
      of_day[1] += std::abs(came - said_by(history::Expert::as_now).p50);
      of_day[2] += std::abs(came - said_by(history::Expert::as_yesterday).p50);
      if (target < size / 2) continue;
      ++trial.compared;
      trial.came += came;
      trial.blend.add(forecaster.at(h), came);
      for (std::size_t k = 0; k < history::experts; ++k)
        trial.experts[k].add(said_by(static_cast<history::Expert>(k)), came);
    }
  }
  const double scale = as_yesterday_error(series);
  Replay replayed;
  for (std::size_t h = 0; h < horizons.size(); ++h) {
    const Compared& trial = trials[h];
    history::Quantiles& said = replayed.to_come.emplace_back(forecaster.at(h));
    if (trial.days.empty())  // no error has been seen: it can't tell how sure it is
      said.p90 = said.p99 = std::numeric_limits<double>::quiet_NaN();
    Backtest& test = replayed.backtests.emplace_back();
    test.horizon = series.step * forecaster.steps_of(h);
    test.compared = trial.compared;
    if (trial.compared == 0) continue;
    test.blend = score(trial.blend, trial, scale);
    for (std::size_t k = 0; k < history::experts; ++k)
      test.experts[k] = score(trial.experts[k], trial, scale);
    if (const auto since = useful_day(trial)) test.useful_since = series.time_of(*since * day);
  }
  return replayed;
}

}  // namespace classgate::planning
