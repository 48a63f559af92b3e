#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/wire/message.h"
#include "proxy/wire/parser.h"

namespace classgate::proxy::wire {

// Puts the fields of a server's answer by HTTP/2 together to the head that HTTP/1 would have
// (http2_head.h does so for requests). What must not be in HTTP/2 is malformed (RFC 9113 sections
// 8.2 and 8.3.2), and so is whatever would be something else as HTTP/1. Holds its memory for the
// next head. On one thread.
class Http2AnswerHead {
 public:
  // `limits` must outlive it; a field counts as its bytes and 32 more (RFC 9113 section 10.5.1).
  void begin(const HeadLimits& limits);
  void add(std::string_view name, std::string_view value, bool is_never_indexed = false);
  // All fields have come. `ends_stream`: no body follows. `of_head`: the request's method was HEAD.
  Fault finish(bool ends_stream, bool of_head);
  // Fields have come that nobody would send by mistake: many times what is allowed.
  bool is_flood() const;

  // After finish() without a fault, until the next begin().
  const Head& head() const { return head_; }
  // After a fault, for an operator: what is wrong with it. Never what a field says.
  const std::string& why() const { return why_; }
  std::size_t held_bytes() const;

 private:
  struct Span {
    std::size_t name_at = 0;
    std::size_t name_size = 0;
    std::size_t value_size = 0;  // behind the name, a colon and a space
    bool is_never_indexed = false;
  };
  void blame(Fault fault, std::string_view why, std::string_view name = {});
  void put_together();
  void judge_length(bool ends_stream, bool of_head);

  const HeadLimits* limits_ = nullptr;
  std::string text_;  // lines of HTTP/1
  std::string why_;
  std::vector<Span> spans_;
  int status_ = 0;
  std::size_t bytes_ = 0;  // as they are counted
  std::size_t count_ = 0;
  Fault fault_ = Fault::none;
  Head head_;
};

}  // namespace classgate::proxy::wire
