#pragma once

#include <expected>
#include <string>
#include <string_view>

namespace classgate::conf {

// The whole of a small file that somebody wrote by hand (at most 1 MiB), or why it cannot be read.
// `hint` says how another one is named.
std::expected<std::string, std::string> read_text_file(const std::string& path,
                                                       std::string_view hint = {});

}  // namespace classgate::conf
