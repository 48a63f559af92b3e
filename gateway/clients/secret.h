#pragma once

#include <expected>
#include <optional>
#include <string>

#include "conf/settings.h"
#include "gateway/clients/sip_hash.h"

namespace classgate::gateway {

// The key of the clients' ids ([clients] secret).
struct Secret {
  HashKey key;
  std::string warning;   // for an operator, a line for each: ids change with each start, or others
                         // than the owner can read or write the file
  bool is_made = false;  // a moment ago: no process has had it before
  bool is_lasting = true;  // the next process has the same
};

// What the file holds, at least 32 characters of which space around them does not count; where
// there is none one is made, mode 0600, such that of several who make it at once all have the same.
// In its usual place it may be that nobody can keep one: then, with a warning, a key of this
// process. The error is one line that says what to do. Waits for the disk.
std::expected<Secret, std::string> take_secret(const conf::ClientsSettings& clients);
// The same, and leaves no file behind where there is none: for `--check` and before a reload. What
// is good has a text too, if others than the owner can read or write it; else an empty one.
// `in_force`: the key of this process; a warning says when the file holds another one, or has gone.
std::expected<std::string, std::string> check_secret(const conf::ClientsSettings& clients,
                                                     const HashKey* in_force = nullptr);
// The key in the file; none where it is not there, or not to be used.
std::optional<HashKey> kept_key(const conf::ClientsSettings& clients);

}  // namespace classgate::gateway
