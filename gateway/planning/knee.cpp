#include "gateway/planning/knee.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "admission/measure/units.h"
#include "admission/simulation/draw.h"
#include "conf/format.h"

namespace classgate::planning {
namespace {

using simulation::Ending;
using simulation::Wish;

// Who was not served asks again after so long: errors come back at once.
constexpr std::chrono::milliseconds pause_after_error(10);
constexpr double served_share_least = 0.95;  // when it is calm

// What takes longer than a phase and this is known to be long: nobody waits for it.
constexpr std::chrono::seconds stragglers_max(2);

// So many requests in the service at every moment. Remembers of each when it began and ended, and
// how many had ended before it began.
class Constant final : public simulation::Traffic {
 public:
  struct Sample {
    Duration began;
    Duration ended;
    std::size_t answered_before;
  };

  // They begin over the time that one takes, so that they do not all end at once ever after.
  Constant(std::uint32_t at_once, Duration lasts, Duration begin_over, const conf::Law* service,
           std::uint64_t seed)
      : at_once_(at_once),
        lasts_(lasts),
        begin_over_(begin_over),
        service_(service),
        random_(seed, at_once) {}

  bool next(Wish& wish) override {
    if (begun_ == at_once_) return false;
    wish = make(Time{} + begin_over_ * begun_++ / at_once_);
    return true;
  }
  bool after(const Wish& wish, const Ending& ending, Time now, Wish& follow) override {
    const bool is_served = ending.status / 100 == 2;
    // One that was not waited for any longer has not failed. Errors are no work.
    if (is_served || ending.reason == conf::Reason::upstream_timeout)
      samples_.push_back(
          {wish.at.time_since_epoch(), now.time_since_epoch(), before_[wish.client]});
    if (now.time_since_epoch() >= lasts_) return false;
    follow = make(is_served ? now : now + pause_after_error);
    return true;
  }

  const std::vector<Sample>& samples() const { return samples_; }
  Duration lasts() const { return lasts_; }

 private:
  Wish make(Time at) {
    Wish wish;
    wish.at = at;
    wish.priority = 3;
    if (service_ != nullptr) wish.service = simulation::draw(*service_, random_);
    wish.client = static_cast<std::uint32_t>(before_.size());
    before_.push_back(samples_.size());
    return wish;
  }

  std::uint32_t at_once_;
  Duration lasts_;
  Duration begin_over_;
  const conf::Law* service_;
  simulation::Random random_;
  std::uint32_t begun_ = 0;
  std::vector<Sample> samples_;  // in the order of their ends
  std::vector<std::size_t> before_;
};

struct Phase {
  std::uint32_t at_once = 0;
  Duration lasts{};
  std::vector<Constant::Sample> samples;
  Answers answers;

  // The first quarter is for the service to settle in.
  Duration from() const { return lasts / 4; }
  double per_second() const {
    const auto count = std::ranges::count_if(
        samples, [&](const auto& s) { return s.ended >= from() && s.ended < lasts; });
    return static_cast<double>(count) / measure::in_seconds(lasts - from());
  }
  // What requests took that began in the measured time. Not those that ended in it: the long ones
  // would be too few.
  std::vector<double> latencies() const {
    std::vector<double> found;
    for (const auto& s : samples)
      if (s.began >= from() && s.began < lasts)
        found.push_back(measure::in_seconds(s.ended - s.began));
    std::ranges::sort(found);
    return found;
  }
};

Phase measure(const LoadOptions& options, const OpenLoop::Group& group, const conf::Law* service,
              std::uint64_t seed, std::uint32_t at_once, Duration lasts, Duration begin_over,
              const std::function<void(double)>& progress) {
  Constant traffic(at_once, lasts, std::min(begin_over, lasts / 5), service, seed);
  LoadOptions own = options;
  own.connections_max = std::max(own.connections_max, at_once);
  own.time_max = lasts + std::chrono::seconds(1);
  own.answer_max = lasts + stragglers_max;
  OpenLoop loop(own, {group}, traffic);
  loop.run([&](Duration now) {
    progress(measure::in_seconds(now) / measure::in_seconds(lasts));
    return true;
  });
  return {at_once, lasts, traffic.samples(), loop.answers()};
}

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) /
         static_cast<double>(std::max<std::size_t>(values.size(), 1));
}

