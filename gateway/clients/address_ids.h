#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "conf/network.h"

namespace classgate::gateway {

// The ids of addresses that one loop has seen last: hashing one costs eight times what looking here
// does. Each address has one place, which it may share: who is not found is hashed again. Bounded:
// 8 KiB. One thread.
class AddressIds {
 public:
  // `terms`: a number for all that the id is made of but the address.
  template <typename Make>
  std::uint64_t find_or(const conf::IpAddress& address, std::uint64_t terms, Make make) {
    Entry& entry = entries_[place_of(address)];
    if (entry.id == 0 || entry.terms != terms || entry.address != address) [[unlikely]]
      entry = {terms, make(), address};
    return entry.id;
  }

 private:
  struct Entry {
    std::uint64_t terms = 0;
    std::uint64_t id = 0;  // 0: nobody's
    conf::IpAddress address{};
  };
  static constexpr std::size_t size = 256;
  // The upper bits of a product with the golden ratio hang on all bits (Knuth, The Art of Computer
  // Programming 6.4).
  static std::size_t place_of(const conf::IpAddress& address) {
    using Halves = std::array<std::uint64_t, 2>;
    const auto halves = std::bit_cast<Halves>(address.bytes);
    constexpr std::uint64_t golden = 0x9e3779b97f4a7c15;
    return ((halves[0] * golden ^ halves[1]) * golden) >> 56;
  }

  std::array<Entry, size> entries_{};
};

}  // namespace classgate::gateway
