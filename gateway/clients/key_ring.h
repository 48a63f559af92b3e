#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>
#include <vector>

#include "admission/huge_pages.h"
#include "conf/known_clients.h"
#include "gateway/clients/sip_hash.h"

namespace classgate::gateway {

// Who has a key: so much that a request of a known client looks at nothing else.
struct KeyHolder {
  static constexpr std::uint32_t nobody = 0xffffffff;
  std::uint64_t id = 0;      // of the file's client
  std::uint32_t number = 0;  // of the client in the file; of plans: of the places they name
  std::uint16_t plan = 0;    // its slot
  bool is_of_plans = false;  // and not of the file
  bool is_always_valid = false;
};

// Whose key it is, of keys of which only the SHA-256 hashes are known.
//
// A key is hashed with SHA-256 the first time that it comes. From then on it is known by its
// 128-bit SipHash, which costs a tenth, in a table of those that have come, with its holder beside
// it: half a cache line, as of very many clients each request is another's, and each line that it
// looks at a miss. Who learns a key takes a free place with one word and makes it readable with the
// same; it is never changed, so loops write and read without a lock. The SipHash's key is one of
// this process, so nobody can look for two keys that fall together. Invented keys leave nothing
// behind.
//
// Immutable but for that; any thread; needs no memory after it is made.
class KeyRing {
 public:
  // `client` of a key is the number of its holder.
  KeyRing(std::vector<conf::KnownClients::Key> keys, std::vector<KeyHolder> holders,
          const HashKey& hash_key);

  // As long as the ring lives; null: nobody's.
  const KeyHolder* find(std::string_view key) const;

 private:
  static constexpr std::uint32_t none = 0xffffffff;
  static constexpr std::size_t places_looked_at = 32;  // half of them are free, or more
  static constexpr std::uint64_t nothing = 0;
  static constexpr std::uint64_t in_writing = 1;
  struct alignas(32) Seen {
    std::atomic<std::uint64_t> low{nothing};  // of the SipHash; the rest is there when this is
    std::uint64_t high = 0;
    KeyHolder holder;
  };
  std::uint32_t place_of(std::string_view key) const;  // in keys_, by its SHA-256

  std::vector<conf::KnownClients::Key> keys_;
  std::vector<KeyHolder> holders_;
  HashKey hash_key_;
  std::vector<std::uint32_t> by_sha_;  // places in keys_: open addressing, half full at most
  // By the SipHash; open addressing; nobody leaves.
  mutable std::vector<Seen, admission::HugePages<Seen>> seen_;
};

}  // namespace classgate::gateway
