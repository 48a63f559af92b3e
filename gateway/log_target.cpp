#include "gateway/log_target.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>
#include <system_error>

#include "conf/format.h"

namespace classgate::gateway {
namespace {

constexpr int patience_ms = 1000;  // with a non-blocking descriptor that is full

std::expected<proxy::net::Fd, std::string> open_file(const std::string& path) {
  proxy::net::Fd file(
      ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640));
  if (file) return file;
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

bool comes_to_take_more(int fd) {
  pollfd waited{fd, POLLOUT, 0};
  return ::poll(&waited, 1, patience_ms) > 0;
}

std::uint64_t count_lines(std::string_view lines) {
  return static_cast<std::uint64_t>(std::ranges::count(lines, '\n'));
}

// What could not be written, and why.
struct Rest {
  std::string_view bytes;
  int error = 0;
};

Rest write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written > 0)
      bytes.remove_prefix(static_cast<std::size_t>(written));
    else if (written == 0)
      return {bytes, EIO};
    else if (errno == EINTR)
      continue;
    else if (const int error = errno; error != EAGAIN || !comes_to_take_more(fd))
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
  } else if (place == "syslog") {
    target.kind_ = Kind::syslog;
    ::openlog("classgate", LOG_PID | LOG_NDELAY, LOG_DAEMON);  // of the process: never closed
  } else {
    auto file = open_file(place);
    if (!file) return std::unexpected(file.error());
    target.kind_ = Kind::file;
    target.path_ = place;
    target.file_ = std::move(*file);
    target.fd_ = target.file_.get();
  }
  return target;
}

LogTarget::Written LogTarget::write(std::string_view lines, int severity) {
  switch (kind_) {
    case Kind::nowhere: return {.lost_lines = count_lines(lines), .error = EBADF};
    case Kind::syslog: write_to_syslog(lines, severity); return {};
    case Kind::file: return write_to_descriptor(lines);
    case Kind::standard: {
      const std::scoped_lock lock(standard_mutex(fd_));
      return write_to_descriptor(lines);
    }
  }
  return {};
}

LogTarget::Written LogTarget::write_to_descriptor(std::string_view lines) {
  std::string mended;
  std::string_view bytes = lines;
  if (is_mid_line_) {
    mended.append(1, '\n').append(lines);
    bytes = mended;
  }
  const Rest rest = write_all(fd_, bytes);
  const std::string_view written = bytes.substr(0, bytes.size() - rest.bytes.size());
  if (!written.empty()) is_mid_line_ = written.back() != '\n';
  return {.lost_lines = std::min(count_lines(rest.bytes), count_lines(lines)), .error = rest.error};
}

std::expected<void, std::string> LogTarget::reopen() {
  if (kind_ != Kind::file) return {};
  auto file = open_file(path_);
  if (!file) return std::unexpected(file.error());
  is_mid_line_ = is_mid_line_ && are_one_file(file->get(), fd_);
  file_ = std::move(*file);
  fd_ = file_.get();
  return {};
}

}  // namespace classgate::gateway
