#include "gateway/log_target.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <mutex>
#include <system_error>

#include "conf/format.h"

namespace classgate::gateway {
namespace {

constexpr std::chrono::milliseconds slice{100};  // in which the end of the process is noticed
// What a pipe or a socket that poll(2) has called writable takes without waiting.
constexpr std::size_t taken_at_once = PIPE_BUF;

// A FIFO is opened without waiting for its reader, and is never waited for in write(2).
struct OpenedFile {
  proxy::net::Fd fd;
  bool is_new = false;
};

std::expected<OpenedFile, std::string> open_file(const std::string& path) {
  constexpr int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  proxy::net::Fd fresh(::open(path.c_str(), flags | O_EXCL, 0640));
  if (fresh) return OpenedFile{std::move(fresh), true};
  proxy::net::Fd file(::open(path.c_str(), flags, 0640));
  if (file) return OpenedFile{std::move(file), false};
  if (errno == ENXIO) return std::unexpected(path + ": nobody reads it (a FIFO needs a reader)");
  return std::unexpected(fmt::format("{}: {}", path, std::generic_category().message(errno)));
}

bool are_one_file(int one, int other) {
  struct stat a{};
  struct stat b{};
  return ::fstat(one, &a) == 0 && ::fstat(other, &b) == 0 && a.st_dev == b.st_dev &&
         a.st_ino == b.st_ino;
}

// Both logs may go to one pipe, where only small writes are whole: one after the other, then. Two
// places don't wait for each other.
std::mutex& standard_mutex(int fd) {
  static std::array<std::mutex, 2> mutexes;
  static const bool is_one = are_one_file(STDOUT_FILENO, STDERR_FILENO);
  return mutexes[fd == STDERR_FILENO && !is_one ? 1 : 0];
}

bool is_writable(int fd, std::chrono::milliseconds within) {
  pollfd waited{fd, POLLOUT, 0};
  return ::poll(&waited, 1, static_cast<int>(within.count())) > 0;
}

bool comes_to_take_more(int fd, const WriteTime& time) {
  for (;;) {
    const auto left = time.left();
    if (is_writable(fd, std::min(left, slice))) return true;
    if (left.count() == 0) return false;
  }
}

std::uint64_t count_lines(std::string_view lines) {
  return static_cast<std::uint64_t>(std::ranges::count(lines, '\n'));
}

// What could not be written, and why.
struct Rest {
  std::string_view bytes;
  int error = 0;
};

Rest write_all(int fd, bool may_block, std::string_view bytes, const WriteTime& time) {
  while (!bytes.empty()) {
    if (may_block && !comes_to_take_more(fd, time)) return {bytes, EAGAIN};
    const std::size_t size = may_block ? std::min(bytes.size(), taken_at_once) : bytes.size();
    const ssize_t written = ::write(fd, bytes.data(), size);
    if (written > 0)
      bytes.remove_prefix(static_cast<std::size_t>(written));
    else if (written == 0)
      return {bytes, EIO};
    else if (errno == EINTR)
      continue;
    else if (const int error = errno; error != EAGAIN || !comes_to_take_more(fd, time))
      return {bytes, error};
  }
  return {bytes, 0};
}

void write_to_syslog(std::string_view lines, int severity) {
  for (std::size_t end; !lines.empty(); lines.remove_prefix(end + 1)) {
    end = std::min(lines.find('\n'), lines.size() - 1);
    ::syslog(severity, "%.*s", static_cast<int>(end), lines.data());
  }
}

}  // namespace

std::expected<LogTarget, std::string> LogTarget::open(const std::string& place) {
  LogTarget target;
  if (place == "stdout" || place == "stderr") {
    target.kind_ = Kind::standard;
    target.fd_ = place == "stdout" ? STDOUT_FILENO : STDERR_FILENO;
    target.look_at_descriptor();
  } else if (place == "syslog") {
    target.kind_ = Kind::syslog;
    ::openlog("classgate", LOG_PID | LOG_NDELAY, LOG_DAEMON);  // of the process: never closed
  } else {
    auto file = open_file(place);
    if (!file) return std::unexpected(file.error());
    target.kind_ = Kind::file;
    target.path_ = place;
    target.file_ = std::move(file->fd);
    target.fd_ = target.file_.get();
    if (file->is_new) target.fresh_.reset(new std::string(place));
  }
  return target;
}

// A standard descriptor is shared with whoever started us: it can't be made non-blocking. A pipe or
// a terminal is opened once more instead; where that is not allowed, and of sockets, little is
// written at a time.
void LogTarget::look_at_descriptor() {
  struct stat status{};
  if (::fstat(fd_, &status) != 0 || S_ISREG(status.st_mode)) return;
  const std::string own = fmt::format("/proc/self/fd/{}", fd_);
  if (!S_ISSOCK(status.st_mode))
    file_.reset(::open(own.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  may_block_ = !file_;
}

LogTarget::Written LogTarget::write(std::string_view lines, int severity, WriteTime& time) {
  time.begin();
  switch (kind_) {
    case Kind::nowhere: return {.lost_lines = count_lines(lines), .error = EBADF};
    case Kind::syslog: write_to_syslog(lines, severity); return {};
    case Kind::file: return write_to_descriptor(lines, time);
    case Kind::standard: {
      const std::scoped_lock lock(standard_mutex(fd_));
      return write_to_descriptor(lines, time);
    }
  }
  return {};
}

LogTarget::Written LogTarget::write_to_descriptor(std::string_view lines, const WriteTime& time) {
  std::string mended;
  std::string_view bytes = lines;
  if (is_mid_line_) {
    mended.append(1, '\n').append(lines);
    bytes = mended;
  }
  const Rest rest = write_all(file_ ? file_.get() : fd_, may_block_, bytes, time);
  const std::string_view written = bytes.substr(0, bytes.size() - rest.bytes.size());
  if (!written.empty()) is_mid_line_ = written.back() != '\n';
  return {.lost_lines = std::min(count_lines(rest.bytes), count_lines(lines)), .error = rest.error};
}

void LogTarget::Remove::operator()(std::string* path) const {
  struct stat found{};
  if (::lstat(path->c_str(), &found) == 0 && S_ISREG(found.st_mode) && found.st_size == 0)
    ::unlink(path->c_str());
  delete path;
}

std::expected<void, std::string> LogTarget::reopen() {
  if (kind_ != Kind::file) return {};
  auto file = open_file(path_);
  if (!file) return std::unexpected(file.error());
  is_mid_line_ = is_mid_line_ && are_one_file(file->fd.get(), fd_);
  file_ = std::move(file->fd);
  keep();
  fd_ = file_.get();
  return {};
}

void write_what_fits(int fd, std::string_view text) {
  if (!is_writable(fd, std::chrono::milliseconds(0))) return;
  [[maybe_unused]] const auto written =
      ::write(fd, text.data(), std::min(text.size(), taken_at_once));
}

}  // namespace classgate::gateway
