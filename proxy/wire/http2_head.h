#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/wire/message.h"
#include "proxy/wire/parser.h"

namespace classgate::proxy::wire {

// Puts the fields of an HTTP/2 request together to the head that HTTP/1 would have, so that all who
// read heads need know only one kind. What must not be in HTTP/2 is malformed (RFC 9113
// sections 8.2 and 8.3), and so is whatever would be something else as HTTP/1: a line end, a colon,
// a space, a length or a host said in two ways. Cookie crumbs become one field (section 8.2.3). Of
// what is wrong nothing is kept. Holds its memory for the next head. Any thread.
class Http2Head {
 public:
  // `limits` must outlive it; a field counts as its bytes and 32 more (section 10.5.1), a crumb as
  // a field.
  void begin(const HeadLimits& limits);
  void add(std::string_view name, std::string_view value, bool is_never_indexed = false);
  // So far it is an extended CONNECT for WebSocket (RFC 8441 section 4). With become_upgrade(),
  // before finish(), it is what asks for that by HTTP/1: GET, Upgrade, and a Sec-WebSocket-Key,
  // which HTTP/2 has none of.
  bool asks_for_websocket() const;
  void become_upgrade(std::string_view key);
  // All fields have come. `ends_stream`: no body follows.
  Fault finish(bool ends_stream);
  // Fields have come that nobody would send by mistake: many times what is allowed.
  bool is_flood() const;

  // After finish(), until the next begin(). After a fault: method and target only, if they were
  // good.
  const Head& head() const { return head_; }
  // The client says how urgent it is (RFC 9218).
  bool has_priority() const { return has_priority_; }
  std::size_t held_bytes() const;

  // Of a field after the body: whether it could stand in HTTP/1 (section 8.1).
  static bool is_good_trailer(std::string_view name, std::string_view value);

 private:
  struct Span {
    std::size_t name_at = 0;
    std::size_t name_size = 0;
    std::size_t value_size = 0;  // behind the name, a colon and a space
    bool is_never_indexed = false;
  };
  enum Pseudo : std::uint8_t { method, scheme, authority, path, protocol };
  struct PseudoField {
    bool is_there = false;
    std::size_t at = 0;
    std::size_t size = 0;
  };
  void blame(Fault fault);
  void add_pseudo(std::string_view name, std::string_view value);
  void add_regular(std::string_view name, std::string_view value, bool is_never_indexed);
  void add_line(std::string_view name, std::string_view value, bool is_never_indexed = false);
  std::string_view value_of(Pseudo which) const {
    return std::string_view(text_).substr(pseudo_[which].at, pseudo_[which].size);
  }
  Fault judge_pseudo(bool ends_stream);
  Fault judge_fields(bool ends_stream);
  void put_together();

  const HeadLimits* limits_ = nullptr;
  std::string text_;  // pseudo fields, then lines of HTTP/1
  std::string cookie_;
  std::vector<Span> spans_;
  PseudoField pseudo_[5];
  std::size_t bytes_ = 0;  // as they are counted
  std::size_t count_ = 0;
  bool has_priority_ = false;
  bool has_secret_crumb_ = false;
  Fault fault_ = Fault::none;
  Head head_;
};

}  // namespace classgate::proxy::wire
