#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "gateway/planning/series.h"

namespace classgate::planning {

// A page that needs no network: the last week, what is to come with its bands, how good it was.
// Returns the exit status.
int write_forecast_page(const std::string& path, const Series& series,
                        const nlohmann::ordered_json& report);

}  // namespace classgate::planning
