#include "gateway/planning/knee_statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "admission/measure/units.h"

namespace classgate::planning {

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) /
         static_cast<double>(std::max<std::size_t>(values.size(), 1));
}

double deviation_of(const std::vector<double>& values, double mean) {
  double sum = 0;
  for (const double value : values) sum += (value - mean) * (value - mean);
  const std::size_t freedom = values.size() > 1 ? values.size() - 1 : 1;
  return std::sqrt(sum / static_cast<double>(freedom));
}

double at_share(const std::vector<double>& sorted, double share) {
  if (sorted.empty()) return 0;
  return sorted[static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1))];
}

double trimmed_mean(const std::vector<double>& sorted) {
  const auto cut = static_cast<std::ptrdiff_t>(sorted.size() / 20);
  return mean_of({sorted.begin() + cut, sorted.end() - cut});
}

double median_of(std::vector<double> values) {
  std::ranges::sort(values);
  return at_share(values, 0.5);
}

Duration settled_from(const KneeMeasure& measure) {
  if (measure.samples.empty()) return {};
  std::vector<double> all;
  for (const KneeMeasure::Sample& sample : measure.samples)
    all.push_back(measure::in_seconds(sample.latency()));
  const Duration median(static_cast<Duration::rep>(median_of(std::move(all)) * 1e9));
  return std::min(std::max(measure.lasted / 4, median + median / 10), measure.lasted / 2);
}

std::vector<double> latencies_of(const KneeMeasure& measure) {
  const Duration from = settled_from(measure);
  std::vector<double> found;
  for (const KneeMeasure::Sample& sample : measure.samples)
    if (sample.began >= from && sample.began < measure.lasted)
      found.push_back(measure::in_seconds(sample.latency()));
  std::ranges::sort(found);
  return found;
}

namespace {

// `settled`: settled_from() each of them.
std::vector<double> times_since_turn(const std::vector<KneeMeasure>& full,
                                     const std::vector<Duration>& settled, std::uint32_t full_at,
                                     std::uint32_t capacity) {
  std::vector<double> times;
  for (std::size_t i = 0; i < full.size(); ++i) {
    const KneeMeasure& measure = full[i];
    for (const KneeMeasure::Sample& sample : measure.samples) {
      if (sample.began < settled[i] || sample.began >= measure.lasted) continue;
      const std::size_t last_before = sample.answered_before + (full_at - capacity);
      if (last_before == 0 || last_before > measure.samples.size()) continue;
      const Duration turn = std::max(measure.samples[last_before - 1].ended, sample.began);
      times.push_back(measure::in_seconds(sample.ended - turn));
    }
  }
  std::ranges::sort(times);
  return times;
}

// The greatest difference of two distributions, in deviations of what chance alone would make.
double difference(const std::vector<double>& sorted, const std::vector<double>& calm) {
  // More do not tell more: a busy machine makes differences, too.
  constexpr std::size_t that_tell = 2'000;
  const auto count = [that_tell](const std::vector<double>& values) {
    return static_cast<double>(std::clamp<std::size_t>(values.size(), 1, that_tell));
  };
  const double by_chance = 1 / count(sorted) + 1 / count(calm);
  double most = 0;
  for (double share = 0.05; share < 0.96; share += 0.05) {
    const auto below = std::ranges::upper_bound(sorted, at_share(calm, share)) - sorted.begin();
    const double found = static_cast<double>(below) / static_cast<double>(sorted.size());
    most = std::max(most, std::abs(found - share) / std::sqrt(share * (1 - share) * by_chance));
  }
  return most;
}

}  // namespace

std::optional<InTurn> in_turn(const std::vector<KneeMeasure>& full, std::uint32_t full_at,
                              const std::vector<double>& calm, std::uint32_t least,
                              std::uint32_t most) {
  constexpr double believed = 3.2;  // deviations
  constexpr std::size_t answers_that_tell = 40;
  if (calm.size() < answers_that_tell) return std::nullopt;
  std::vector<Duration> settled;
  for (const KneeMeasure& measure : full) settled.push_back(settled_from(measure));
  std::optional<InTurn> found;
  double best = believed;
  for (std::uint32_t capacity = std::max(least, 1U); capacity <= std::min(most, full_at - 1);
       ++capacity) {
    const std::vector<double> times = times_since_turn(full, settled, full_at, capacity);
    if (times.size() < answers_that_tell) continue;
    const double differs = difference(times, calm);
    if (differs >= believed) continue;
    if (!found) found = InTurn{.least = capacity};
    found->most = capacity;
    if (differs < best) {
      best = differs;
      found->best = capacity;
    }
  }
  return found;
}

}  // namespace classgate::planning
