#include "gateway/sharing/member_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>

namespace classgate::gateway {

std::optional<std::string> MemberLock::take(const std::string& own) {
  proxy::net::Fd fd(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd || ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return std::nullopt;
  std::array<char, 256> bytes{};
  const ssize_t size = ::pread(fd.get(), bytes.data(), bytes.size(), 0);
  std::string before(bytes.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
  // One that was not written to its end is nobody's name.
  const std::size_t end = before.find('\n');
  before.resize(end == std::string::npos ? 0 : end);
  const std::string line = own + '\n';
  if (::ftruncate(fd.get(), 0) != 0 ||
      ::pwrite(fd.get(), line.data(), line.size(), 0) != static_cast<ssize_t>(line.size()))
    return std::nullopt;
  held_ = std::move(fd);
  return before;
}

void MemberLock::clear() {
  // Where it cannot be emptied, one that has left is said to be dead: the ledger does not know it.
  if (held_ && ::ftruncate(held_.get(), 0) != 0) return;
}

}  // namespace classgate::gateway
