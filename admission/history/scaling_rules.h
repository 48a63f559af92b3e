#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <limits>
#include <vector>

namespace classgate::history {

// How many servers there should be, by the rules that autoscalers follow: pure, asked once a second
// of virtual time. A load is in any unit; `per_server` of it, > 0, is what one server takes and
// what each rule aims at.

// Mean of the last seconds of a load.
class RecentLoad {
 public:
  explicit RecentLoad(std::size_t seconds) : values_(seconds) {}
  void add(double load);
  double mean() const;  // of those that were added; 0: none
 private:
  std::vector<double> values_;  // a ring
  std::size_t added_ = 0;
};

// Knative's pod autoscaler (knative.dev/serving, pkg/autoscaler/scaling/autoscaler.go) with its
// defaults: every two seconds the mean of a minute says how many there should be; where that of six
// seconds asks for twice as many as serve, it panics: the most that is asked for stands, until a
// minute has passed without. Falls to half in one decision at most. One server at least.
class KpaRule {
 public:
  explicit KpaRule(double per_server) : per_server_(per_server) {}
  int servers(std::chrono::seconds now, double load, int ready);

 private:
  static constexpr std::chrono::seconds tick{2}, stable{60}, panic{6};
  double per_server_;
  RecentLoad stable_load_{static_cast<std::size_t>(stable.count())};
  RecentLoad panic_load_{static_cast<std::size_t>(panic.count())};
  std::chrono::seconds panic_until_{-1};
  int panic_most_ = 0;
  int wanted_ = 0;
};

// Kubernetes' HorizontalPodAutoscaler with its defaults: every 15 s, nothing where the load is
// within 10 % of what is running, at most double or four more, and down to the most that was
// recommended within five minutes. KEDA feeds the same one, with a metric that is polled every
// 30 s, and alone decides about zero: after five minutes without a load there is no server.
class HpaRule {
 public:
  enum class Metric { own, of_keda };
  HpaRule(double per_server, Metric metric);
  int servers(std::chrono::seconds now, double load, int running);

 private:
  static constexpr std::chrono::seconds sync{15}, poll{30}, cooldown{300};
  void decide(int running);
  double per_server_;
  Metric metric_;
  RecentLoad recent_;
  double polled_ = 0;
  std::chrono::seconds active_at_{0};
  std::array<int, 20> recommended_{};  // one a sync, five minutes: a ring
  std::size_t decisions_ = 0;
  int wanted_ = 1;
};

// What KPA's rule asks for, and at least what the forecast load needs. A forecast only adds: where
// it is wrong, there are as many as without it. What it adds falls slowly, by a tenth a minute.
class ForecastRule {
 public:
  explicit ForecastRule(double per_server) : kpa_(per_server), per_server_(per_server) {}
  // `ahead`: the load expected when a server that is started now serves; NaN: not known.
  int servers(std::chrono::seconds now, double load, int ready, double ahead);

 private:
  static constexpr double kept_a_minute = 0.9;
  KpaRule kpa_;
  double per_server_;
  double floor_ = 0;  // servers
};

}  // namespace classgate::history
