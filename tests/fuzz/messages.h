#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "proxy/wire/parser.h"
#include "tests/fuzz/require.h"

// Bytes of one side, cut into messages as the gateway does, whatever pieces they come in.

namespace classgate::fuzz {

using proxy::wire::Framing;
using proxy::wire::Parser;

inline constexpr proxy::wire::HeadLimits limits{
    .header_bytes = 2048, .header_count = 20, .target_bytes = 512};

struct Message {
  std::string head;  // as it came
  std::string line;  // "GET /x a" or "200 OK"
  std::vector<std::pair<std::string, std::string>> fields;
  Framing framing = Framing::none;
  std::uint64_t length = 0;
  std::string body;
  std::vector<std::pair<std::string, std::string>> trailers;
  bool is_complete = false;
  bool operator==(const Message&) const = default;
};

struct Messages {
  std::vector<Message> all;
  bool has_fault = false;
  bool operator==(const Messages&) const = default;
};

// Pieces of pseudo-random sizes, always the same for the same text.
class Pieces {
 public:
  Pieces(std::string_view text, bool is_whole) : rest_(text), is_whole_(is_whole) {
    for (const char c : text) state_ = (state_ ^ static_cast<std::uint8_t>(c)) * 1099511628211U;
  }
  bool is_over() const { return rest_.empty(); }
  std::string_view next() {
    state_ = state_ * 6364136223846793005U + 1442695040888963407U;
    const std::size_t size =
        is_whole_ ? rest_.size() : std::min<std::size_t>(rest_.size(), 1 + (state_ >> 33) % 24);
    const std::string_view piece = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return piece;
  }

 private:
  std::string_view rest_;
  bool is_whole_;
  std::uint64_t state_ = 14695981039346656037U;
};

inline Message copy_of(const Parser& parser, std::string_view text, Parser::Kind kind) {
  const proxy::wire::Head& head = parser.head();
  const auto lies_within = [&](std::string_view part) {
    return part.empty() ||
           (part.data() >= text.data() && part.data() + part.size() <= text.data() + text.size());
  };
  Message message;
  message.head = text.substr(0, parser.head_size());
  if (kind == Parser::Kind::request) {
    FUZZ_REQUIRE(lies_within(head.target) && lies_within(head.host));
    message.line.append(head.method).append(" ").append(head.target).append(" ").append(head.host);
    message.framing = head.framing;
  } else {
    FUZZ_REQUIRE(head.status >= 100 && head.status <= 599 && lies_within(head.reason_phrase));
    message.line.append(std::to_string(head.status)).append(" ").append(head.reason_phrase);
    message.framing = response_framing(head, false);
  }
  FUZZ_REQUIRE(head.fields.size() <= limits.header_count);
  for (const proxy::wire::Field& field : head.fields) {
    FUZZ_REQUIRE(lies_within(field.name) && lies_within(field.value));
    // Nothing that could end a line, or begin another, passes.
    FUZZ_REQUIRE(field.name.find_first_of("\r\n: \t") == std::string_view::npos);
    FUZZ_REQUIRE(!field.name.empty());
    for (const char c : field.value) FUZZ_REQUIRE(c != '\r' && c != '\n' && c != '\0');
    message.fields.emplace_back(field.name, field.value);
  }
  message.length = message.framing == Framing::length ? head.content_length : 0;
  return message;
}

// Takes what it can of `held` for the message that is being read; false when more is needed.
inline bool take_body(Parser& parser, Message& message, std::string& held) {
  switch (message.framing) {
    case Framing::length: {
      const auto size = static_cast<std::size_t>(
          std::min<std::uint64_t>(message.length - message.body.size(), held.size()));
      message.body.append(held, 0, size);
      held.erase(0, size);
      return message.body.size() == message.length;
    }
    case Framing::chunked: {
      const Parser::Progress progress = parser.parse_chunked(held);
      for (const std::string_view span : parser.spans()) message.body.append(span);
      if (progress == Parser::Progress::fault) {
        message.framing = Framing::none;  // the caller sees it by the parser's fault
        return false;
      }
      FUZZ_REQUIRE(parser.consumed() <= held.size());
      held.erase(0, parser.consumed());
      return progress == Parser::Progress::done;
    }
    case Framing::until_close:
      message.body += held;
      held.clear();
      return false;
    case Framing::none: return true;
  }
  return true;
}

inline Messages cut(std::string_view text, Parser::Kind kind, bool is_whole) {
  Messages messages;
  std::string held;
  Parser parser;
  bool in_body = false;
  parser.begin(kind, limits);
  for (Pieces pieces(text, is_whole); !pieces.is_over();) {
    held += pieces.next();
    while (!held.empty() || in_body) {
      if (!in_body) {
        const Parser::Progress progress = parser.parse_head(held);
        if (progress == Parser::Progress::need_more) break;
        if (progress == Parser::Progress::fault) {
          messages.has_fault = true;
          return messages;
        }
        messages.all.push_back(copy_of(parser, held, kind));
        held.erase(0, parser.head_size());
        in_body = true;
      }
      Message& message = messages.all.back();
      const bool was_chunked = message.framing == Framing::chunked;
      const bool is_done = take_body(parser, message, held);
      if (was_chunked && message.framing == Framing::none) {
        message.framing = Framing::chunked;
        message.body.clear();  // how much of it came before the fault depends on the pieces
        messages.has_fault = true;
        return messages;
      }
      if (!is_done) break;
      message.is_complete = true;
      for (const Parser::Trailer& trailer : parser.trailers())
        message.trailers.emplace_back(trailer.name, trailer.value);
      in_body = false;
      parser.begin(kind, limits);
    }
  }
  return messages;
}

}  // namespace classgate::fuzz
