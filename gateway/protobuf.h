#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace classgate::gateway {

// Messages of Protocol Buffers, as far as few small ones need it
// (https://protobuf.dev/programming-guides/encoding). Any thread.

inline void put_varint(std::string& to, std::uint64_t number) {
  for (; number >= 0x80; number >>= 7) to += static_cast<char>((number & 0x7f) | 0x80);
  to += static_cast<char>(number);
}

inline void put_number(std::string& to, unsigned field, std::uint64_t number) {
  put_varint(to, field << 3);
  put_varint(to, number);
}

inline void put_bytes(std::string& to, unsigned field, std::string_view bytes) {
  put_varint(to, field << 3 | 2);
  put_varint(to, bytes.size());
  to += bytes;
}

inline void put_double(std::string& to, unsigned field, double number) {
  put_varint(to, field << 3 | 1);
  const auto bits = std::bit_cast<std::uint64_t>(number);
  for (int shift = 0; shift < 64; shift += 8) to += static_cast<char>(bits >> shift & 0xff);
}

// The fields of a message in their order; what it gives points into the message.
class ProtobufReader {
 public:
  struct Field {
    unsigned number = 0;
    std::string_view bytes{};  // of a text, or of a message within; else empty
  };
  explicit ProtobufReader(std::string_view message) : rest_(message) {}

  // None: that was the last, or what follows is no field: is_malformed().
  std::optional<Field> next() {
    if (rest_.empty() || is_malformed_) return std::nullopt;
    const std::uint64_t tag = take_varint();
    Field field{static_cast<unsigned>(tag >> 3 & 0x1fff'ffff)};
    switch (tag & 7) {
      case 0: take_varint(); break;
      case 1: take(8); break;
      case 2: field.bytes = take(take_varint()); break;
      case 5: take(4); break;
      default: is_malformed_ = true;
    }
    if (is_malformed_) return std::nullopt;
    return field;
  }
  bool is_malformed() const { return is_malformed_; }

 private:
  std::uint64_t take_varint() {
    std::uint64_t number = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      number |= std::uint64_t{byte & 0x7fU} << shift;
      if (byte < 0x80) return number;
    }
    is_malformed_ = true;
    return 0;
  }
  std::string_view take(std::uint64_t size) {
    is_malformed_ = is_malformed_ || size > rest_.size();
    if (is_malformed_) return {};
    const std::string_view taken = rest_.substr(0, static_cast<std::size_t>(size));
    rest_.remove_prefix(taken.size());
    return taken;
  }

  std::string_view rest_;
  bool is_malformed_ = false;
};

}  // namespace classgate::gateway
