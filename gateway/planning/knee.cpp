// The phases of the search, one after the other. Long, because each decides by itself what is asked
// next, and why it would end.

#include "gateway/planning/knee.h"

#include <algorithm>
#include <cmath>

#include "admission/measure/units.h"
#include "conf/format.h"
#include "gateway/planning/knee_statistics.h"

namespace classgate::planning {
namespace {

using namespace std::chrono_literals;

constexpr double grows = 1.3;          // more in it bring so much more, until it is full
constexpr double even = 0.5;           // deviation as a share of the mean
constexpr double error_max = 0.055;    // of a capacity that is told
constexpr double error_least = 0.02;   // a busy machine adds that
constexpr double served_least = 0.95;  // share of answers when it is calm
constexpr double as_much = 0.96;       // of the most: no less
constexpr double limited = 0.05;       // share of 429 that says that somebody counts requests
constexpr double busy_max = 0.9;
constexpr std::size_t turns_max = 5;
constexpr std::size_t turns_least = 2;
constexpr int brackets_max = 5;

Duration of_seconds(double seconds) {
  return Duration(static_cast<Duration::rep>(std::min(seconds, 1e6) * 1e9));
}

std::uint32_t rounded(double number) {
  return static_cast<std::uint32_t>(std::lround(std::clamp(number, 1.0, 1e6)));
}

// The only whole number between two, if there is one.
std::optional<double> only_whole(double least, double most) {
  const double whole = std::ceil(least);
  if (whole < 1 || whole > most || whole + 1 <= most) return std::nullopt;
  return whole;
}

std::string seconds_text(double seconds) {
  return seconds < 120 ? fmt::format("{:.0f}s", std::ceil(seconds / 10) * 10)
                       : fmt::format("{:.0f}m", std::ceil(seconds / 60));
}

}  // namespace

bool KneeStep::is_over(const Course& course) const {
  constexpr std::uint64_t failures_that_tell = 50;
  if (course.elapsed >= limit) return true;
  if (course.elapsed < least) return false;
  if (course.served == 0 && course.failed >= failures_that_tell) return true;
  // What is measured must be longer than the way in.
  if (course.elapsed < course.latency * 5 / 2) return false;
  return course.served >= answers || (course.elapsed >= most && course.served >= answers_least);
}

KneeSearch::KneeSearch(Duration time, std::uint32_t at_once_max)
    : time_(time), at_once_max_(std::max(at_once_max, 1U)) {
  constexpr std::uint64_t answers = 40;
  step_ = step(1, answers);
}

KneeStep KneeSearch::step(std::uint32_t at_once, std::uint64_t answers) const {
  KneeStep step;
  step.at_once = at_once;
  step.least = std::clamp<Duration>(time_ / 200, 50ms, 500ms);
  step.most = time_ / 12;
  step.limit = std::max<Duration>(std::min(time_ / 3, left_at_all() / 2), step.least);
  step.answers = answers;
  step.answers_least = at_once == 1 ? 3 : 2ULL * at_once;
  step.begin_over = std::min(of_seconds(first_median_), step.limit / 4);
  const Duration patience_max = std::max<Duration>(std::min(time_ / 3, left_at_all() / 2), 1s);
  step.patience = std::clamp<Duration>(of_seconds(4 * latency_), 1s, patience_max);
  if (phase_ == Phase::first) step.patience = patience_max;
  return step;
}

std::optional<KneeStep> KneeSearch::next() {
  if (is_draining_) {
    KneeStep probe;
    probe.least = Duration(1);
    probe.limit = Duration(1);
    probe.patience = std::max<Duration>(std::min(of_seconds(4 * first_median_), left_at_all()), 1s);
    probe.is_probe = true;
    return probe;
  }
  if (phase_ == Phase::done) return std::nullopt;
  return step_;
}

double KneeSearch::progress() const {
  return std::min(measure::in_seconds(spent_) / std::max(measure::in_seconds(time_), 1e-9), 1.0);
}

double KneeSearch::error_of(std::uint64_t a, std::uint64_t b) const {
  const auto n = [](std::uint64_t count) {
    return static_cast<double>(std::max<std::uint64_t>(count, 1));
  };
  // Few answers tell little of how they are spread, too; one or two nothing.
  const std::uint64_t least = std::min(a, b);
  const double spread = (least < 3 ? std::max(spread_, 1.0) : spread_) * (1 + 4 / n(least));
  return spread * std::sqrt(1 / n(a) + 1 / n(b));
}

KneeSearch::Rated KneeSearch::rate(const KneeMeasure& measure, std::uint32_t at_once) const {
  const std::vector<double> times = latencies_of(measure);
  Rated rated;
  rated.at_once = at_once;
  rated.count = times.size();
  // Who was not waited for any longer has not failed.
  Answers answers = measure.answers;
  if (answers.served() > 0) answers.faults.erase(Answers::too_late);
  rated.served_share = answers.served_share();
  rated.median = at_share(times, 0.5);
  const double mean = mean_of(times);
  rated.spread = mean > 0 ? deviation_of(times, mean) / mean : 0;
  rated.mean = rated.spread < even ? trimmed_mean(times) : mean;
  // Who is refused asks again a little later, and is not in it meanwhile.
  double in_it = at_once;
  if (rated.served_share < 0.99 && measure.lasted > Duration::zero()) {
    const Duration from = settled_from(measure);
    Duration sum{};
    for (const KneeMeasure::Sample& sample : measure.samples)
      sum += std::max(std::min(sample.ended, measure.lasted) - std::max(sample.began, from),
                      Duration::zero());
    in_it = measure::in_seconds(sum) / measure::in_seconds(measure.lasted - from);
  }
  rated.rate = rated.mean > 0 ? in_it / rated.mean : 0;
  return rated;
}

void KneeSearch::end_with(std::string why) {
  phase_ = Phase::done;
  if (knee_.why_unknown.empty()) knee_.why_unknown = std::move(why);
}

// A limit that counts requests, its own or of what is in front of it, hides what it can do.
bool KneeSearch::is_refused_by_a_limit(const KneeMeasure& measure) {
  constexpr int too_many_requests = 429;
  const auto refused = measure.answers.statuses.find(too_many_requests);
  if (refused == measure.answers.statuses.end()) return false;
  const auto all = static_cast<double>(measure.answers.all());
  if (static_cast<double>(refused->second) < limited * all) return false;
  const double seconds = std::max(measure::in_seconds(measure.lasted), 1e-9);
  end_with(fmt::format("{} ({:.1f} were served a second then)", measure.answers.why_not_served(),
                       static_cast<double>(measure.answers.served()) / seconds));
  return true;
}

void KneeSearch::add(KneeMeasure measure) {
  spent_ += measure.took;
  knee_.answers.add(measure.answers);
  if (is_draining_) {
    drained_ += measure.took;
    const bool is_quick =
        !measure.samples.empty() &&
        measure::in_seconds(measure.samples.back().latency()) < 2 * first_median_ + 0.01;
    if (is_quick) {
      is_draining_ = false;
    } else if (drained_ > time_ / 2 || left_at_all() <= Duration::zero()) {
      is_draining_ = false;
      end_with(fmt::format("with {} at once it fell behind, and did not recover in {}",
                           knee_.steps.empty() ? 0 : knee_.steps.back().at_once,
                           seconds_text(measure::in_seconds(drained_))));
    }
    return;
  }
  const std::uint32_t at_once = step_.at_once;
  const Rated rated = rate(measure, at_once);
  knee_.steps.push_back({at_once, rated.rate, of_seconds(rated.median), measure.answers});
  latency_ = rated.median;
  if (phase_ == Phase::first && rated.served_share < served_least)
    return end_with(measure.answers.why_not_served());
  if (phase_ != Phase::first && measure.unanswered > std::max(1U, at_once / 10)) {
    is_draining_ = true;
    drained_ = {};
  }
  if (is_refused_by_a_limit(measure)) return;
  if (measure.busy > busy_max)
    return end_with(fmt::format(
        "with {} at once this program had no time left to ask more: what is measured is this "
        "machine, not the service",
        at_once));
  switch (phase_) {
    case Phase::first: after_first(rated); break;
    case Phase::widen: after_widening(rated); break;
    case Phase::turns: after_turn(measure, rated); break;
    case Phase::less: after_less(rated); break;
    case Phase::more: after_more(rated); break;
    case Phase::narrow_down: after_narrowing(rated, false); break;
    case Phase::narrow_up: after_narrowing(rated, true); break;
    case Phase::done: break;
  }
  if (phase_ != Phase::done && left() <= Duration::zero() && phase_ <= Phase::turns)
    phase_ == Phase::turns && !full_.rated.empty() ? judge_turns() : end_for_time();
}

void KneeSearch::end_for_time() {
  const double seconds = measure::in_seconds(time_);
  end_with(fmt::format("one request takes {:.3g} s: {:g} s are too short; --time {} may do",
                       first_median_, seconds, seconds_text(4 * seconds)));
}

void KneeSearch::after_first(const Rated& rated) {
  first_median_ = rated.median;
  spread_ = rated.spread;
  widened_.push_back(rated);
  phase_ = Phase::widen;
  if (at_once_max_ < 2) return end_with("it may be asked with one request at once only");
  step_ = step(2, 46);
}

void KneeSearch::after_widening(const Rated& rated) {
  const Rated& before = widened_.back();
  const double growth = rated.rate / std::max(before.rate, 1e-9);
  const double error = growth * error_of(before.count, rated.count);
  const bool tells = growth < grows ? growth + 1.5 * error < 1.6 : growth > 1.6 || error < 0.2;
  if (!tells && !is_repeated_) {  // for longer, not with more
    is_repeated_ = true;
    KneeStep longer = step(rated.at_once, step_.answers * 4);
    longer.most *= 2;
    step_ = longer;
    return;
  }
  is_repeated_ = false;
  widen_or_stop(rated);
}

void KneeSearch::widen_or_stop(const Rated& rated) {
  const Rated before = widened_.back();
  const double growth = rated.rate / std::max(before.rate, 1e-9);
  widened_.push_back(rated);
  const bool had_growth = without_growth_ == 0;
  without_growth_ = growth < grows ? without_growth_ + 1 : 0;
  const bool is_slow = of_seconds(first_median_) > time_ / 40;
  // What answers in groups does no more for two than for one, and then more all the same.
  const bool is_full = without_growth_ > 0 && (rated.at_once > 4 || without_growth_ > 1 ||
                                               is_slow || (rated.at_once > 2 && had_growth));
  const double alike = static_cast<double>(rated.at_once) / before.at_once;
  const bool falls_behind =
      rated.at_once > 4 && growth * (1 + 1.5 * error_of(before.count, rated.count)) < 0.87 * alike;
  if (is_full || falls_behind || rated.served_share < served_least) return bracket();
  const double grows_surely = growth * (1 - 1.5 * error_of(before.count, rated.count));
  const std::uint32_t wider = rated.at_once * (is_slow && grows_surely > 1.6 ? 4 : 2);
  const std::uint32_t at_once = std::min(wider, at_once_max_);
  // If it is full already, they all wait for each other.
  const double takes = 2.5 * rated.mean * at_once / rated.at_once;
  if (of_seconds(takes) > left() + time_ / 4) return end_for_time();
  if (at_once <= rated.at_once + rated.at_once / 4)
    return end_with(fmt::format(
        "with {} at once, which is as many as it may be asked with (--connections), it is not full",
        rated.at_once));
  step_ = step(at_once, 40 + 3ULL * at_once);
}

// A first guess by Little's law, from a step that was far from full.
void KneeSearch::bracket() {
  double most = 0;
  for (const Rated& rated : widened_) most = std::max(most, rated.rate);
  const Rated* easy = &widened_.front();
  for (const Rated& rated : widened_)
    if (rated.at_once < 0.7 * most * rated.mean && rated.served_share >= served_least)
      easy = &rated;
  if (easy->count > 20) spread_ = easy->spread;
  set_bracket(most * easy->mean);
}

void KneeSearch::set_bracket(double guess) {
  if (++brackets_ > brackets_max)
    return end_with("it does now more and now less: no two measurements agree");
  phase_ = Phase::turns;
  calm_ = {.at_once = rounded(guess * 0.6), .measures = {}, .rated = {}};
  // Never with more than twice of what it can do.
  const std::uint32_t more =
      std::clamp(rounded(guess * 1.5), calm_.at_once + 1, std::max(rounded(guess * 2), 2U));
  full_ = {.at_once = more, .measures = {}, .rated = {}};
  if (full_.at_once > at_once_max_)
    return end_with(fmt::format("it may do about {:.0f} at once: --connections {} would tell",
                                guess, full_.at_once));
  lost_ = 0;
  // Each is long against what one request takes, or the way in would be most of it.
  const double seconds = measure::in_seconds(left() - time_ / 8);
  const double turn_least = 2 * std::max(20 * first_median_, measure::in_seconds(time_) / 100);
  turns_ = static_cast<std::size_t>(std::clamp(seconds / turn_least, 1.0, 1.0 * turns_max));
  step_ = turn(calm_.at_once);
}

KneeStep KneeSearch::turn(std::uint32_t at_once) const {
  KneeStep next = step(at_once, (spread_ < even ? 60 : 3'000) + 6ULL * at_once);
  next.least = std::max<Duration>(next.least, time_ / 100);
  // What is left, for what is left of the turns; a part is kept for the looks at less and more.
  const auto steps = static_cast<int>(2 * turns_ - calm_.rated.size() - full_.rated.size());
  next.most = std::max<Duration>((left() - time_ / 8) / std::max(steps, 1), next.least);
  next.limit = std::max(next.limit, std::min(next.most, left_at_all() / 2));
  return next;
}

void KneeSearch::after_turn(const KneeMeasure& measure, const Rated& rated) {
  const bool is_calm = calm_.rated.size() == full_.rated.size();
  Turns& turns = is_calm ? calm_ : full_;
  turns.measures.push_back(measure);
  turns.rated.push_back(rated);
  if (is_calm && rated.count > 20) spread_ = std::max(spread_ * 0.5, rated.spread);
  lost_ += measure.unanswered;
  step_ = turn(is_calm ? full_.at_once : calm_.at_once);
  if (is_calm) return;
  const double capacity = rated.rate * calm_.rated.back().mean;
  if (full_.rated.size() == 1 && (capacity > 0.93 * full_.at_once || capacity < calm_.at_once)) {
    if (calm_.rated.back().served_share < served_least && capacity >= calm_.at_once)
      return end_with("with few in it, too, not all were served: " +
                      calm_.measures.back().answers.why_not_served());
    // Far off: the guess was made of few answers.
    return set_bracket(capacity > 0.93 * full_.at_once ? std::max(capacity, full_.at_once * 1.0)
                                                       : capacity);
  }
  const bool is_last =
      full_.rated.size() >= turns_ || left() < time_ / 8 || left() - time_ / 8 < measure.took;
  if (is_last) judge_turns();
}

void KneeSearch::judge_turns() {
  std::vector<double> capacities, rates, all_calm, means;
  std::uint64_t calm_count = 0, full_count = 0;
  for (std::size_t i = 0; i < full_.rated.size(); ++i) {
    capacities.push_back(full_.rated[i].rate * calm_.rated[i].mean);
    rates.push_back(full_.rated[i].rate);
    means.push_back(calm_.rated[i].mean);
    calm_count += calm_.rated[i].count;
    full_count += full_.rated[i].count;
    const std::vector<double> times = latencies_of(calm_.measures[i]);
    all_calm.insert(all_calm.end(), times.begin(), times.end());
    if (calm_.rated[i].served_share < served_least)
      return end_with("with few in it, too, not all were served: " +
                      calm_.measures[i].answers.why_not_served());
  }
  std::ranges::sort(all_calm);
  const double mean = mean_of(all_calm);
  spread_ = mean > 0 ? deviation_of(all_calm, mean) / mean : 0;
  const bool is_even = spread_ < even;
  mean_calm_ = is_even ? median_of(means) : mean;
  rate_full_ = is_even ? median_of(rates) : mean_of(rates);
  knee_.per_second_most = rate_full_;
  knee_.service_mean = of_seconds(mean_calm_);
  knee_.service_p95 = of_seconds(at_share(all_calm, 0.95));
  const double capacity = is_even ? median_of(capacities) : rate_full_ * mean_calm_;
  // How far the turns are apart, and how far chance alone would have brought them.
  double apart = 0;
  if (capacities.size() >= turns_least) {
    std::vector<double> off;
    for (const double one : capacities) off.push_back(std::abs(one / capacity - 1));
    apart = 1.5 * median_of(off);
  }
  const double trimming = is_even ? 0.5 : 1;
  const double error =
      std::max(2 * trimming * error_of(calm_count, full_count), apart) + error_least;
  knee_.capacity = capacity;
  knee_.capacity_least = std::max(capacity * (1 - error), 1.0);
  knee_.capacity_most = capacity * (1 + error);
  knee_.method = fmt::format("Little's law (error {:.1f} %)", error * 100);
  bool is_known = error <= error_max;
  if (const auto whole = only_whole(knee_.capacity_least, knee_.capacity_most);
      whole && !is_known) {
    knee_.capacity = *whole;
    is_known = true;
  }
  if (!is_even && (!is_known || spread_ > 1.4)) {
    const double wide = std::max(1.5 * error, 0.3);
    const auto found = in_turn(full_.measures, full_.at_once, all_calm,
                               rounded(capacity * (1 - wide)), rounded(capacity * (1 + wide)));
    if (found && found->least >= (1 - error_max) * found->best - 0.01 &&
        found->most <= (1 + error_max) * found->best + 0.01) {
      is_known = true;
      // Those that nobody waited for any longer had their places meanwhile.
      const double lost = static_cast<double>(lost_) / static_cast<double>(2 * full_.rated.size());
      knee_.capacity = found->best + lost / 2;
      knee_.capacity_least = found->least;
      knee_.capacity_most = found->most + lost;
      is_known = lost <= 2 * error_max * knee_.capacity;
      knee_.method = "times since their turn are those when it is calm";
    } else if (spread_ > 1.4) {
      is_known = false;
    }
  }
  if (!is_known) {
    const double longer =
        measure::in_seconds(time_) * std::clamp(std::pow(error / 0.05, 2), 2.0, 10.0);
    return end_with(
        fmt::format("it computes {:.1f} to {:.1f} at once: what requests take is too uneven, or "
                    "too long, for {:g} s "
                    "to tell; --time {} may do, or quicker requests",
                    knee_.capacity_least, knee_.capacity_most, measure::in_seconds(time_),
                    seconds_text(longer)));
  }
  verify();
}

// A look at a little less and a little more, where that is told apart from chance.
void KneeSearch::verify() {
  const auto less = static_cast<std::uint32_t>(knee_.capacity * 0.85);
  phase_ = Phase::less;
  if (less < 1 || less <= calm_.at_once || left() <= Duration::zero()) return look_at_more();
  step_ = step(less, spread_ < even ? 60 + 6ULL * less : 2'000);
}

void KneeSearch::after_less(const Rated& rated) {
  const double error = 2 * error_of(rated.count, rated.count);
  const bool does_as_much = rated.rate - error * rated.rate > 0.93 * rate_full_;
  if (!does_as_much) return look_at_more();
  phase_ = Phase::narrow_down;
  narrow_least_ = calm_.at_once;
  narrow_most_ = rated.at_once;
  after_narrowing(rated, false);
}

void KneeSearch::look_at_more() {
  const std::uint32_t more = std::max(rounded(knee_.capacity * 1.2), rounded(knee_.capacity) + 1);
  phase_ = Phase::more;
  if (more >= full_.at_once || left() <= -time_ / 4) return finish();
  step_ = step(more, spread_ < even ? 60 + 6ULL * more : 2'000);
}

void KneeSearch::after_more(const Rated& rated) {
  const double error = 2 * error_of(rated.count, rated.count);
  if (rated.rate < (1.05 + error) * rate_full_) return finish();
  phase_ = Phase::narrow_up;
  narrow_least_ = calm_.at_once;
  narrow_most_ = full_.at_once;
  after_narrowing(rated, true);
}

// Down: the least with which it does as much as it ever does. Up: the most with which nothing waits
// for others.
void KneeSearch::after_narrowing(const Rated& rated, bool is_up) {
  const double alone = rated.at_once / std::max(mean_calm_, 1e-9);
  const bool is_below = is_up ? rated.rate >= as_much * alone : rated.rate < as_much * rate_full_;
  (is_below ? narrow_least_ : narrow_most_) = rated.at_once;
  if (is_up) knee_.per_second_most = std::max(knee_.per_second_most, rated.rate);
  const std::uint32_t apart = narrow_most_ - narrow_least_;
  if (apart <= std::max(1U, narrow_most_ / 25) || left() <= -time_ / 3) {
    knee_.capacity = is_up ? narrow_least_ : narrow_most_;
    knee_.capacity_least = is_up ? narrow_least_ : narrow_least_ + 1;
    knee_.capacity_most = narrow_most_;
    knee_.method = is_up ? "the most that do not slow each other down"
                         : "the least with which it does as much as it ever does";
    return finish();
  }
  step_ = step(narrow_least_ + apart / 2, spread_ < even ? 60 + 6ULL * narrow_most_ : 2'000);
}

void KneeSearch::finish() {
  phase_ = Phase::done;
  knee_.loss_when_crowded = std::max(0.0, 1 - rate_full_ / std::max(knee_.per_second_most, 1e-9));
}

Knee KneeSearch::knee() const {
  Knee knee = knee_;
  if (phase_ != Phase::done && knee.why_unknown.empty())
    knee.why_unknown = "it was ended before it could tell";
  return knee;
}

}  // namespace classgate::planning
