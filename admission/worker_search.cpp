#include "admission/worker_search.h"

#include <algorithm>
#include <cmath>

#include "admission/measure/units.h"

namespace classgate::admission {
namespace {

constexpr double first_step = 0.08;  // of the base, where that was measured before
constexpr double wide_step = 0.2;    // and where it was not
constexpr double largest_step = 0.5;
constexpr double worth_having = 0.3;  // elasticity
constexpr double change = 0.2;        // of the base's throughput: it is another upstream now
constexpr double good_error = 0.015;
constexpr std::uint32_t fewest_ends = 20;
constexpr Duration longest_phase = std::chrono::milliseconds(2500);
constexpr Duration shortest_phase = std::chrono::milliseconds(200);
constexpr Duration shortest_rest = std::chrono::seconds(1);
constexpr Duration longest_rest = std::chrono::seconds(8);

}  // namespace

WorkerSearch::WorkerSearch(Bounds bounds, std::uint32_t start)
    : bounds_(bounds),
      limit_(std::clamp(start, bounds.least, bounds.most)),
      base_limit_(limit_),
      step_(wide_step),
      rest_(shortest_rest) {}

void WorkerSearch::reconfigure(Bounds bounds) {
  bounds_ = bounds;
  limit_ = std::clamp(limit_, bounds.least, bounds.most);
  base_limit_ = std::clamp(base_limit_, bounds.least, bounds.most);
}

void WorkerSearch::begin(Kind kind, std::uint32_t limit, Time now) {
  kind_ = kind;
  limit_ = limit;
  began_ = now;
  measured_from_ = Time::max();
  sums_ = {};
}

void WorkerSearch::note_end(const End& end, Time now) {
  if (!has_begun_) {
    has_begun_ = true;
    begin(Kind::base, limit_, now);
  }
  const Duration took = std::max(now - end.since, Duration::zero());
  typical_ = typical_ == Duration::zero() ? took : typical_ + (took - typical_) / 16;
  if (end.since < began_ || end.active > limit_) return;  // it was sent under another limit
  if (measured_from_ == Time::max()) {
    if (now - began_ < typical_) return;
    measured_from_ = now;
  }
  ++sums_.ends;
  sums_.succeeded += end.has_succeeded ? 1 : 0;
  sums_.binding += end.was_binding ? 1 : 0;
  sums_.latency += measure::in_seconds(took);
  sums_.squares += measure::in_seconds(took) * measure::in_seconds(took);
  sums_.workers += end.active;
  if (is_over(now)) conclude(now);
}

bool WorkerSearch::is_over(Time now) const {
  const std::uint32_t failed = sums_.ends - sums_.succeeded;
  if (failed >= fewest_ends / 2 && failed * 10 > sums_.ends && sums_.ends >= fewest_ends)
    return true;
  const Duration age = now - measured_from_;
  if (sums_.ends < fewest_ends || age < shortest_phase || age < 2 * typical_) return false;
  return age >= longest_phase || measure().error <= good_error;
}

WorkerSearch::Measure WorkerSearch::measure() const {
  const double ends = sums_.ends;
  const double latency = std::max(sums_.latency / ends, 1e-6);
  const double workers = sums_.workers / ends;
  const double variance = std::max(sums_.squares / ends - latency * latency, 0.0);
  return {workers * (sums_.succeeded / ends) / latency, workers, latency,
          std::sqrt(variance / ends) / latency};
}

void WorkerSearch::conclude(Time now) {
  const std::uint32_t failed = sums_.ends - sums_.succeeded;
  if (failed * 10 > sums_.ends) {
    base_ = {};
    base_limit_ = std::clamp(limit_ - limit_ / 5 - 1, bounds_.least, bounds_.most);
    direction_ = Kind::down;
    rests_until_ = now;
    return begin(Kind::base, base_limit_, now);
  }
  const Measure measured = measure();
  const bool was_binding = sums_.binding * 10 >= sums_.ends * 8;
  if (kind_ != Kind::base) return conclude_trial(measured, was_binding, now);
  if (was_binding) return conclude_base(measured, now);
  begin(Kind::base, base_limit_, now);  // the limit did not bind: nothing was learnt
}

void WorkerSearch::conclude_base(const Measure& measured, Time now) {
  const bool is_known = base_.throughput > 0;
  const bool has_changed =
      is_known && std::abs(measured.throughput / base_.throughput - 1) > change;
  if (!is_known || has_changed) {
    // Slower: fewer are probably enough. Faster: there is room for more.
    if (has_changed) direction_ = measured.throughput < base_.throughput ? Kind::down : Kind::up;
    base_ = measured;
    rests_until_ = now;
    worse_ = 0;
    step_ = wide_step;
    climbs_ = true;
  } else {
    base_.throughput += (measured.throughput - base_.throughput) / 4;
    base_.latency += (measured.latency - base_.latency) / 4;
    base_.workers = measured.workers;
    base_.error = std::hypot(base_.error * 3 / 4, measured.error / 4);
  }
  if (now < rests_until_) return begin(Kind::base, base_limit_, now);
  try_next(now);
}

void WorkerSearch::try_next(Time now) {
  for (unsigned i = 0; i < 2; ++i) {
    const std::uint32_t tried = stepped(direction_ == Kind::up ? 1 + step_ : 1 / (1 + step_));
    if (tried != base_limit_) return begin(direction_, tried, now);
    direction_ = direction_ == Kind::up ? Kind::down : Kind::up;  // min or max was reached
    step_ = first_step;
  }
  begin(Kind::base, base_limit_, now);
}

std::uint32_t WorkerSearch::stepped(double factor) const {
  const double target = std::round(base_limit_ * factor);
  const double moved =
      factor > 1 ? std::max(target, base_limit_ + 1.0) : std::min(target, base_limit_ - 1.0);
  return static_cast<std::uint32_t>(std::clamp<double>(moved, bounds_.least, bounds_.most));
}

bool WorkerSearch::is_better(const Measure& trial) const {
  const double gain = std::log(trial.throughput / base_.throughput);
  const double fair = worth_having * std::log(static_cast<double>(limit_) / base_limit_);
  if (climbs_) return gain > fair;
  const double chance = std::hypot(trial.error, base_.error);
  return gain > fair + (kind_ == Kind::up ? chance : chance / 2);
}

void WorkerSearch::conclude_trial(const Measure& measured, bool was_binding, Time now) {
  // A step up after which nobody has to wait is enough, if it costs nobody anything.
  const bool is_taken = was_binding ? is_better(measured)
                                    : kind_ == Kind::up && measured.latency < 1.05 * base_.latency;
  if (is_taken) {
    rest_ = shortest_rest;
    base_limit_ = limit_;
    base_ = measured;
    worse_ = 0;
    step_ = std::min(1.5 * step_, largest_step);
    climbs_ = true;
    if (was_binding) return try_next(now);
    base_ = {};
    return begin(Kind::base, base_limit_, now);
  }
  step_ = first_step;
  climbs_ = false;
  direction_ = kind_ == Kind::up ? Kind::down : Kind::up;
  if (++worse_ >= 2) {
    worse_ = 0;
    rests_until_ = now + rest_;
    rest_ = std::min(2 * rest_, longest_rest);
    return begin(Kind::base, base_limit_, now);
  }
  try_next(now);
}

}  // namespace classgate::admission
