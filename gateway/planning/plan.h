#pragma once

#include "gateway/planning/variation.h"

namespace classgate::planning {

// `classgate simulate --plan`: the smallest limits that meet the targets, each with its reason, as
// a conf; or why there are none. Exit status 0, 1 (something cannot be read), or 2: no setting can.
int plan(const conf::CommandLine& command, const Environment& environment,
         const Scenario& scenario);

}  // namespace classgate::planning
