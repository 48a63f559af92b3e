#include "gateway/clients/key_ring.h"

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

KeyRing::KeyRing(std::vector<conf::KnownClients::Key> keys, const HashKey& hash_key)
    : keys_(std::move(keys)), hash_key_(hash_key), seen_(keys_.size()) {
  const std::size_t places = std::bit_ceil(2 * keys_.size() + 1);
  by_sha_.assign(places, none);
  for (std::uint32_t number = 0; number < keys_.size(); ++number) {
    std::size_t place = beginning_of(keys_[number].hash) & (places - 1);
    while (by_sha_[place] != none) place = (place + 1) & (places - 1);
    by_sha_[place] = number;
    seen_[number].client = keys_[number].client;
  }
  by_sip_ = std::vector<std::atomic<std::uint64_t>>(places);
}

std::optional<std::uint32_t> KeyRing::find(std::string_view key) const {
  if (keys_.empty()) return std::nullopt;
  const auto [low, high] = SipHash::of_128(hash_key_, key);
  constexpr std::uint64_t upper_half = 0xffffffff00000000;
  std::atomic<std::uint64_t>* free = nullptr;
  for (std::size_t i = 0; i < places_looked_at && free == nullptr; ++i) {
    std::atomic<std::uint64_t>& place = by_sip_[(low + i) & (by_sip_.size() - 1)];
    const std::uint64_t entry = place.load(std::memory_order_acquire);
    if (entry == 0) {
      free = &place;
    } else if (((entry ^ low) & upper_half) == 0) {
      const Seen& seen = seen_[static_cast<std::uint32_t>(entry) - 1];
      if (seen.is(low, high)) return seen.client;
    }
  }
  const std::uint32_t number = place_of(key);
  if (number == none) return std::nullopt;
  seen_[number].low.store(low, std::memory_order_relaxed);
  seen_[number].high.store(high, std::memory_order_relaxed);
  // Another loop may have been here first: then it is looked up once more.
  std::uint64_t nobody = 0;
  if (free != nullptr)
    free->compare_exchange_strong(nobody, (low & upper_half) | (number + 1),
                                  std::memory_order_release, std::memory_order_relaxed);
  return keys_[number].client;
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
