#pragma once

#include <expected>
#include <string>
#include <string_view>

namespace classgate::conf {

// What a path may lead to: a regular file or /dev/null, or also what is waited for, such as a FIFO,
// a terminal or a device.
enum class FileKind { regular, any };

// The whole of a small file that somebody wrote by hand (at most 1 MiB), or why it cannot be read.
// `hint` says how another one is named. Any thread; may wait for the disk.
std::expected<std::string, std::string> read_text_file(const std::string& path,
                                                       std::string_view hint = {},
                                                       FileKind kind = FileKind::regular);
// Empty when it is a regular file that can be opened.
std::string why_not_readable(const std::string& path);

}  // namespace classgate::conf
