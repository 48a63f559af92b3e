#pragma once

#include <cstddef>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace classgate::gateway {

// Small files that are read and written whole. What waits for the disk; no loop calls it. The error
// is what went wrong, without the path.

// Nothing: there is no such file. Of one that is longer than `bytes_max`, one byte more than that.
std::expected<std::optional<std::string>, std::string> read_whole_file(const std::string& path,
                                                                       std::size_t bytes_max);
// Beside it first (PATH.new, mode 0600), so that it is whole whenever the machine stops.
std::expected<void, std::string> write_whole_file(const std::string& path, std::string_view text);
// As PATH.broken, for whoever wants to see what is wrong with it. What has become of it: "is
// PATH.broken now".
std::string set_file_aside(const std::string& path);

}  // namespace classgate::gateway
