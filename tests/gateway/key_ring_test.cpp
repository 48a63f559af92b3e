#include "gateway/clients/key_ring.h"

#include <doctest/doctest.h>

#include <string>
#include <thread>
#include <vector>

#include "gateway/clients/new_key.h"

namespace classgate::gateway {
namespace {

constexpr HashKey ring_key{0x0706050403020100, 0x0f0e0d0c0b0a0908};

std::string name(std::uint32_t number) { return "key-" + std::to_string(number); }

std::vector<conf::KnownClients::Key> keys_of(std::uint32_t count) {
  std::vector<conf::KnownClients::Key> keys;
  for (std::uint32_t i = 0; i < count; ++i) keys.push_back({conf::sha256(name(i)), i});
  return keys;
}

std::vector<KeyHolder> holders_of(std::uint32_t count) {
  std::vector<KeyHolder> holders;
  for (std::uint32_t i = 0; i < count; ++i) holders.push_back({.id = 7 * i, .number = i});
  return holders;
}

bool has(const KeyRing& ring, std::uint32_t number) {
  const KeyHolder* const holder = ring.find(name(number));
  return holder != nullptr && holder->id == 7 * number && holder->number == number;
}

TEST_CASE("SipHash with 128 bits gives what its authors give") {
  // vectors_sip128 of the reference implementation, for no byte and for the byte 00.
  const auto none = SipHash::of_128(ring_key, "");
  CHECK(none.low == 0xe6a825ba047f81a3);
  CHECK(none.high == 0x930255c71472f66d);
  const auto one = SipHash::of_128(ring_key, std::string(1, '\0'));
  CHECK(one.low == 0x44af996bd8c187da);
  CHECK(one.high == 0x45fc229b11597634);
}

TEST_CASE("a key is found the first time and ever after, and no other is") {
  const KeyRing ring(keys_of(10'000), holders_of(10'000), ring_key);
  for (int round = 0; round < 3; ++round)
    for (std::uint32_t i = 0; i < 10'000; ++i) CHECK(has(ring, i));
  for (std::uint32_t i = 10'000; i < 20'000; ++i) CHECK_FALSE(ring.find(name(i)));
  CHECK_FALSE(ring.find(""));
  CHECK_FALSE(KeyRing({}, {}, ring_key).find("x"));
}

TEST_CASE("loops learn keys side by side") {
  const KeyRing ring(keys_of(2'000), holders_of(2'000), ring_key);
  std::vector<std::thread> threads;
  std::vector<std::uint32_t> wrong(4);
  for (std::uint32_t t = 0; t < wrong.size(); ++t)
    threads.emplace_back([&ring, &mine = wrong[t], t] {
      for (int round = 0; round < 3; ++round)
        for (std::uint32_t i = 0; i < 4'000; ++i) {
          const std::uint32_t number = (i + 500 * t) % 4'000;
          if (number < 2'000 ? !has(ring, number) : ring.find(name(number)) != nullptr) ++mine;
        }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<std::uint32_t>(4));
}

TEST_CASE(
    "a new key has a prefix, 32 characters that nobody takes for others, and is never the same") {
  const std::string one = make_key();
  CHECK(one.size() == 36);
  CHECK(one.starts_with("cgk_"));
  CHECK(one.find_first_not_of("0123456789abcdefghjkmnpqrstvwxyz", 4) == std::string::npos);
  CHECK(one != make_key());
}

}  // namespace
}  // namespace classgate::gateway
