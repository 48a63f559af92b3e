#pragma once

// Text that is put together from many pieces, for messages.

#include <array>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>

#include "conf/invariant.h"

namespace classgate::proxy::wire {

// A number as text, on the stack.
class Digits {
 public:
  explicit Digits(std::uint64_t number, int base = 10)
      : end_(std::to_chars(digits_.data(), digits_.data() + digits_.size(), number, base).ptr) {}
  operator std::string_view() const { return {digits_.data(), end_}; }

  static constexpr std::size_t most = 20;  // decimal

 private:
  std::array<char, 24> digits_;
  char* end_;
};

// memcpy, for what is short most of the time: without a call up to 32 bytes, by moves of 16 or 8
// that may overlap.
inline void copy_short(char* to, const char* from, std::size_t size) {
  const auto move_ends = [&]<std::size_t Part>(std::integral_constant<std::size_t, Part>) {
    std::array<char, Part> first, last;
    std::memcpy(first.data(), from, Part);
    std::memcpy(last.data(), from + size - Part, Part);
    std::memcpy(to, first.data(), Part);
    std::memcpy(to + size - Part, last.data(), Part);
  };
  if (size > 32)
    std::memcpy(to, from, size);
  else if (size >= 16)
    move_ends(std::integral_constant<std::size_t, 16>());
  else if (size >= 8)
    move_ends(std::integral_constant<std::size_t, 8>());
  else if (size >= 4)
    move_ends(std::integral_constant<std::size_t, 4>());
  else
    for (std::size_t i = 0; i < size; ++i) to[i] = from[i];
}

// Writes into room that has been made for all of it at once, instead of looking at a string's
// capacity for each piece. To have made too little is a broken invariant.
class Writer {
 public:
  Writer(char* at, char* end) : at_(at), end_(end) {}
  [[gnu::always_inline]] void text(std::string_view text) {
    CLASSGATE_INVARIANT(text.size() <= static_cast<std::size_t>(end_ - at_));
    if (__builtin_constant_p(text.size()))
      std::memcpy(at_, text.data(), text.size());
    else
      copy_short(at_, text.data(), text.size());
    at_ += text.size();
  }
  // Its digits where they belong: copying them would cost more than making them.
  void number(std::uint64_t number) {
    if (number < 1000 && end_ - at_ >= 3) {  // most are
      if (number >= 100) *at_++ = static_cast<char>('0' + number / 100);
      if (number >= 10) *at_++ = static_cast<char>('0' + number / 10 % 10);
      *at_++ = static_cast<char>('0' + number % 10);
      return;
    }
    const auto [end, error] = std::to_chars(at_, end_, number);
    CLASSGATE_INVARIANT(error == std::errc());
    at_ = end;
  }
  // As few digits as read back as the same number; at most 24 characters.
  void shortest(double number) {
    const auto [end, error] = std::to_chars(at_, end_, number);
    CLASSGATE_INVARIANT(error == std::errc());
    at_ = end;
  }
  const char* end() const { return at_; }

 private:
  char* at_;
  char* const end_;
};

// What `write` puts goes to the end of `out`; `most` is how much that is at the most.
template <typename Write>
void append(std::string& out, std::size_t most, Write write) {
  const std::size_t before = out.size();
  out.resize_and_overwrite(before + most, [&](char* text, std::size_t size) {
    Writer writer(text + before, text + size);
    write(writer);
    return static_cast<std::size_t>(writer.end() - text);
  });
}

}  // namespace classgate::proxy::wire
