#pragma once

#include <string>
#include <vector>

#include "gateway/planning/scenario.h"
#include "gateway/planning/survey.h"

namespace classgate::planning {

// Classes (or routes) of which hardly any request would be served while others are, each with what
// ends most of them and the key that mends it: "7 of 1,659 requests of class batches would be
// served (most end with queue_full): [reserve] priority_5 = 0.1 keeps workers for them".
std::vector<std::string> starved_in(const Result& result, const Survey& survey);

}  // namespace classgate::planning
