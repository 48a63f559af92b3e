#include "admission/history/forecast_experts.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace classgate::history {
namespace {

using std::chrono::seconds;
constexpr double nothing = std::numeric_limits<double>::quiet_NaN();
constexpr seconds hour_time{3'600};

double steps(seconds time, seconds step) {
  return static_cast<double>(time.count()) / static_cast<double>(step.count());
}

// The share of the newest, for a mean over about `time`.
double share_of(seconds time, seconds step) { return 1 - std::exp(-1 / steps(time, step)); }

// Around the same time so many days before, by what was known at `now`.
double around(const Past& past, Slot now, Slot target, int days) {
  const Slot centre = past.days_before(target, days);
  for (const int wide : {20, 60, 120}) {
    const Slot half = wide * 60 / past.step().count();
    const Slot end = std::min(centre + half, now);
    if (end < centre - half) return nothing;
    if (const double mean = past.mean(end, end - (centre - half) + 1); !std::isnan(mean))
      return mean;
  }
  return nothing;
}

// The same time so many days before; what is missing there is taken from around it.
double at_day(const Past& past, Slot now, Slot target, int days) {
  const Slot slot = past.days_before(target, days);
  if (slot <= now)
    if (const double value = past.at(slot); !std::isnan(value)) return value;
  return around(past, now, target, days);
}

}  // namespace

std::string_view word_of(Expert expert) {
  constexpr std::array<std::string_view, experts> words{
      "as_now",  "as_yesterday", "as_last_week",      "holt_winters",    "harmonic",
      "shape",   "last_hour",    "last_day",          "eased",           "eased_more",
      "carried", "regression",   "regression_of_log", "small_regression"};
  return words[place_of(expert)];
}

HoltWinters::HoltWinters(const Past& past)
    : alpha_(share_of(hour_time, past.step())),
      beta_(share_of(6 * hour_time, past.step())),
      damping_(std::exp(-1 / steps(hour_time, past.step()))),
      season_(static_cast<std::size_t>(past.steps_in(Past::day)), 0.0F) {}

std::size_t HoltWinters::season_of(const Past& past, Slot slot) const {
  const auto of_day = past.time_of_week(slot) % Past::day;
  return static_cast<std::size_t>(of_day / past.step()) % season_.size();
}

void HoltWinters::learn(const Past& past, Slot slot, double value) {
  constexpr double gamma = 0.3;
  const std::size_t place = season_of(past, slot);
  if (learnt_++ == 0) {
    level_ = value;
    last_ = slot;
    return;
  }
  const double before = level_;
  const double season = static_cast<double>(season_[place]);
  const bool is_first_day = learnt_ <= season_.size();
  const double alpha = is_first_day ? share_of(12 * hour_time, past.step()) : alpha_;
  level_ = alpha * (value - season) + (1 - alpha) * (level_ + damping_ * trend_);
  trend_ = is_first_day ? 0 : beta_ * (level_ - before) + (1 - beta_) * damping_ * trend_;
  season_[place] = static_cast<float>(
      is_first_day ? value - level_ : season + gamma * (1 - alpha) * (value - level_ - season));
  last_ = slot;
}

double HoltWinters::forecast(const Past& past, Slot target) const {
  if (learnt_ <= season_.size()) return nothing;
  const auto ahead = static_cast<double>(target - last_);
  const double trend = trend_ * damping_ * (1 - std::pow(damping_, ahead)) / (1 - damping_);
  return level_ + trend + static_cast<double>(season_[season_of(past, target)]);
}

Shape::Shape(const Past& past)
    : bins_(static_cast<std::size_t>(Past::day / std::max(past.step(), seconds(600)))),
      day_(bins_),
      week_(bins_ * 7) {}

void Shape::follow(Bin& bin, double value, double share) {
  bin.count += 1;
  const double a = std::max(share, 1.0 / static_cast<double>(bin.count));
  bin.mean += static_cast<float>(a * (value - static_cast<double>(bin.mean)));
}

void Shape::learn(const Past& past, Slot slot, double value) {
  level_at_ = -1;
  const double share = share_of(72 * hour_time, past.step());
  weight_ += share * (1 - weight_);
  level_ += share * (value - level_);
  const double level = level_ / weight_;
  if (!(level > 0)) return;
  const auto time = past.time_of_week(slot);
  const auto bin = static_cast<double>(Past::day.count()) / static_cast<double>(bins_);
  const auto place = static_cast<std::size_t>(static_cast<double>(time.count()) / bin);
  const double per_bin = std::max(1.0, bin / static_cast<double>(past.step().count()));
  const double relative = std::min(value / level, 20.0);
  follow(day_[place % bins_], relative, 0.25 / per_bin);
  follow(week_[place % week_.size()], relative, 0.35 / per_bin);
}

double Shape::relative(const Past& past, Slot slot) const {
  const auto bin = static_cast<double>(Past::day.count()) / static_cast<double>(bins_);
  const double middle =
      static_cast<double>((past.time_of_week(slot) + past.step() / 2).count()) / bin - 0.5;
  const double floor = std::floor(middle);
  const double part = middle - floor;
  const double per_bin = std::max(1.0, bin / static_cast<double>(past.step().count()));
  double sum = 0;
  double weights = 0;
  for (const int offset : {0, 1}) {
    const auto wrapped = static_cast<std::size_t>(
        (static_cast<long>(floor) + offset + static_cast<long>(week_.size())));
    const Bin& day = day_[wrapped % bins_];
    const Bin& week = week_[wrapped % week_.size()];
    if (day.count == 0) continue;
    const double of_week =
        week.count == 0 ? 0 : 1 - 0.5 / (static_cast<double>(week.count) / per_bin);
    const double w = std::clamp(of_week, 0.0, 0.85);
    const double share = offset == 0 ? 1 - part : part;
    sum += share * (w * static_cast<double>(week.mean) + (1 - w) * static_cast<double>(day.mean));
    weights += share;
  }
  return weights > 0 ? sum / weights : nothing;
}

double Shape::forecast(const Past& past, Slot now, Slot target) const {
  const double relative = this->relative(past, target);
  if (std::isnan(relative)) return nothing;
  if (level_at_ != now) {
    level_now_ = level_of(past, now);
    level_at_ = now;
  }
  return level_now_ * relative;
}

double Shape::level_of(const Past& past, Slot now) const {
  // The level of the last three hours, newer ones more.
  const Slot window = past.steps_in(3 * hour_time);
  const double keep = 1 - share_of(hour_time, past.step());
  double values = 0;
  double shapes = 0;
  double weight = 1;
  for (Slot slot = now; slot > now - window; --slot, weight *= keep) {
    const double value = past.at(slot);
    const double shape = std::isnan(value) ? nothing : this->relative(past, slot);
    if (std::isnan(shape)) continue;
    values += weight * value;
    shapes += weight * shape;
  }
  const double typical = level_ / std::max(weight_, 1e-9);
  // A little of the long level, so that a night of zeros does not divide by nothing.
  return (values + 0.05 * typical) / (shapes + 0.05);
}

Ridge::Vector Harmonics::terms(seconds time) {
  Ridge::Vector x{};
  x[0] = 1;
  std::size_t next = 1;
  const auto add = [&](double turns) {
    const double angle = turns * 2 * std::numbers::pi;
    x[next++] = std::sin(angle);
    x[next++] = std::cos(angle);
  };
  const double days = steps(time, Past::day);
  for (const double k : {1.0, 2.0, 3.0, 4.0}) add(k * days);
  for (const double k : {1.0, 2.0, 3.0}) add(k * days / 7);
  return x;
}

Harmonics::Harmonics(const Past& past)
    : ridge_(1 - share_of(10 * Past::day, past.step()), 1.0, {}),
      day_(static_cast<std::size_t>(past.steps_in(Past::day))) {}

void Harmonics::learn(const Past& past, Slot slot, double value) {
  // Relative to the first level that there is, which only keeps numbers near one.
  if (level_ == 0) level_ = value;
  if (level_ == 0) return;
  ++learnt_;
  ridge_.learn(terms(past.time_of_week(slot)), value / level_, 1);
}

double Harmonics::forecast(const Past& past, Slot target) const {
  if (learnt_ <= day_) return nothing;
  return level_ * ridge_.predict(terms(past.time_of_week(target)));
}

Experts::Experts(const Past& past) : holt_winters_(past), harmonics_(past), shape_(past) {}

void Experts::learn(const Past& past, Slot slot, double value) {
  holt_winters_.learn(past, slot, value);
  harmonics_.learn(past, slot, value);
  shape_.learn(past, slot, value);
}

Forecasts Experts::forecast(const Past& past, Slot target) const {
  const Slot now = past.last();
  std::array<double, experts> said;
  said.fill(nothing);
  const auto set = [&](Expert expert, double value) {
    said[place_of(expert)] = std::max(value, 0.0);
  };
  const double last = past.last_known(now);
  set(Expert::as_now, last);
  const double yesterday = at_day(past, now, target, 1);
  const double last_week = at_day(past, now, target, 7);
  said[place_of(Expert::as_yesterday)] = yesterday;
  said[place_of(Expert::as_last_week)] = last_week;
  const double hour_mean = past.mean(now, past.steps_in(hour_time));
  said[place_of(Expert::last_hour)] = hour_mean;
  if (now - past.first() >= past.steps_in(Past::day)) {
    const auto keep = [&](Expert expert, double value) {
      if (!std::isnan(value)) set(expert, value);
    };
    keep(Expert::holt_winters, holt_winters_.forecast(past, target));
    keep(Expert::harmonic, harmonics_.forecast(past, target));
    keep(Expert::shape, shape_.forecast(past, now, target));
    keep(Expert::last_day, past.mean(now, past.steps_in(Past::day)));
    // The last value alone is mostly noise where steps are short.
    const double recent = past.mean(now, past.steps_in(seconds(900)));
    const double fresh = 0.75 * last + 0.25 * recent;
    const double median = past.quantile(now, Past::day, seconds(600), 0.5);
    keep(Expert::eased, fresh + (median - fresh) / 7);
    keep(Expert::eased_more, fresh + (median - fresh) / 3);
    const double a = around(past, now, target, 1);
    const double b = around(past, now, target, 7);
    const double base = std::isnan(b) ? a : std::isnan(a) ? b : (a + b) / 2;
    const double a0 = around(past, now, now, 1);
    const double b0 = around(past, now, now, 7);
    const double base0 = std::isnan(b) ? a0 : std::isnan(a) ? b0 : (a0 + b0) / 2;
    if (!std::isnan(base) && !std::isnan(base0) && !std::isnan(hour_mean))
      keep(Expert::carried, base + 0.7 * ((last + hour_mean) / 2 - base0));
  }
  Forecasts forecasts;
  std::ranges::transform(said, forecasts.begin(), [](double v) { return static_cast<float>(v); });
  return forecasts;
}

}  // namespace classgate::history
