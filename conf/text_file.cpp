#include "conf/text_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "conf/format.h"

namespace classgate::conf {
namespace {

class OpenFile {
 public:
  explicit OpenFile(int fd) : fd_(fd) {}
  OpenFile(OpenFile&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  OpenFile& operator=(OpenFile&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~OpenFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

std::string text_of(int error) { return std::generic_category().message(error); }

bool is_null_device(const struct stat& found) {
  return S_ISCHR(found.st_mode) && found.st_rdev == makedev(1, 3);  // null(4)
}

// A regular one is never mistaken for one that waits for a writer. The error is why not.
std::expected<OpenFile, std::string> open_file(const std::string& path, FileKind kind) {
  if (kind == FileKind::any) {
    OpenFile file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
    if (file.get() < 0) return std::unexpected(text_of(errno));
    return file;
  }
  struct stat found{};
  OpenFile file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
  // A lease (fcntl(2), F_SETLEASE) is being broken, which takes a moment; only regular files have
  // them.
  if (file.get() < 0 && errno == EWOULDBLOCK && ::stat(path.c_str(), &found) == 0 &&
      S_ISREG(found.st_mode))
    file = OpenFile(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (file.get() < 0 || ::fstat(file.get(), &found) != 0) return std::unexpected(text_of(errno));
  if (S_ISDIR(found.st_mode)) return std::unexpected(text_of(EISDIR));
  if (!S_ISREG(found.st_mode) && !is_null_device(found))
    return std::unexpected("it is no regular file");
  return file;
}

}  // namespace

std::string why_not_readable(const std::string& path) {
  const auto file = open_file(path, FileKind::regular);
  return file ? std::string() : file.error();
}

std::expected<std::string, std::string> read_text_file(const std::string& path,
                                                       std::string_view hint, FileKind kind,
                                                       std::size_t bytes_max) {
  const auto fail = [&](const std::string& why) {
    return std::unexpected(
        fmt::format("cannot be read: {}{}{}", why, hint.empty() ? "" : " ", hint));
  };
  const auto file = open_file(path, kind);
  if (!file) return fail(file.error());
  std::string text(conf_bytes_max + 1, '\0');
  std::size_t size = 0;
  while (size <= bytes_max) {
    if (size == text.size()) text.resize(std::min(2 * size, bytes_max + 1));
    const ssize_t got = ::read(file->get(), text.data() + size, text.size() - size);
    if (got == 0) break;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(text_of(errno));
    size += static_cast<std::size_t>(got);
  }
  text.resize(size);
  if (text.size() > bytes_max)
    return std::unexpected(
        fmt::format("is larger than {} MiB: this is no conf file", bytes_max / conf_bytes_max));
  return text;
}

}  // namespace classgate::conf
