#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "conf/known_clients.h"
#include "gateway/clients/sip_hash.h"

namespace classgate::gateway {

// Whose key it is, of keys of which only the SHA-256 hashes are known.
//
// A key is hashed with SHA-256 the first time that it comes. From then on it is known by its
// 128-bit SipHash, which costs a tenth: beside each hash stands the SipHash of the key that was
// found to be it. That is the only value that ever stands there, so loops may write and read it
// without a lock, in any order: they find nothing yet, or what is right. Its key is one of this
// process, so nobody can look for two keys that fall together. Invented keys leave nothing behind.
//
// Immutable but for that; any thread; needs no memory after it is made.
class KeyRing {
 public:
  KeyRing(std::vector<conf::KnownClients::Key> keys, const HashKey& hash_key);

  // The number that was given with it.
  std::optional<std::uint32_t> find(std::string_view key) const;

 private:
  static constexpr std::uint32_t none = 0xffffffff;
  static constexpr std::size_t places_looked_at = 32;  // half of them are free, or more
  struct alignas(32) Seen {                            // in one cache line
    std::atomic<std::uint64_t> low{0};                 // both zero: not yet
    std::atomic<std::uint64_t> high{0};
    std::uint32_t client = 0;  // the number that was given with the key
    bool is(std::uint64_t one, std::uint64_t other) const {
      return low.load(std::memory_order_relaxed) == one &&
             high.load(std::memory_order_relaxed) == other;
    }
  };
  std::uint32_t place_of(std::string_view key) const;  // in keys_, by its SHA-256

  std::vector<conf::KnownClients::Key> keys_;
  HashKey hash_key_;
  std::vector<std::uint32_t> by_sha_;  // places in keys_: open addressing, half full at most
  mutable std::vector<Seen> seen_;     // beside keys_
  // By the SipHash: a part of it, above a place in keys_ and one; 0: none. So whose part is another
  // is not looked at. Open addressing; nobody leaves.
  mutable std::vector<std::atomic<std::uint64_t>> by_sip_;
};

}  // namespace classgate::gateway
