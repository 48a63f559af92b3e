#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/wire/http2_session.h"
#include "proxy/wire/serialise.h"

namespace classgate::proxy::wire {

// The fields of an answer as HTTP/2 sends them, made of what is said by HTTP/1: its head, or text
// that was written for it. Views of that, and of what is made here, until the next of these. Keeps
// its memory. On one thread.
class Http2Fields {
 public:
  // The same fields as append_answer_head() has, without those of the connection.
  void take_answer(const Head& answer, const AnswerFacts& facts);
  // An interim (1xx) answer.
  void take_interim(const Head& answer);
  void take_status(int status);
  // The head of an answer that the gateway has written, with its empty line. Says how long it is.
  std::size_t take_text(std::string_view text);
  void take_trailers(const std::vector<Parser::Trailer>& trailers);
  void add(std::string_view name, std::string_view value, bool is_never_indexed = false) {
    list_.push_back({name, value, is_never_indexed});
  }
  // A number, the one that an answer has.
  void add_length(std::uint64_t length);

  const std::vector<Http2Field>& list() const { return list_; }

 private:
  void begin(int status);
  void take_fields_but(const Head& answer, FieldSet dropped);

  std::vector<Http2Field> list_;
  std::array<char, 3> status_{};
  std::string length_;
  std::string via_;
};

}  // namespace classgate::proxy::wire
