#pragma once

// A server of HTTP/2 made of frames: it says what a test has it say, and keeps what it is told.

#include <doctest/doctest.h>
#include <fcntl.h>
#include <nghttp2/nghttp2.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/net/handles.h"
#include "proxy/wire/http2_session.h"

namespace classgate::proxy {

struct RawFrame {
  wire::Http2FrameType type{};
  unsigned flags = 0;
  std::uint32_t stream = 0;
  std::string payload;
  std::uint32_t number(std::size_t at = 0) const {
    std::uint32_t value = 0;
    for (std::size_t i = at; i < at + 4 && i < payload.size(); ++i)
      value = value << 8 | static_cast<unsigned char>(payload[i]);
    return value;
  }
};

inline constexpr unsigned end_stream = 0x1, ack = 0x1, end_headers = 0x4;

inline std::string number_of(std::uint32_t value, int bytes = 4) {
  std::string text;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
    text += static_cast<char>(value >> shift & 0xff);
  return text;
}

inline std::string raw_frame(wire::Http2FrameType type, unsigned flags, std::uint32_t stream,
                             std::string_view payload = {}) {
  return number_of(static_cast<std::uint32_t>(payload.size()), 3) + static_cast<char>(type) +
         static_cast<char>(flags) + number_of(stream) + std::string(payload);
}

// HPACK without tables (RFC 7541 section 6.2.2), for names and values below 127 bytes.
inline std::string field(std::string_view name, std::string_view value) {
  return std::string(1, '\0') + static_cast<char>(name.size()) + std::string(name) +
         static_cast<char>(value.size()) + std::string(value);
}

inline std::string settings_frame(std::vector<std::pair<std::uint32_t, std::uint32_t>> pairs = {}) {
  std::string payload;
  for (const auto& [id, value] : pairs) payload += number_of(id, 2) + number_of(value);
  return raw_frame(wire::Http2FrameType::settings, 0, 0, payload);
}
inline std::string head_frame(std::uint32_t stream, std::string_view fields, unsigned flags = 0) {
  return raw_frame(wire::Http2FrameType::headers, end_headers | flags, stream, fields);
}
inline std::string data_frame(std::uint32_t stream, std::string_view body, unsigned flags = 0) {
  return raw_frame(wire::Http2FrameType::data, flags, stream, body);
}
inline std::string reset_frame(std::uint32_t stream, std::uint32_t error) {
  return raw_frame(wire::Http2FrameType::rst_stream, 0, stream, number_of(error));
}
inline std::string goaway_frame(std::uint32_t last, std::uint32_t error = 0) {
  return raw_frame(wire::Http2FrameType::goaway, 0, 0, number_of(last) + number_of(error));
}
inline std::string window_frame(std::uint32_t stream, std::uint32_t increment) {
  return raw_frame(wire::Http2FrameType::window_update, 0, stream, number_of(increment));
}

class FramePeer {
 public:
  explicit FramePeer(net::Fd fd) : fd_(std::move(fd)) { nghttp2_hd_inflate_new(&inflater_); }
  ~FramePeer() { nghttp2_hd_inflate_del(inflater_); }
  FramePeer(const FramePeer&) = delete;
  FramePeer& operator=(const FramePeer&) = delete;

  // Settings first; then the client's are acknowledged.
  void say(std::string_view words) {
    has_spoken_ = true;
    std::string bytes_owned(words);
    if (std::exchange(owes_ack_, false))
      bytes_owned += raw_frame(wire::Http2FrameType::settings, ack, 0);
    std::string_view bytes = bytes_owned;
    while (!bytes.empty()) {
      const ssize_t size = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (size < 0 && errno == EAGAIN) continue;
      REQUIRE(size > 0);
      bytes.remove_prefix(static_cast<std::size_t>(size));
    }
  }
  void close() { fd_.reset(); }
  // Takes what has come by now.
  void listen() {
    if (!fd_) return;
    char buffer[16 * 1024];
    for (;;) {
      const ssize_t size = ::recv(fd_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
      if (size == 0) has_ended = true;
      if (size <= 0) break;
      in_.append(buffer, static_cast<std::size_t>(size));
    }
    if (!has_preface_ && in_.size() >= wire::http2_preface.size()) {
      REQUIRE(in_.starts_with(wire::http2_preface));
      in_.erase(0, wire::http2_preface.size());
      has_preface_ = true;
    }
    while (has_preface_ && take_frame()) {
    }
  }
  bool has_preface() const { return has_preface_; }
  // Of that type, on any stream or that one.
  std::size_t count(wire::Http2FrameType type, std::uint32_t stream = 0) const {
    std::size_t found = 0;
    for (const RawFrame& frame : frames)
      if (frame.type == type && (stream == 0 || frame.stream == stream)) ++found;
    return found;
  }
  const RawFrame* last(wire::Http2FrameType type, std::uint32_t stream) const {
    const RawFrame* found = nullptr;
    for (const RawFrame& frame : frames)
      if (frame.type == type && frame.stream == stream) found = &frame;
    return found;
  }
  std::string body_of(std::uint32_t stream) const {
    std::string body;
    for (const RawFrame& frame : frames)
      if (frame.type == wire::Http2FrameType::data && frame.stream == stream) body += frame.payload;
    return body;
  }
  bool has_all_of(std::uint32_t stream) const {
    for (const RawFrame& frame : frames) {
      const bool may_end =
          frame.type == wire::Http2FrameType::data || frame.type == wire::Http2FrameType::headers;
      if (may_end && frame.stream == stream && (frame.flags & end_stream) != 0) return true;
    }
    return false;
  }

  std::vector<RawFrame> frames;
  std::string fields;  // of all heads, "name: value\n"
  bool has_ended = false;

 private:
  bool take_frame() {
    constexpr std::size_t head_size = 9;
    if (in_.size() < head_size) return false;
    const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(in_[at]); };
    const std::size_t size = std::size_t{byte(0)} << 16 | std::size_t{byte(1)} << 8 | byte(2);
    if (in_.size() < head_size + size) return false;
    RawFrame frame{static_cast<wire::Http2FrameType>(byte(3)), byte(4), 0, {}};
    frame.payload = in_.substr(5, 4);
    frame.stream = frame.number();
    frame.payload = in_.substr(head_size, size);
    in_.erase(0, head_size + size);
    if (frame.type == wire::Http2FrameType::headers) inflate(frame.payload);
    const bool is_settings = frame.type == wire::Http2FrameType::settings;
    if (is_settings && (frame.flags & ack) == 0) owes_ack_ = true;
    if (owes_ack_ && has_spoken_) say({});
    frames.push_back(std::move(frame));
    return true;
  }
  void inflate(std::string block) {
    auto* at = reinterpret_cast<std::uint8_t*>(block.data());
    std::size_t left = block.size();
    for (;;) {
      nghttp2_nv pair{};
      int flags = 0;
      const ssize_t used = nghttp2_hd_inflate_hd2(inflater_, &pair, &flags, at, left, 1);
      REQUIRE(used >= 0);
      at += used;
      left -= static_cast<std::size_t>(used);
      if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
        fields.append(reinterpret_cast<const char*>(pair.name), pair.namelen).append(": ");
        fields.append(reinterpret_cast<const char*>(pair.value), pair.valuelen).append("\n");
      }
      if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) break;
    }
    nghttp2_hd_inflate_end_headers(inflater_);
  }

  net::Fd fd_;
  std::string in_;
  bool has_preface_ = false;
  bool has_spoken_ = false;
  bool owes_ack_ = false;
  nghttp2_hd_inflater* inflater_ = nullptr;
};

}  // namespace classgate::proxy
