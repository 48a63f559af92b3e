#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/wire/message.h"

namespace classgate::proxy::wire {

// What is wrong with a message. The gateway turns it into an answer.
enum class Fault : std::uint8_t {
  none,
  malformed,
  header_too_large,
  target_too_long,
  unknown_method,
  unknown_coding,
  unsupported_version,
};

struct HeadLimits {
  std::size_t header_bytes;
  std::size_t header_count;
  std::size_t target_bytes;
};

// Parses HTTP/1 messages one after the other: the head, then, if the body is chunked, its chunks
// (a body with a length needs no parser, only counting). llhttp in strict mode does the work; what
// RFC 9112 demands of a proxy beyond it is checked on top: when in doubt about framing, malformed.
// Bytes are not copied, except trailer fields.
class Parser {
 public:
  enum class Kind : std::uint8_t { request, response };
  enum class Progress : std::uint8_t { need_more, done, fault };

  Parser();
  ~Parser();
  Parser(const Parser&) = delete;
  Parser& operator=(const Parser&) = delete;

  // Begins a new message. `limits` must outlive it.
  void begin(Kind kind, const HeadLimits& limits);

  // `text` holds all bytes of the message so far, from its first on (it may have moved since the
  // last call). When done, head() views into it and head_size() is where the body begins.
  Progress parse_head(std::string_view text);
  const Head& head() const { return head_; }
  std::size_t head_size() const { return head_size_; }
  Fault fault() const { return fault_; }

  // Takes chunked bytes after the head. The decoded spans view into `bytes`; consumed() is how many
  // belong to this message.
  Progress parse_chunked(std::string_view bytes);
  const std::vector<std::string_view>& spans() const { return spans_; }
  std::size_t consumed() const { return consumed_; }

  struct Trailer {
    std::string name;
    std::string value;
  };
  const std::vector<Trailer>& trailers() const { return trailers_; }

 private:
  friend struct ParserCallbacks;
  struct State;

  static constexpr std::size_t no_line = static_cast<std::size_t>(-1);
  struct FieldSpan {
    std::uint32_t name_at = 0;
    std::uint32_t name_size = 0;
    std::uint32_t value_at = 0;
    std::uint32_t value_size = 0;
  };
  Progress fail(Fault fault);
  Progress finish_head(std::string_view text);
  Progress judge_strange_method(std::string_view text);
  Progress judge_strange_version(std::string_view text);
  bool has_clean_lines(std::string_view head) const;
  std::size_t end_of_request_line(std::string_view head) const;
  std::size_t end_of_status_line(std::string_view head) const;
  void build_fields(std::string_view text);
  std::span<const FieldSpan> field_spans() const {
    return std::span(spans_of_fields_).first(field_count_);
  }
  Fault read_framing();
  Fault judge_request();
  Fault judge_response();
  Fault read_connection_options();
  Progress feed_chunked(std::string_view bytes);
  bool has_clean_trailers(std::string_view bytes);
  bool is_chunk_overhead_fair();

  std::unique_ptr<State> state_;
  Kind kind_ = Kind::request;
  const HeadLimits* limits_ = nullptr;
  Head head_;
  std::size_t head_size_ = 0;
  Fault fault_ = Fault::none;

  const char* base_ = nullptr;  // first byte of the message during a call
  std::size_t fed_ = 0;         // bytes of the head that llhttp has seen
  std::uint32_t target_at_ = 0;
  std::uint32_t target_size_ = 0;
  // As many as any message had; the first field_count_ are this one's.
  std::vector<FieldSpan> spans_of_fields_;
  std::size_t field_count_ = 0;
  bool in_value_ = false;

  std::vector<std::string_view> spans_;
  std::size_t consumed_ = 0;
  std::vector<Trailer> trailers_;
  std::size_t trailer_bytes_ = 0;
  std::size_t chunk_overhead_ = 0;  // beyond what chunks of that many bytes need
  bool in_trailer_section_ = false;
  char last_trailer_byte_ = '\n';
};

// The answer's framing depends on the request's method too (RFC 9112 section 6.3, rules 1 and 2).
Framing response_framing(const Head& response, bool request_was_head);

}  // namespace classgate::proxy::wire
