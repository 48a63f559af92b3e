#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace classgate::gateway {

using HashKey = std::array<std::uint64_t, 2>;
// From the kernel's randomness: one for each process.
HashKey make_hash_key();

// SipHash-2-4 (Aumasson and Bernstein 2012): a hash that nobody can steer who does not know the
// key.
class SipHash {
 public:
  explicit SipHash(const HashKey& key)
      : a_(key[0] ^ 0x736f6d6570736575),
        b_(key[1] ^ 0x646f72616e646f6d),
        c_(key[0] ^ 0x6c7967656e657261),
        d_(key[1] ^ 0x7465646279746573) {}

  static std::uint64_t of(const HashKey& key, std::string_view bytes) {
    return SipHash(key).hash(bytes);
  }
  // The variant with 128 bits, in the order in which its authors write them.
  struct Wide {
    std::uint64_t low, high;
  };
  static Wide of_128(const HashKey& key, std::string_view bytes) {
    return SipHash(key).hash_128(bytes);
  }

 private:
  std::uint64_t hash(std::string_view bytes) {
    take_all(bytes);
    c_ ^= 0xff;
    return end();
  }
  Wide hash_128(std::string_view bytes) {
    b_ ^= 0xee;
    take_all(bytes);
    c_ ^= 0xee;
    const std::uint64_t low = end();
    b_ ^= 0xdd;
    return {low, end()};
  }
  // A word is two rounds of fourteen instructions, which as a call would cost half as much again.
  void take_all(std::string_view bytes) {
    const std::uint64_t length = bytes.size();
    for (; bytes.size() >= 8; bytes.remove_prefix(8)) take(word(bytes.data()));
    take(rest(bytes) | length << 56);
  }
  std::uint64_t end() {
    for (int i = 0; i < 4; ++i) round();
    return a_ ^ b_ ^ c_ ^ d_;
  }
  // Little-endian, in one load.
  static std::uint64_t word(const char* bytes) {
    std::uint64_t result = 0;
    std::memcpy(&result, bytes, sizeof(result));
    if constexpr (std::endian::native == std::endian::big) result = std::byteswap(result);
    return result;
  }
  static std::uint64_t rest(std::string_view bytes) {
    std::uint64_t result = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i)
      result |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
    return result;
  }
  [[gnu::always_inline]] void take(std::uint64_t word) {
    d_ ^= word;
    round();
    round();
    a_ ^= word;
  }
  [[gnu::always_inline]] void round() {
    a_ += b_;
    b_ = std::rotl(b_, 13) ^ a_;
    a_ = std::rotl(a_, 32);
    c_ += d_;
    d_ = std::rotl(d_, 16) ^ c_;
    a_ += d_;
    d_ = std::rotl(d_, 21) ^ a_;
    c_ += b_;
    b_ = std::rotl(b_, 17) ^ c_;
    c_ = std::rotl(c_, 32);
  }

  std::uint64_t a_, b_, c_, d_;
};

}  // namespace classgate::gateway