double deviation_of(const std::vector<double>& values, double mean) {
  double sum = 0;
  for (const double value : values) sum += (value - mean) * (value - mean);
  return std::sqrt(sum / static_cast<double>(std::max<std::size_t>(values.size(), 1)));
}

double at_share(const std::vector<double>& sorted, double share) {
  if (sorted.empty()) return 0;
  return sorted[static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1))];
}

// The greatest difference of two distributions.
double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double most = 0;
  std::size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    const double at = std::min(a[i], b[j]);
    while (i < a.size() && a[i] <= at) ++i;
    while (j < b.size() && b[j] <= at) ++j;
    most = std::max(most, std::abs(static_cast<double>(i) / static_cast<double>(a.size()) -
                                   static_cast<double>(j) / static_cast<double>(b.size())));
  }
  return most;
}

// What requests took from the moment at which they began if the service computes `capacity` at
// once.
std::vector<double> times_in_service(const Phase& full, std::uint32_t capacity) {
  std::vector<double> times;
  for (const auto& sample : full.samples) {
    if (sample.began < full.from() || sample.began >= full.lasts) continue;
    const std::size_t last_before = sample.answered_before + (full.at_once - capacity);
    if (last_before == 0 || last_before > full.samples.size()) continue;
    const Duration begins = std::max(full.samples[last_before - 1].ended, sample.began);
    times.push_back(measure::in_seconds(sample.ended - begins));
  }
  std::ranges::sort(times);
  return times;
}

struct Match {
  double capacity = 0;
  double distance = 1;
};

Match match(const std::vector<Phase>& full, const std::vector<double>& baseline) {
  Match best;
  for (std::uint32_t capacity = 1; capacity < full.front().at_once; ++capacity) {
    std::vector<double> times;
    for (const Phase& phase : full) {
      const auto more = times_in_service(phase, capacity);
      times.insert(times.end(), more.begin(), more.end());
    }
    std::ranges::sort(times);
    const double found = distance(times, baseline);
    if (found < best.distance) best = {static_cast<double>(capacity), found};
  }
  return best;
}

double median_of(std::vector<double> values) {
  std::ranges::sort(values);
  return values.empty() ? 0 : values[values.size() / 2];
}

}  // namespace

