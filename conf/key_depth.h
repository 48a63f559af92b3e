#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace classgate::conf {

// toml++ bounds how deep values may be nested, but not how many parts a dotted key or the name of a
// table has: it makes a table of each, and goes down one call for each when they are taken away
// again, so that 60,000 of them end the process. No key of ours has more than three.
inline constexpr std::size_t key_parts_max = 32;

// The line, from 1 on, of the first key that has more parts than that. The text may be anything;
// what stands in strings and comments counts for nothing. O(length).
std::optional<std::uint32_t> line_of_deep_key(std::string_view text);

}  // namespace classgate::conf
