#pragma once

#include <string_view>

namespace classgate::planning {

// One file that opens without a network; what it shows stands in place of "/*DATA*/null".
extern const std::string_view forecast_page_template;

}  // namespace classgate::planning
