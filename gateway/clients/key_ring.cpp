#include "gateway/clients/key_ring.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "conf/sha256.h"

namespace classgate::gateway {
namespace {

std::uint64_t beginning_of(const conf::Sha256& hash) {
  std::uint64_t part = 0;
  std::memcpy(&part, hash.data(), sizeof(part));
  return part;
}

}  // namespace

KeyRing::KeyRing(std::vector<conf::KnownClients::Key> keys, std::vector<KeyHolder> holders,
                 const HashKey& hash_key)
    : keys_(std::move(keys)), holders_(std::move(holders)), hash_key_(hash_key) {
  if (keys_.empty()) return;
  const std::size_t places = std::bit_ceil(2 * keys_.size() + 1);
  by_sha_.assign(places, none);
  for (std::uint32_t number = 0; number < keys_.size(); ++number) {
    std::size_t place = beginning_of(keys_[number].hash) & (places - 1);
    while (by_sha_[place] != none) place = (place + 1) & (places - 1);
    by_sha_[place] = number;
  }
  seen_ = decltype(seen_)(places);
}

const KeyHolder* KeyRing::find(std::string_view key) const {
  if (keys_.empty()) return nullptr;
  auto [low, high] = SipHash::of_128(hash_key_, key);
  low = std::max(low, in_writing + 1);
  Seen* free = nullptr;
  for (std::size_t i = 0; i < places_looked_at; ++i) {
    Seen& seen = seen_[(low + i) & (seen_.size() - 1)];
    const std::uint64_t known = seen.low.load(std::memory_order_acquire);
    if (known == low && seen.high == high) return &seen.holder;
    if (known == nothing) free = &seen;
    if (known <= in_writing) break;  // perhaps it is this one that another loop learns
  }
  const std::uint32_t number = place_of(key);
  if (number == none) return nullptr;
  const KeyHolder& holder = holders_[keys_[number].client];
  // Another loop may have been here first: then it is looked up once more.
  std::uint64_t expected = nothing;
  if (free != nullptr && free->low.compare_exchange_strong(expected, in_writing)) {
    free->high = high;
    free->holder = holder;
    free->low.store(low, std::memory_order_release);
  }
  return &holder;
}

std::uint32_t KeyRing::place_of(std::string_view key) const {
  const conf::Sha256 hash = conf::sha256(key);
  for (std::size_t place = beginning_of(hash) & (by_sha_.size() - 1);;
       place = (place + 1) & (by_sha_.size() - 1)) {
    const std::uint32_t number = by_sha_[place];
    if (number == none || keys_[number].hash == hash) return number;
  }
}

}  // namespace classgate::gateway
