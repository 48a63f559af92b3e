#pragma once

#include <optional>
#include <string>

#include "proxy/net/handles.h"

namespace classgate::gateway {

// Which member of the ledger this machine's gateway is, in a file that its process has locked
// (flock(2)) for as long as it lives. Who finds it unlocked knows for certain that the member in it
// has ended, and can tell the others. May wait for the disk.
class MemberLock {
 public:
  explicit MemberLock(std::string path) : path_(std::move(path)) {}

  bool is_held() const { return static_cast<bool>(held_); }
  // Writes `own` there when nobody has it. Returns who had it last, empty for nobody; nothing while
  // somebody has it, or where no file can be kept.
  std::optional<std::string> take(const std::string& own);
  // This one has left in order: there is nothing to tell of it.
  void clear();

 private:
  const std::string path_;
  proxy::net::Fd held_;
};

}  // namespace classgate::gateway
