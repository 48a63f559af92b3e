#include "admission/history/forecast_features.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace classgate::history {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
constexpr seconds an_hour{3'600};
constexpr double not_there = std::numeric_limits<double>::quiet_NaN();
constexpr double constant_term = 0.3;  // the constant, about as large as the others are

// What is missing is as the level.
double or_zero(double value) { return std::isnan(value) ? 0 : value; }

double said_by(const Moment& moment, Expert expert) {
  return static_cast<double>(moment.said[place_of(expert)]);
}

// The mean of 40 minutes around a slot.
double around(const Moment& moment, Slot centre) {
  const Slot half = moment.past.steps_in(an_hour / 3);
  const Slot end = std::min(centre + half, moment.now);
  const Slot begin = centre - half;
  return end < begin ? not_there : moment.past.mean(end, end - begin + 1);
}

// In radians of a day, by the clock.
double angle_of(const Past& past, Slot slot) {
  const auto time = past.time_of_week(slot) % Past::day;
  return 2 * std::numbers::pi * static_cast<double>(time.count()) /
         static_cast<double>(Past::day.count());
}

}  // namespace

double Moment::difference(double value) const { return (value - level) / (level + offset); }
double Moment::log_ratio(double value) const {
  return std::log((value + offset) / (level + offset));
}
double Moment::of_difference(double difference) const {
  return std::max(0.0, level + difference * (level + offset));
}
double Moment::of_log_ratio(double ratio) const {
  return std::max(0.0, std::exp(std::min(ratio, 5.0)) * (level + offset) - offset);
}

Ridge::Vector Moment::all(bool is_log) const {
  const auto relative = [&](double value) {
    return or_zero(is_log ? log_ratio(value) : difference(value));
  };
  const double angle = angle_of(past, target);
  return {constant_term,
          relative(said_by(*this, Expert::as_now)),
          relative(said_by(*this, Expert::last_hour)),
          relative(past.mean(now - past.steps_in(an_hour), past.steps_in(an_hour))),
          relative(past.mean(now, past.steps_in(3 * an_hour))),
          relative(around(*this, past.days_before(target, 1))),
          relative(around(*this, past.days_before(now, 1))),
          relative(around(*this, past.days_before(target, 7))),
          relative(around(*this, past.days_before(now, 7))),
          relative(said_by(*this, Expert::holt_winters)),
          relative(said_by(*this, Expert::harmonic)),
          relative(said_by(*this, Expert::shape)),
          constant_term * std::sin(angle),
          constant_term * std::cos(angle),
          relative(past.at(now - 1)),
          relative(said_by(*this, Expert::as_yesterday))};
}

Ridge::Vector Moment::recent() const {
  const auto relative = [&](double value) { return or_zero(difference(value)); };
  const double last = past.last_known(now);
  const double median = past.quantile(now, Past::day, minutes(10), 0.5);
  // Most of what falls to a tenth comes back: an outage, or a hole in what was measured.
  const double fallen = last < 0.1 * median ? relative(median) - relative(last) : 0;
  return {constant_term,
          relative(last),
          relative(past.mean(now, past.steps_in(minutes(20)))),
          relative(past.mean(now, past.steps_in(an_hour))),
          relative(past.mean(now, past.steps_in(3 * an_hour))),
          relative(median),
          relative(past.quantile(now, 7 * Past::day, an_hour, 0.5)),
          fallen};
}

Ridge::Vector Moment::of_quantile(double p50) const {
  const auto relative = [&](double value) { return or_zero(difference(value)); };
  const auto scaled = [&](double value) { return or_zero(value / (level + offset)); };
  const double angle = angle_of(past, target);
  return {constant_term,
          relative(said_by(*this, Expert::as_now)),
          relative(past.quantile(now, Past::day, minutes(10), 0.5)),
          relative(past.quantile(now, Past::day, minutes(10), 0.9)),
          relative(said_by(*this, Expert::last_hour)),
          scaled(past.hourly_change(now, 6 * an_hour)),
          scaled(past.hourly_change(now, Past::day)),
          relative(said_by(*this, Expert::shape)),
          relative(p50),
          relative(past.quantile(now, 3 * an_hour, minutes(10), 1)),
          relative(said_by(*this, Expert::as_yesterday)),
          relative(said_by(*this, Expert::harmonic)),
          constant_term * std::sin(angle),
          constant_term * std::cos(angle),
          relative(said_by(*this, Expert::last_day)),
          relative(past.mean(now, past.steps_in(3 * an_hour)))};
}

}  // namespace classgate::history
