#pragma once

#include <algorithm>
#include <string_view>

namespace classgate::conf {

// Of ASCII alone, whatever the locale: names of fields, schemes and hosts know no other letters.
constexpr char lower_case(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}
constexpr bool equal_but_for_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, lower_case, lower_case);
}

}  // namespace classgate::conf
