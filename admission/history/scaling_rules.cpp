#include "admission/history/scaling_rules.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace classgate::history {
namespace {

// 1e-9: what a sum of decimals is above a whole number is no further server.
int servers_for(double load, double per_server) {
  constexpr double servers_max = 1e6;
  return static_cast<int>(std::ceil(std::min(load / per_server, servers_max) - 1e-9));
}

}  // namespace

void RecentLoad::add(double load) { values_[added_++ % values_.size()] = load; }

double RecentLoad::mean() const {
  const std::size_t known = std::min(added_, values_.size());
  if (known == 0) return 0;
  const auto end = values_.begin() + static_cast<std::ptrdiff_t>(known);
  return std::accumulate(values_.begin(), end, 0.0) / static_cast<double>(known);
}

int KpaRule::servers(std::chrono::seconds now, double load, int ready) {
  stable_load_.add(load);
  panic_load_.add(load);
  if (now % tick != tick.zero()) return wanted_;
  const int least = std::max(ready / 2, 1);
  const int of_stable = std::max(servers_for(stable_load_.mean(), per_server_), least);
  const int of_panic = std::max(servers_for(panic_load_.mean(), per_server_), least);
  if (of_panic >= 2 * std::max(ready, 1)) panic_until_ = now + stable;
  const bool panics = now <= panic_until_;
  panic_most_ = panics ? std::max({panic_most_, of_stable, of_panic}) : 0;
  return wanted_ = panics ? panic_most_ : of_stable;
}

HpaRule::HpaRule(double per_server, Metric metric)
    : per_server_(per_server),
      metric_(metric),
      recent_(static_cast<std::size_t>((metric == Metric::own ? sync : poll).count())) {}

void HpaRule::decide(int running) {
  const double load = metric_ == Metric::own ? recent_.mean() : polled_;
  const double share = load / (per_server_ * std::max(running, 1));
  constexpr double tolerance = 0.1;
  const bool is_near = running > 0 && std::abs(share - 1) <= tolerance;
  const int recommended = is_near ? running : std::max(servers_for(load, per_server_), 1);
  recommended_[decisions_++ % recommended_.size()] = recommended;
  const int most = *std::ranges::max_element(recommended_);
  // `most` holds against a fall, not for a rise.
  const int stabilised = recommended >= running ? recommended : std::min(most, running);
  wanted_ = std::min(stabilised, std::max(2 * running, running + 4));
}

int HpaRule::servers(std::chrono::seconds now, double load, int running) {
  recent_.add(load);
  if (load > 0) active_at_ = now;
  if (now % poll == poll.zero()) polled_ = recent_.mean();
  if (now % sync == sync.zero()) decide(running);
  const bool is_asleep = metric_ == Metric::of_keda && now - active_at_ > cooldown;
  return is_asleep ? 0 : wanted_;
}

int ForecastRule::servers(std::chrono::seconds now, double load, int ready, double ahead) {
  static const double kept = std::pow(kept_a_minute, 1.0 / 60);
  floor_ *= kept;
  if (!std::isnan(ahead)) floor_ = std::max(floor_, ahead / per_server_);
  return std::max(kpa_.servers(now, load, ready), servers_for(floor_, 1));
}

}  // namespace classgate::history
