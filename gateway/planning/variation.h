#pragma once

#include <expected>
#include <string>
#include <vector>

#include "gateway/planning/conf_source.h"
#include "gateway/planning/scenario.h"

namespace classgate::planning {

// One thing that is varied, and the values that it has in turn: "workers=10..100:10".
struct Variation {
  std::string key;  // of the conf ("admission.workers"), or "service.servers", "service.capacity",
                    // "traffic.times"
  std::vector<std::string> values;
};

// "KEY=FROM..TO[:STEP]" or "KEY=A,B,C". A KEY without a dot is one of [admission].
std::expected<Variation, std::string> parse_variation(const std::string& text);

struct Setting {
  std::string key;
  std::string value;
};

// A run with some things set otherwise.
std::expected<Result, std::string> run_with(const conf::CommandLine& command,
                                            const Environment& environment,
                                            const Scenario& scenario,
                                            const std::vector<Setting>& settings);

}  // namespace classgate::planning
