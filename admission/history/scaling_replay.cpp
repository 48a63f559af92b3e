#include "admission/history/scaling_replay.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "admission/history/forecast.h"
#include "admission/history/scaling_rules.h"

namespace classgate::history {
namespace {

using std::chrono::seconds;

double number(auto value) { return static_cast<double>(value); }

// The p90 of a load when a server that is started now will serve, on the same kind of line as the
// load itself.
class LoadAhead {
 public:
  LoadAhead(const LoadCurve& load, const ScalingSettings& settings)
      : load_(minutes_of(load)),
        delay_(settings.start_delay),
        nearest_(static_cast<Slot>(std::floor(number(delay_.count()) / number(step()) + 0.5))),
        forecaster_({.step = load_.step, .horizons = horizons(), .zone = settings.zone}) {}

  // NaN before the first step is over.
  double at(seconds now) {
    const Slot over = now / load_.step;
    for (; added_ < over; ++added_) {
      const double value = load_.values[static_cast<std::size_t>(added_)];
      if (std::isnan(value)) continue;
      forecaster_.add(load_.first_slot + added_, value);
      last_ = added_;
      last_value_ = value;
    }
    if (!last_) return std::numeric_limits<double>::quiet_NaN();
    // Steps from the middle of the last known one.
    const double ahead = number((now + delay_).count()) / number(step()) - 0.5 - number(*last_);
    const double place = std::clamp(ahead - number(nearest_), 0.0, 2.0);
    const auto left = std::min<std::size_t>(static_cast<std::size_t>(place), 1);
    return std::lerp(said(left), said(left + 1), place - number(left));
  }

 private:
  static LoadCurve minutes_of(const LoadCurve& load) {
    const seconds minute(60);
    LoadCurve by_minute{minute, load.first_slot * load.step.count() / minute.count(), {}};
    for (seconds at{0}; at < load.length(); at += minute)
      by_minute.values.push_back(load.is_known(at) ? load.at(at + minute / 2)
                                                 : std::numeric_limits<double>::quiet_NaN());
    return by_minute;
  }
  Slot step() const { return load_.step.count(); }
  std::vector<seconds> horizons() const {
    std::vector<seconds> all;
    for (Slot steps = nearest_; steps <= nearest_ + 2; ++steps)
      if (steps > 0) all.push_back(load_.step * steps);
    return all;
  }
  // `place` steps after the nearest that matters; no step ahead: what is known.
  double said(std::size_t place) const {
    if (nearest_ > 0) return forecaster_.at(place).p90;
    return place == 0 ? last_value_ : forecaster_.at(place - 1).p90;
  }

  LoadCurve load_;  // in minutes
  seconds delay_;
  Slot nearest_;
  Forecaster forecaster_;
  Slot added_ = 0;
  std::optional<Slot> last_;
  double last_value_ = 0;
};

// Each rule in one form.
class Decider {
 public:
  Decider(conf::ScalingRule rule, const LoadCurve& load, const ScalingSettings& settings)
      : rule_(rule),
        kpa_(settings.per_server),
        hpa_(settings.per_server,
             rule == conf::ScalingRule::keda ? HpaRule::Metric::of_keda : HpaRule::Metric::own),
        forecast_(settings.per_server) {
    if (rule == conf::ScalingRule::forecast) ahead_.emplace(load, settings);
  }
  int servers(seconds now, double load, const Servers& servers) {
    switch (rule_) {
      case conf::ScalingRule::kpa: return kpa_.servers(now, load, servers.ready());
      case conf::ScalingRule::keda:
      case conf::ScalingRule::hpa: return hpa_.servers(now, load, servers.running());
      case conf::ScalingRule::forecast:
        return forecast_.servers(now, load, servers.ready(), ahead_->at(now));
    }
    return servers.running();
  }

 private:
  conf::ScalingRule rule_;
  KpaRule kpa_;
  HpaRule hpa_;
  ForecastRule forecast_;
  std::optional<LoadAhead> ahead_;
};

}  // namespace

double LoadCurve::at(seconds since_begin) const {
  const double place = number(since_begin.count()) / number(step.count()) - 0.5;
  const auto last = static_cast<Slot>(values.size()) - 1;
  const auto known = [&](Slot slot) { return !std::isnan(values[static_cast<std::size_t>(slot)]); };
  Slot left = std::clamp(static_cast<Slot>(std::floor(place)), Slot{0}, last);
  Slot right = std::clamp(static_cast<Slot>(std::floor(place)) + 1, Slot{0}, last);
  while (left > 0 && !known(left)) --left;
  while (right < last && !known(right)) ++right;
  if (!known(left) && !known(right)) return 0;
  if (!known(left) || left == right) return values[static_cast<std::size_t>(right)];
  if (!known(right)) return values[static_cast<std::size_t>(left)];
  const double share = std::clamp((place - number(left)) / number(right - left), 0.0, 1.0);
  return std::lerp(values[static_cast<std::size_t>(left)], values[static_cast<std::size_t>(right)],
                   share);
}

bool LoadCurve::is_known(seconds since_begin) const {
  const auto slot = static_cast<std::size_t>(since_begin / step);
  return slot < values.size() && !std::isnan(values[slot]);
}

int Servers::want(seconds now, int wanted) {
  while (!batches_.empty() && batches_.front().ready_at <= now) {
    ready_ += batches_.front().servers;
    starting_ -= batches_.front().servers;
    batches_.pop_front();
  }
  const int more = wanted - running();
  if (more > 0) {
    batches_.push_back({now + start_delay_, more});
    starting_ += more;
    return more;
  }
  int fewer = -more;
  while (fewer > 0 && !batches_.empty()) {
    const int gone = std::min(fewer, batches_.back().servers);
    batches_.back().servers -= gone;
    starting_ -= gone;
    fewer -= gone;
    if (batches_.back().servers == 0) batches_.pop_back();
  }
  ready_ -= std::min(fewer, ready_);
  return 0;
}

ScalingResult replay_scaling(const LoadCurve& load, conf::ScalingRule rule,
                             const ScalingSettings& settings) {
  Decider decider(rule, load, settings);
  Servers servers(settings.start_delay);
  servers.begin_with(std::max(
      1, static_cast<int>(std::min(std::ceil(load.at(seconds(0)) / settings.per_server), 1e6))));
  ScalingResult result;
  const seconds end = load.length();
  for (seconds now{0}; now < end; ++now) {
    const double came = load.at(now);
    const int started = servers.want(now, decider.servers(now, came, servers));
    if (now < end / 2 || !load.is_known(now)) continue;
    constexpr double minute = 1.0 / 60;
    result.load += came * minute;
    result.unmet += std::max(0.0, came - servers.ready() * settings.per_server) * minute;
    result.running += servers.running() * settings.per_server * minute;
    result.most = std::max(result.most, servers.running());
    result.started += static_cast<std::size_t>(started);
  }
  return result;
}

}  // namespace classgate::history
