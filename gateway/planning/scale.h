#pragma once

#include <expected>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "conf/workload.h"
#include "gateway/planning/named_traffic.h"

namespace classgate::planning {

// --scale: how many times of the traffic there is, of all or of single classes (or routes).
struct Scale {
  double all = 1;
  std::vector<std::pair<std::string, double>> of = {};  // by name; in place of `all`

  bool is_any() const { return all != 1 || !of.empty(); }
  double factor(const std::string& name) const;
};

// "3", "classify=3"; the error names what was given.
std::expected<Scale, std::string> parse_scale(const std::vector<std::string>& texts);

// More or fewer requests, users and clients in each class. Empty, or why that can't be.
std::string apply(const Scale& scale, conf::Workload& workload);

// A log as so many times the traffic: further copies of a request are other clients' requests, who
// do the same as the one that there was, up to ten seconds later, each client always as much. What
// is fewer, and what is left of a broken factor, is chosen by chance.
std::unique_ptr<NamedTraffic> scaled(std::unique_ptr<NamedTraffic> traffic, const Scale& scale,
                                     std::uint64_t seed);

}  // namespace classgate::planning
