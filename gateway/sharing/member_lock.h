#pragma once

#include <optional>
#include <string>
#include <vector>

#include "proxy/net/handles.h"

namespace classgate::gateway {

// Which member of the ledger this machine's gateway is, in a file that its process has locked
// (flock(2)) for as long as it lives: a line for it, behind those of such before it as the ledger
// has not been told of. Who finds it unlocked knows for certain that the members in it have ended,
// and can tell the others. May wait for the disk.
class MemberLock {
 public:
  static constexpr std::size_t names_max = 16;  // the oldest are forgotten

  explicit MemberLock(std::string path) : path_(std::move(path)) {}

  bool is_held() const { return static_cast<bool>(held_); }
  // Adds `own` when nobody has it. Returns who stood there; nothing while somebody has it, or where
  // no file can be kept.
  std::optional<std::vector<std::string>> take(const std::string& own);
  // These are to be told of when this process has ended. Where it cannot be written, the others are
  // told of one that they do not know.
  bool keep(const std::vector<std::string>& names);

 private:
  const std::string path_;
  proxy::net::Fd held_;
};

}  // namespace classgate::gateway
