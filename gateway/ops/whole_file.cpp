#include "gateway/ops/whole_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "conf/format.h"
#include "proxy/net/handles.h"

namespace classgate::gateway {
namespace {

std::string whole_file_trouble() { return std::generic_category().message(errno); }

}  // namespace

std::expected<std::optional<std::string>, std::string> read_whole_file(const std::string& path,
                                                                       std::size_t bytes_max) {
  const proxy::net::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    return std::unexpected(whole_file_trouble());
  }
  struct stat status{};
  if (::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode))
    return std::unexpected("is no file");
  std::string text;
  text.resize(std::min(static_cast<std::size_t>(status.st_size), bytes_max) + 1);
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = ::read(file.get(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::unexpected(whole_file_trouble());
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  text.resize(size);
  return text;
}

std::expected<void, std::string> write_whole_file(const std::string& path, std::string_view text) {
  const std::string beside = path + ".new";
  const auto fail = [&] {
    const std::string why = whole_file_trouble();
    ::unlink(beside.c_str());
    return std::unexpected(why);
  };
  const proxy::net::Fd file(
      ::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (file.get() < 0) return fail();
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t put = ::write(file.get(), text.data() + done, text.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return fail();
    done += static_cast<std::size_t>(put);
  }
  if (::fdatasync(file.get()) != 0 || ::rename(beside.c_str(), path.c_str()) != 0) return fail();
  return {};
}

std::string set_file_aside(const std::string& path) {
  const std::string aside = path + ".broken";
  return ::rename(path.c_str(), aside.c_str()) == 0
             ? "is " + aside + " now"
             : "cannot be set aside: " + whole_file_trouble();
}

}  // namespace classgate::gateway
