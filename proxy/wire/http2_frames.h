#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace classgate::proxy::wire {

// Cuts what comes on an HTTP/2 connection into frames (RFC 9113 section 4.1), of which it tells
// before anybody else has seen them: also of those that nghttp2 passes over. Looks at heads only,
// and at the whole of PRIORITY. One thread.
class Http2FrameCutter {
 public:
  explicit Http2FrameCutter(std::size_t preface_bytes) : left_(preface_bytes) {}

  struct Head {
    std::uint32_t size = 0;  // of the payload
    std::uint8_t type = 0;
    std::uint8_t flags = 0;
    std::int32_t stream = 0;
    std::int32_t depends_on = 0;  // of PRIORITY
  };
  // A frame is about to begin.
  bool is_between() const { return left_ == 0 && kept_size_ == 0; }

  // Takes the next bytes of `bytes` off, which may be handed on: empty when the rest is less than a
  // head, which is kept. `on_head` is called before the first of a frame; false: they are not.
  // The result is valid until the next call.
  template <typename OnHead>
  std::string_view next(std::string_view& bytes, OnHead on_head) {
    if (left_ > 0) return take(bytes, left_);
    const std::string_view head = whole_head(bytes);
    if (head.empty()) return {};
    const Head read = read_head(head);
    if (!on_head(read)) return {};
    left_ = head_bytes + read.size - head.size();
    if (head.data() == kept_.data()) {
      kept_size_ = 0;
      return head;
    }
    left_ += head.size();
    return take(bytes, left_);
  }

 private:
  static constexpr std::size_t head_bytes = 9, priority_bytes = 5;
  static constexpr std::uint8_t priority = 2;

  static std::uint32_t number(std::string_view bytes) {
    std::uint32_t number = 0;
    for (const char byte : bytes) number = number << 8 | static_cast<unsigned char>(byte);
    return number;
  }
  static std::size_t needed(std::string_view bytes) {
    if (bytes.size() < head_bytes) return head_bytes;
    const bool is_priority = static_cast<std::uint8_t>(bytes[3]) == priority &&
                             number(bytes.substr(0, 3)) == priority_bytes;
    return is_priority ? head_bytes + priority_bytes : head_bytes;
  }
  static Head read_head(std::string_view bytes) {
    constexpr std::uint32_t number_of_stream = 0x7fffffff;
    Head head{.size = number(bytes.substr(0, 3)),
              .type = static_cast<std::uint8_t>(bytes[3]),
              .flags = static_cast<std::uint8_t>(bytes[4]),
              .stream = static_cast<std::int32_t>(number(bytes.substr(5, 4)) & number_of_stream)};
    if (bytes.size() > head_bytes)
      head.depends_on =
          static_cast<std::int32_t>(number(bytes.substr(head_bytes, 4)) & number_of_stream);
    return head;
  }
  static std::string_view take(std::string_view& bytes, std::size_t& left) {
    const std::string_view taken = bytes.substr(0, left);
    bytes.remove_prefix(taken.size());
    left -= taken.size();
    return taken;
  }
  // Where it lies, or put together of what has been kept.
  std::string_view whole_head(std::string_view& bytes) {
    if (kept_size_ == 0 && bytes.size() >= needed(bytes)) return bytes.substr(0, needed(bytes));
    while (!bytes.empty() && kept_size_ < needed(kept())) {
      kept_[kept_size_++] = bytes.front();
      bytes.remove_prefix(1);
    }
    return kept_size_ == needed(kept()) ? kept() : std::string_view();
  }
  std::string_view kept() const { return {kept_.data(), kept_size_}; }

  std::size_t left_;  // of the frame, and before the first of the preface
  std::array<char, head_bytes + priority_bytes> kept_;
  std::size_t kept_size_ = 0;
};

}  // namespace classgate::proxy::wire
