#include "gateway/sharing/member_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <string_view>
#include <utility>

namespace classgate::gateway {

std::optional<std::vector<std::string>> MemberLock::take(const std::string& own) {
  proxy::net::Fd fd(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd || ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return std::nullopt;
  std::array<char, 4096> bytes{};
  const ssize_t size = ::pread(fd.get(), bytes.data(), bytes.size(), 0);
  std::string_view text(bytes.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
  std::vector<std::string> before;
  // A line that was not written to its end is nobody's name.
  for (std::size_t end = text.find('\n'); end != std::string_view::npos; end = text.find('\n')) {
    if (end > 0) before.emplace_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  if (before.size() >= names_max)
    before.erase(before.begin(), before.end() - static_cast<std::ptrdiff_t>(names_max - 1));
  held_ = std::move(fd);
  std::vector<std::string> names = before;
  names.push_back(own);
  if (keep(names)) return before;
  held_ = {};
  return std::nullopt;
}

// Written over what was there, and cut then: who is killed in between leaves names that nobody has.
bool MemberLock::keep(const std::vector<std::string>& names) {
  if (!held_) return false;
  std::string text;
  for (const std::string& name : names) text += name + '\n';
  return ::pwrite(held_.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()) &&
         ::ftruncate(held_.get(), static_cast<off_t>(text.size())) == 0;
}

}  // namespace classgate::gateway
