#pragma once

#include <expected>
#include <string>

#include "gateway/planning/scenario.h"

namespace classgate::planning {

// --workload-out: a log as a workload file, to be edited and read back by simulate and load: a
// class for each route, with its rate over the time, its clients, the size of its bodies and the
// law of its service. The error names the file.
std::expected<void, std::string> write_workload(const Scenario& scenario,
                                                const conf::Settings& settings,
                                                const std::string& path);

}  // namespace classgate::planning
