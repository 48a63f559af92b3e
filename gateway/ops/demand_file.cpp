#include "gateway/ops/demand_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "conf/format.h"
#include "proxy/net/handles.h"

namespace classgate::gateway {
namespace {

std::unexpected<std::string> demand_file_error(const std::string& path, std::string_view what) {
  return std::unexpected(fmt::format("forecast.file: {}: {}", path, what));
}

std::string demand_errno_text() { return std::generic_category().message(errno); }

}  // namespace

DemandFileStamp stamp_of_demand_file(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return {};
  return {.inode = static_cast<std::int64_t>(status.st_ino),
          .changed_ns = status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec};
}

std::expected<history::DemandRead, std::string> read_demand_file(const std::string& path,
                                                                 history::Slot now) {
  const proxy::net::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) {
    if (errno == ENOENT || errno == ENOTDIR) return {};
    return demand_file_error(path, demand_errno_text());
  }
  struct stat status{};
  if (::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode))
    return demand_file_error(path, "is no file; demand begins anew");
  std::string text;
  text.resize(history::demand_text_max + 1);
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = ::read(file.get(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return demand_file_error(path, demand_errno_text());
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  text.resize(size);
  auto read = history::read_demand_text(text, now);
  if (read) return read;
  const std::string aside = path + ".broken";
  const bool is_aside = ::rename(path.c_str(), aside.c_str()) == 0;
  return demand_file_error(
      path, fmt::format(
                "{}; demand begins anew, and the file {}", read.error(),
                is_aside ? "is " + aside + " now" : "cannot be set aside: " + demand_errno_text()));
}

std::expected<void, std::string> write_demand_file(const std::string& path,
                                                   const std::string& text) {
  const std::string beside = path + ".new";
  const auto fail = [&] {
    const std::string why = demand_errno_text();
    ::unlink(beside.c_str());
    return demand_file_error(path, why + "; demand is not kept over a restart");
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

}  // namespace classgate::gateway
