#include "gateway/planning/log_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <vector>

#include "conf/format.h"

namespace classgate::planning {
namespace {

using proxy::net::Fd;

constexpr std::size_t copied_at_once = 256 * 1024;
constexpr std::uint64_t looked_after = 16ULL << 20;  // bytes: then whether there is room is seen
// Of a log that is not packed a line ends before that.
constexpr std::uint64_t line_ends_before = 4ULL << 20;

std::string copies_in() {
  const char* const chosen = std::getenv("TMPDIR");
  return chosen != nullptr && *chosen != '\0' ? chosen : "/var/tmp";
}

// A file that goes with its descriptor. Not every file system knows those without a name.
Fd nameless_file(const std::string& directory) {
  Fd fd(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (fd.get() >= 0 || (errno != EOPNOTSUPP && errno != EISDIR)) return fd;
  std::string name = directory + "/classgate-log-XXXXXX";
  fd = Fd(::mkostemp(name.data(), O_CLOEXEC));
  if (fd.get() >= 0) ::unlink(name.c_str());
  return fd;
}

bool write_all(int fd, std::span<const char> bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(fd, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(wrote));
  }
  return true;
}

// Of its file system, for those who are not root.
std::uint64_t free_bytes_of(int fd) {
  struct statvfs about{};
  if (::fstatvfs(fd, &about) != 0) return std::numeric_limits<std::uint64_t>::max();
  return static_cast<std::uint64_t>(about.f_bavail) * about.f_frsize;
}

bool is_packed(std::span<const char> beginning) {
  return !beginning.empty() && (beginning[0] == '\x1f' || beginning[0] == '\x28');
}

}  // namespace

std::expected<std::shared_ptr<const LogFile>, std::string> LogFile::open(const std::string& path,
                                                                         const Bounds& bounds) {
  const bool is_input = path == "-";
  const std::string name = is_input ? "standard input" : path;
  Fd fd(is_input ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
                 : ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  struct stat about{};
  if (fd.get() < 0 || ::fstat(fd.get(), &about) != 0)
    return std::unexpected(name + ": " + std::strerror(errno));
  if (S_ISDIR(about.st_mode))
    return std::unexpected(name + ": is a directory: name the file that is in it");
  if (::isatty(fd.get()) == 1)
    return std::unexpected(name + ": is a terminal: name a file, or let a pipe bring the log");
  if (S_ISCHR(about.st_mode) || S_ISBLK(about.st_mode))
    return std::unexpected(name + ": is a device: name a file, or let a pipe bring the log");
  const std::shared_ptr<LogFile> log(new LogFile(name, std::move(fd)));
  // Files of the kernel say that they are empty.
  if (!S_ISREG(about.st_mode) || about.st_size == 0) {
    if (auto copied = log->copy(bounds); !copied) return std::unexpected(copied.error());
    return log;
  }
  log->size_ = static_cast<std::uint64_t>(about.st_size);
  if (is_input) {
    const off_t begun = ::lseek(log->fd_.get(), 0, SEEK_CUR);
    log->begin_ = begun > 0 ? static_cast<std::uint64_t>(begun) : 0;
    log->size_ -= std::min(log->begin_, log->size_);
  }
  return log;
}

std::expected<void, std::string> LogFile::copy(const Bounds& bounds) {
  const std::string directory = copies_in();
  const auto complaint = [&](int error) {
    return std::unexpected(fmt::format(
        "{}: is no file, and is read more than once; its copy in {} failed: {} (TMPDIR names "
        "another directory; or name the file itself: .gz and .zst are read as they are)",
        name_, directory, std::strerror(error)));
  };
  Fd copied = nameless_file(directory);
  if (copied.get() < 0) return complaint(errno);
  std::vector<char> buffer(copied_at_once);
  bool may_be_lines = false;
  std::uint64_t looked_at = 0;
  for (;;) {
    const ssize_t got = ::read(fd_.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::unexpected(name_ + ": " + std::strerror(errno));
    if (got == 0) break;
    const std::span<const char> bytes = std::span(buffer).first(static_cast<std::size_t>(got));
    may_be_lines = may_be_lines || (size_ == 0 && is_packed(bytes)) ||
                   std::ranges::find(bytes, '\n') != bytes.end();
    size_ += static_cast<std::uint64_t>(got);
    if (!may_be_lines && size_ > line_ends_before)
      return std::unexpected(fmt::format("{}: no line ends in its first {} MiB: this is no log",
                                         name_, line_ends_before >> 20));
    if (size_ > bounds.bytes_max)
      return std::unexpected(fmt::format(
          "{}: is no file, and more than the {} bytes that are copied: write it to a file first "
          "(.gz and .zst are read as they are)",
          name_, bounds.bytes_max));
    if (!write_all(copied.get(), bytes)) return complaint(errno);
    if (size_ - looked_at < looked_after) continue;
    looked_at = size_;
    if (free_bytes_of(copied.get()) < bounds.left_free)
      return std::unexpected(fmt::format(
          "{}: is no file, and is read more than once; when {} MiB of it had been copied less than "
          "{} MiB were free in {} (TMPDIR names another directory; or name the file itself: .gz "
          "and .zst are read as they are)",
          name_, size_ >> 20, bounds.left_free >> 20, directory));
  }
  fd_ = std::move(copied);
  return {};
}

std::expected<std::size_t, std::string> LogFile::read_at(std::uint64_t at,
                                                         std::span<char> into) const {
  if (at >= size_) return 0;
  const std::size_t wanted = std::min<std::uint64_t>(into.size(), size_ - at);
  for (;;) {
    const ssize_t got = ::pread(fd_.get(), into.data(), wanted, static_cast<off_t>(begin_ + at));
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno != EINTR) return std::unexpected(std::string(std::strerror(errno)));
  }
}

}  // namespace classgate::planning
