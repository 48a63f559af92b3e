#pragma once

#include <string_view>

namespace classgate::planning {

// One file that opens without a network; what it shows stands in place of "/*DATA*/null", and when
// it was made in place of "/*MADE*/null", behind that.
extern const std::string_view page_template;

}  // namespace classgate::planning
