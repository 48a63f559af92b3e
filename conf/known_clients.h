#pragma once

// The file of known clients (clients.clients_file): a line for each.
//
//   # anything after '#' is a comment
//   acme     plan=gold key=sha256:9f86d0... key=sha256:60303a... not_after=2027-12-31
//   trial-7  key=sha256:fd61a0... not_before=2026-12-01T08:00:00Z not_after=2026-12-15T08:00:00Z
//
// First the name, by which tokens may name it too ([jwt]), and by which logs and pages tell the
// client; then, in any order, its plan ([[plan]]; without one it is on everybody's terms), the
// SHA-256 of each of its keys, and when these hold. A date alone is that day in UTC: not_before its
// beginning, not_after its end.

#include <chrono>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "conf/document.h"
#include "conf/sha256.h"

namespace classgate::conf {

struct KnownClient {
  std::string name;
  std::string plan;  // empty: everybody's
  Place plan_place;  // where the file says it
  std::chrono::sys_seconds not_before = std::chrono::sys_seconds::min();
  std::chrono::sys_seconds not_after = std::chrono::sys_seconds::max();  // the first second after

  bool is_valid(std::chrono::sys_seconds now) const { return not_before <= now && now < not_after; }
  bool is_always_valid() const {
    return not_before == std::chrono::sys_seconds::min() &&
           not_after == std::chrono::sys_seconds::max();
  }
};

struct KnownClients {
  struct Key {
    Sha256 hash;
    std::uint32_t client = 0;  // its place in `clients`
    std::uint32_t line = 0;    // of the file
  };
  std::vector<KnownClient> clients;
  std::vector<Key> keys;
};

inline constexpr std::string_view key_hash_prefix = "sha256:";
inline constexpr std::string_view key_prefix = "cgk_";  // of the keys that we make
inline constexpr std::size_t known_clients_max = 1'000'000;
inline constexpr std::size_t keys_of_client_max = 16;

// What logs and pages say of a client that has no name (gateway/clients/pseudonym.h): "c_4f7a91c2".
bool is_like_pseudonym(std::string_view name);
// Letters, digits and - . _ @ : / +, from 1 to 64: it goes into logs and URLs as it is.
bool is_client_name(std::string_view name);

// The error is every mistake with its place, a hundred at most and how many more there are. O(n).
// `by_name`: tokens name clients too (identity has "jwt:CLAIM"), and who has no key may stand
// there.
std::expected<KnownClients, std::vector<DocumentMistake>> read_known_clients(std::string_view text,
                                                                             bool by_name = false);

// A line of the file.
std::string print_known_client(std::string_view name, const Sha256& key);

}  // namespace classgate::conf
