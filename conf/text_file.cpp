#include "conf/text_file.h"

#include <cerrno>
#include <cstring>
#include <fstream>

#include "conf/format.h"

namespace classgate::conf {
namespace {

constexpr std::size_t file_bytes_max = 1 << 20;

}  // namespace

std::expected<std::string, std::string> read_text_file(const std::string& path,
                                                       std::string_view hint) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text;
  if (file) {
    text.resize(file_bytes_max + 1);
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(file.gcount()));
  }
  if (!file && !file.eof())
    return std::unexpected(fmt::format("cannot be read: {}{}{}",
                                       std::strerror(errno != 0 ? errno : EISDIR),
                                       hint.empty() ? "" : " ", hint));
  if (text.size() > file_bytes_max)
    return std::unexpected(std::string("is larger than 1 MiB: this is no conf file"));
  return text;
}

}  // namespace classgate::conf