Knee find_knee(const LoadOptions& options, const OpenLoop::Group& group, const conf::Law* service,
               std::uint64_t seed,
               const std::function<void(double, const std::string&)>& progress) {
  constexpr std::uint32_t at_once_max = 4096;
  constexpr double grows = 1.3;  // twice as many bring so much more, until it is full
  constexpr double answers_that_tell = 60;
  constexpr double error_max = 0.012;
  constexpr double even = 0.5;  // deviation as a share of the mean
  constexpr double distance_max = 0.1;
  Knee knee;
  const auto run = [&](std::uint32_t at_once, Duration lasts, double begin, double end) {
    const Duration one = knee.steps.empty() ? Duration::zero() : knee.steps.front().median;
    Phase phase = measure(options, group, service, seed, at_once, lasts, one, [&](double share) {
      progress(begin + (end - begin) * std::min(share, 1.0), fmt::format("{} at once", at_once));
    });
    knee.answers.add(phase.answers);
    const std::vector<double> latencies = phase.latencies();
    knee.steps.push_back({at_once, phase.per_second(),
                          Duration(static_cast<Duration::rep>(at_share(latencies, 0.5) * 1e9)),
                          phase.answers});
    return phase;
  };
  // A tenth of the time for the steps, the rest for the two that count.
  const Duration step = std::clamp<Duration>(options.time_max / 50, std::chrono::milliseconds(300),
                                             std::chrono::seconds(2));
  double before = 0;
  double most = 0;
  Duration lasts = step;
  int without_growth = 0;
  std::uint32_t at_once = 1;
  for (;; at_once *= 2) {
    const Phase phase = run(at_once, lasts, 0, 0.2);
    if (at_once == 1 && phase.answers.served_share() < served_share_least) {
      knee.why_unknown = phase.answers.why_not_served();
      return knee;
    }
    const double rate = phase.per_second();
    most = std::max(most, rate);
    // Few answers tell little: then it is not yet said to be full.
    const bool tells = rate * measure::in_seconds(lasts) >= answers_that_tell;
    // Twice in a row: once may be a hiccup.
    if (tells && before > 0 && rate < before * grows && ++without_growth == 2) break;
    if (rate >= before * grows) without_growth = 0;
    if (at_once * 2 > std::min(at_once_max, options.connections_max)) break;
    if (tells) before = std::max(before, rate);
    const double enough = answers_that_tell * 1.5 / std::max(rate, 1e-3);
    lasts = std::clamp(Duration(static_cast<Duration::rep>(std::min(enough, 1e3) * 1e9)), step,
                       std::max<Duration>(step, options.time_max / 15));
  }
  // A first guess by Little's law, from a step that was far from full.
  const std::size_t last = knee.steps.size() - 1;
  const Knee::Step& easy = knee.steps[last >= 3 ? last - 3 : 0];
  const double one_takes = easy.at_once / std::max(easy.per_second, 1e-3);
  const double guess = std::clamp(most * one_takes, 1.0, static_cast<double>(at_once));
  const auto calm_at = static_cast<std::uint32_t>(std::max(guess * 0.6, 1.0));
  const auto full_at =
      std::max({at_once, static_cast<std::uint32_t>(guess * 1.5), std::uint32_t{2}});
  // The two take turns, so that a machine that is busy for a while spoils a turn and not the
  // answer.
  constexpr int turns = 5;
  const Duration rest = options.time_max - step * static_cast<int>(knee.steps.size());
  const Duration each = std::max<Duration>(rest / (2 * turns), step);
  std::vector<Phase> full;
  Answers calm_answers;
  std::vector<double> baseline, all_full, capacities, rates_calm, rates_full;
  for (int turn = 0; turn < turns; ++turn) {
    const double begin = 0.2 + 0.8 * turn / turns;
    const Phase calm = run(calm_at, each, begin, begin + 0.4 / turns);
    calm_answers.add(calm.answers);
    full.push_back(run(full_at, each, begin + 0.4 / turns, begin + 0.8 / turns));
    const std::vector<double> calm_times = calm.latencies();
    const std::vector<double> full_times = full.back().latencies();
    baseline.insert(baseline.end(), calm_times.begin(), calm_times.end());
    // Of even times the medians tell the same, and are not spoilt by a hiccup of the machine.
    const double calm_mean = mean_of(calm_times);
    const bool is_even = deviation_of(calm_times, calm_mean) < even * calm_mean;
    capacities.push_back(is_even ? full_at * at_share(calm_times, 0.5) / at_share(full_times, 0.5)
                                 : full_at * calm_mean / std::max(mean_of(full_times), 1e-9));
    rates_calm.push_back(calm.per_second());
    rates_full.push_back(full.back().per_second());
  }
  if (calm_answers.served_share() < served_share_least) {
    knee.why_unknown = "with few in it, too, not all were served: " + calm_answers.why_not_served();
    return knee;
  }
  std::ranges::sort(baseline);
  const double mean = mean_of(baseline);
  const double n = static_cast<double>(baseline.size());
  const double error = deviation_of(baseline, mean) / mean * std::sqrt(2 / std::max(n, 1.0));
  const double rate_full = median_of(rates_full);
  knee.per_second_most = std::max({rate_full, median_of(rates_calm), 0.0});
  // With twice as many in it: told only when the steps before it agree that it did more.
  knee.loss_when_crowded = std::max(0.0, 1 - rate_full / std::max(most, 1e-9));
  knee.service_mean = Duration(static_cast<Duration::rep>(mean * 1e9));
  knee.service_p95 = Duration(static_cast<Duration::rep>(at_share(baseline, 0.95) * 1e9));
  knee.capacity = median_of(capacities);
  knee.method = fmt::format("Little's law (error {:.1f} %)", error * 100);
  if (error > error_max && deviation_of(baseline, mean) >= even * mean) {
    const Match found = match(full, baseline);
    // What two samples of the same law would differ by, and what a busy machine adds.
    if (found.distance < 1.63 * std::sqrt(2 / std::max(n, 1.0)) + distance_max) {
      knee.capacity = found.capacity;
      knee.method =
          fmt::format("times in service match those when calm (distance {:.3f})", found.distance);
    }
  }
  return knee;
}

}  // namespace classgate::planning
