#include "gateway/request_ids.h"

#include <cstring>
#include <random>
#include <string_view>

namespace classgate::gateway {
namespace {

// Two digits at a time.
std::array<char, 16> hex(std::uint64_t word) {
  static constexpr auto pairs = [] {
    constexpr std::string_view digits = "0123456789abcdef";
    std::array<std::array<char, 2>, 256> table{};
    for (std::size_t i = 0; i < table.size(); ++i) table[i] = {digits[i / 16], digits[i % 16]};
    return table;
  }();
  std::array<char, 16> text;
  for (std::size_t i = 0; i < text.size(); i += 2, word >>= 8)
    std::memcpy(text.data() + i, pairs[word & 0xff].data(), 2);
  return text;
}

// The finaliser of SplitMix64, which maps no two numbers to one.
std::uint64_t mixed(std::uint64_t word) {
  word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9;
  word = (word ^ (word >> 27)) * 0x94d049bb133111eb;
  return word ^ (word >> 31);
}

std::uint64_t random_word() {
  std::random_device device;
  return std::uint64_t{device()} << 32 | device();
}

}  // namespace

RequestIds::RequestIds() : id_of_loop_(hex(random_word())), secret_(random_word()) {}

void RequestIds::append(std::string& out) {
  const auto own = hex(mixed(mixed(++count_) ^ secret_));
  const std::size_t before = out.size();
  out.resize_and_overwrite(before + id_of_loop_.size() + own.size(),
                           [&](char* text, std::size_t size) {
                             text += before;
                             std::memcpy(text, id_of_loop_.data(), id_of_loop_.size());
                             std::memcpy(text + id_of_loop_.size(), own.data(), own.size());
                             return size;
                           });
}

}  // namespace classgate::gateway
