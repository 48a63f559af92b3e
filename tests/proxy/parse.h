#pragma once

#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/wire/parser.h"

namespace classgate::proxy::wire {

inline std::ostream& operator<<(std::ostream& out, Fault fault) {
  constexpr std::string_view words[] = {
      "none",           "malformed",      "header_too_large",   "target_too_long",
      "unknown_method", "unknown_coding", "unsupported_version"};
  return out << words[static_cast<std::size_t>(fault)];
}

inline std::ostream& operator<<(std::ostream& out, Framing framing) {
  constexpr std::string_view words[] = {"none", "length", "chunked", "until_close"};
  return out << words[static_cast<std::size_t>(framing)];
}

inline std::ostream& operator<<(std::ostream& out, Parser::Progress progress) {
  constexpr std::string_view words[] = {"need_more", "done", "fault"};
  return out << words[static_cast<std::size_t>(progress)];
}

inline constexpr HeadLimits roomy{
    .header_bytes = 32 * 1024, .header_count = 100, .target_bytes = 8 * 1024};

// What a parser says of a head, copied out of the bytes it views into.
struct ParsedHead {
  Parser::Progress progress = Parser::Progress::need_more;
  Fault fault = Fault::none;
  std::size_t size = 0;
  std::string line;  // "method target" or "status phrase"
  std::vector<std::pair<std::string, std::string>> fields;
  Framing framing = Framing::none;
  std::uint64_t length = 0;
  bool wants_close = false;
  std::string host;
  bool operator==(const ParsedHead&) const = default;
};

inline ParsedHead copy_of(const Parser& parser, Parser::Progress progress, Parser::Kind kind) {
  ParsedHead copy;
  copy.progress = progress;
  copy.fault = parser.fault();
  if (progress != Parser::Progress::done) return copy;
  const Head& head = parser.head();
  copy.size = parser.head_size();
  if (kind == Parser::Kind::request)
    copy.line.append(head.method).append(" ").append(head.target);
  else
    copy.line.append(std::to_string(head.status)).append(" ").append(head.reason_phrase);
  for (const Field& field : head.fields)
    copy.fields.emplace_back(std::string(field.name), std::string(field.value));
  copy.framing = head.framing;
  copy.length = head.content_length;
  copy.wants_close = head.wants_close;
  copy.host = head.host;
  return copy;
}

inline ParsedHead parse(std::string_view text, Parser::Kind kind = Parser::Kind::request,
                        const HeadLimits& limits = roomy) {
  Parser parser;
  parser.begin(kind, limits);
  return copy_of(parser, parser.parse_head(text), kind);
}

// The first `cut` bytes come alone; the whole text then lies somewhere else in memory.
inline ParsedHead parse_cut(std::string_view text, std::size_t cut, Parser::Kind kind) {
  Parser parser;
  parser.begin(kind, roomy);
  const std::string first(text.substr(0, cut));
  Parser::Progress progress = parser.parse_head(first);
  const std::string all(text);
  if (progress == Parser::Progress::need_more) progress = parser.parse_head(all);
  return copy_of(parser, progress, kind);
}

// One byte more at a time.
inline ParsedHead parse_bytewise(std::string_view text, Parser::Kind kind) {
  Parser parser;
  parser.begin(kind, roomy);
  std::string so_far;
  for (const char c : text) {
    so_far = std::string(so_far) + c;
    const Parser::Progress progress = parser.parse_head(so_far);
    if (progress != Parser::Progress::need_more) return copy_of(parser, progress, kind);
  }
  return copy_of(parser, Parser::Progress::need_more, kind);
}

}  // namespace classgate::proxy::wire
