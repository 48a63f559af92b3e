#pragma once

#include "gateway/planning/variation.h"

namespace classgate::planning {

// `classgate simulate --sweep`: every combination of the values, on all cores. Returns the exit
// status.
int sweep(const conf::CommandLine& command, const Environment& environment,
          const Scenario& scenario);

}  // namespace classgate::planning
