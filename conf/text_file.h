#pragma once

#include <expected>
#include <string>
#include <string_view>

namespace classgate::conf {

// What a path may lead to: a regular file or /dev/null, or also what is waited for, such as a FIFO,
// a terminal or a device.
enum class FileKind { regular, any };

inline constexpr std::size_t conf_bytes_max = 1 << 20;  // of a file that somebody wrote by hand
inline constexpr std::size_t clients_bytes_max = 256 << 20;  // of one that a program writes

// The whole of a file of `bytes_max` at most, or why it cannot be read. `hint` says how another one
// is named. Any thread; may wait for the disk.
std::expected<std::string, std::string> read_text_file(const std::string& path,
                                                       std::string_view hint = {},
                                                       FileKind kind = FileKind::regular,
                                                       std::size_t bytes_max = conf_bytes_max);
// As some editors begin what they write in UTF-8; the text is what follows.
constexpr std::string_view without_byte_order_mark(std::string_view text) {
  constexpr std::string_view mark = "\xef\xbb\xbf";
  return text.starts_with(mark) ? text.substr(mark.size()) : text;
}
// Empty when it is a regular file that can be opened.
std::string why_not_readable(const std::string& path);

}  // namespace classgate::conf
