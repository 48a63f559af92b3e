#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "gateway/planning/knee.h"

// What the measurements of a service tell (knee.h). Times are in seconds.
namespace classgate::planning {

double mean_of(const std::vector<double>& values);
double deviation_of(const std::vector<double>& values, double mean);
double at_share(const std::vector<double>& sorted, double share);
// Without the outermost twentieths: a hiccup of the machine is no time of the service.
double trimmed_mean(const std::vector<double>& sorted);
double median_of(std::vector<double> values);

// From when on requests count: those before found the service on its way to being as full as it
// became.
Duration settled_from(const KneeMeasure& measure);
// What requests took that began in the measured time, sorted. Not those that ended in it: the long
// ones would be too few.
std::vector<double> latencies_of(const KneeMeasure& measure);

// With which capacities the times since a request's turn, in a service that takes them in turn, are
// those of a calm one; of the numbers from `least` to `most`.
struct InTurn {
  std::uint32_t best = 0;
  std::uint32_t least = 0;
  std::uint32_t most = 0;
};
std::optional<InTurn> in_turn(const std::vector<KneeMeasure>& full, std::uint32_t full_at,
                              const std::vector<double>& calm, std::uint32_t least,
                              std::uint32_t most);

}  // namespace classgate::planning
