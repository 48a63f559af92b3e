#pragma once

#include <expected>
#include <string>

#include "conf/document.h"
#include "conf/settings.h"

namespace classgate::conf {

// 10, "header:NAME", "body:1KiB", "items" or "items:NAME".
std::expected<CostSettings, std::string> parse_cost(const RawValue& value);
std::string print_cost(const CostSettings& cost);

}  // namespace classgate::conf
