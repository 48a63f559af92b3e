#include "gateway/planning/line_file.h"

#include <cstring>
#include <utility>

#include "conf/text_file.h"

namespace classgate::planning {
namespace {

constexpr std::size_t block = 256 * 1024;

}  // namespace

std::expected<LineFile, std::string> LineFile::open(std::shared_ptr<const LogFile> file) {
  auto bytes = Unpacked::open(file);
  if (!bytes) return std::unexpected(bytes.error());
  LineFile lines;
  lines.file_ = std::move(file);
  lines.bytes_ = std::move(*bytes);
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
    begin_ = end_;
    break;
  }
  if (number_++ == 0) line = conf::without_byte_order_mark(line);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return true;
}

bool LineFile::fill() {
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  if (buffer_.size() - end_ < block) buffer_.resize(end_ + block);
  const auto got = bytes_->read(std::span(buffer_).subspan(end_, block));
  if (!got) error_ = got.error();
  const std::size_t more = got.value_or(0);
  end_ += more;
  unpacked_ += more;
  is_at_end_ = more == 0;
  return more > 0;
}

double LineFile::progress() const {
  return file_->size() == 0
             ? 0
             : static_cast<double>(bytes_->taken()) / static_cast<double>(file_->size());
}

}  // namespace classgate::planning
