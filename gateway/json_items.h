#pragma once

#include <cstdint>
#include <string_view>

namespace classgate::gateway {

// How many items there are in the array that a JSON text is, or else in the first array that is a
// value of the object that it is. Reads once, keeps nothing, and stops where the array ends; of a
// text that is cut off it counts what is there. Text that is no JSON has as many as it looks like:
// at least none, at most one for each of its bytes.
std::uint64_t count_json_items(std::string_view text);

}  // namespace classgate::gateway
