#pragma once

#include "gateway/planning/conf_source.h"
#include "gateway/planning/scenario.h"

namespace classgate::planning {

// `classgate simulate --diff OLD --conf NEW`: the same requests under both, and what became of
// each.
int diff(const conf::CommandLine& command, const Environment& environment,
         const Scenario& scenario);

}  // namespace classgate::planning
