#pragma once

#include <functional>
#include <string>

#include "gateway/planning/knee.h"
#include "gateway/planning/open_loop.h"

namespace classgate::planning {

// Asks a service for real what a KneeSearch wants to know. `on_turn` hears how far it is (0 to 1)
// and what it does; when it says false the search ends with what is known.
Knee find_knee(const LoadOptions& options, const Question& question, const conf::Law* service,
               std::uint64_t seed, const std::function<bool(double, const std::string&)>& on_turn);

}  // namespace classgate::planning
