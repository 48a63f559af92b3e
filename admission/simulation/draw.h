#pragma once

#include "admission/simulation/random.h"
#include "admission/time.h"
#include "conf/workload.h"

namespace classgate::simulation {

// One value of a law. Never negative; at most a day, which a heavy tail may reach.
admission::Duration draw(const conf::Law& law, Random& random);
double mean_seconds(const conf::Law& law);

}  // namespace classgate::simulation
