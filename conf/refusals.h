#pragma once

// How refusals are written and which statuses they have, where a route has a say in it.

#include <expected>
#include <string>

#include "conf/document.h"
#include "conf/settings.h"

namespace classgate::conf {

// A list of "REASON=STATUS", each reason once, the status 400 to 599.
std::expected<RouteStatuses, std::string> parse_statuses(const RawValue& raw);
std::string print_statuses(const RouteStatuses& statuses);  // as TOML

}  // namespace classgate::conf
