#pragma once

#include <functional>
#include <string>
#include <vector>

#include "gateway/planning/open_loop.h"

namespace classgate::planning {

// What a service can do, as measured.
struct Knee {
  struct Step {
    std::uint32_t at_once;
    double per_second;
    Duration median;
    Answers answers;
  };
  std::vector<Step> steps;     // how it was looked for
  double capacity = 0;         // requests that it computes at once
  double per_second_most = 0;  // requests a second that it does at most
  Duration service_mean{};     // of one request when it is not crowded
  Duration service_p95{};
  std::string method;            // how the capacity was told from the measurements
  double loss_when_crowded = 0;  // share of per_second_most that is lost with twice as many in it
  Answers answers;               // of all steps
  std::string why_unknown;       // not empty: what stands above cannot be believed
};

// Finds the capacity of a service by keeping more and more requests in it. Three phases:
//   1. Doubling, until twice as many in it do not bring more answers a second: it is full.
//   2. Calm, with half of what it can take or less: what a request takes when nobody is in its way.
//   3. Full, in turns with it: c requests in a service that has no room for all of them.
// By Little's law capacity = c * mean time when calm / mean time when full. That is as exact as the
// means, which a heavy tail spoils: for n requests the error is cv * sqrt(2 / n). Where that is too
// much, another way is free of it: in a service that takes them in turn a request begins when
// c - capacity others, counted from its arrival, have been answered. The capacity is the one for
// which the times from then on are distributed as when calm (least distance of Kolmogorov and
// Smirnov).
Knee find_knee(const LoadOptions& options, const OpenLoop::Group& group, const conf::Law* service,
               std::uint64_t seed, const std::function<void(double, const std::string&)>& progress);

}  // namespace classgate::planning
