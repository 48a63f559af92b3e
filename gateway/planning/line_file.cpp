#include "gateway/planning/line_file.h"

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace classgate::planning {
namespace {

constexpr std::size_t block = 256 * 1024;
constexpr std::size_t line_max = 1024 * 1024;

}  // namespace

std::expected<LineFile, std::string> LineFile::open(const std::string& path) {
  LineFile lines;
  lines.file_.reset(std::fopen(path.c_str(), "re"));
  if (!lines.file_) return std::unexpected(path + ": " + std::strerror(errno));
  std::setvbuf(lines.file_.get(), nullptr, _IONBF, 0);
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  lines.size_ = error ? 0 : size;
  lines.buffer_.resize(block);
  return lines;
}

bool LineFile::next(std::string_view& line) {
  std::size_t searched = begin_;
  for (;;) {
    const void* found = std::memchr(buffer_.data() + searched, '\n', end_ - searched);
    if (found != nullptr) {
      const auto at = static_cast<std::size_t>(static_cast<const char*>(found) - buffer_.data());
      line = std::string_view(buffer_).substr(begin_, at - begin_);
      taken_ += at + 1 - begin_;
      begin_ = at + 1;
      break;
    }
    const std::size_t pending = end_ - begin_;
    if (!is_at_end_ && pending < line_max && fill()) {
      searched = begin_ + pending;
      continue;
    }
    if (pending == 0) return false;
    line = std::string_view(buffer_).substr(begin_, pending);  // the last, without a newline
    taken_ += pending;
    begin_ = end_;
    break;
  }
  ++number_;
  if (line.ends_with('\r')) line.remove_suffix(1);
  return true;
}

bool LineFile::fill() {
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  if (buffer_.size() - end_ < block) buffer_.resize(end_ + block);
  const std::size_t got = std::fread(buffer_.data() + end_, 1, block, file_.get());
  end_ += got;
  is_at_end_ = got == 0;
  return got > 0;
}

}  // namespace classgate::planning
