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

  // Bytes of memory, with what it keeps for the next message.
  std::size_t held_bytes() const;

  struct Trailer {
    std::string name;
    std::string value;
  };
  const std::vector<Trailer>& trailers() const { return trailers_; }

 private:
  friend struct ParserCallbacks;
  struct State;

  static constexpr std::size_t no_line = static_cast<std::size_t>(-1);
  static constexpr std::uint32_t no_name = static_cast<std::uint32_t>(-1);
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
  bool read_lines(std::string_view head);
  std::size_t read_request_line(std::string_view head);
  std::size_t read_status_line(std::string_view head);
  bool make_room_for_field();
  std::size_t field_count() const {
    return static_cast<std::size_t>(next_span_ - spans_of_fields_.data());
  }
  std::span<const FieldSpan> field_spans() const { return {spans_of_fields_.data(), next_span_}; }
  static bool is_plain_line(const char* begin, const FieldSpan& span);
  static const char* read_plain_line(const char* at, const FieldSpan& span, Field& field);
  static const char* read_line(const char* begin, const FieldSpan& span, Field& field);
  void note_known(const Field& field);
  Fault read_framing();
  Fault read_codings();
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

  int lengths_ = 0;  // Content-Length fields
  int hosts_ = 0;
  std::string_view length_;  // the last of them

  const char* base_ = nullptr;  // first byte of the message during a call
  std::size_t fed_ = 0;         // bytes of the head that llhttp has seen
  std::uint32_t target_at_ = 0;
  std::uint32_t target_size_ = 0;
  // As many as any message had; those before next_span_ are this one's.
  std::vector<FieldSpan> spans_of_fields_;
  FieldSpan* next_span_ = nullptr;
  FieldSpan* end_of_spans_ = nullptr;
  std::uint32_t name_end_ = no_name;  // of the last one so far

  std::vector<std::string_view> spans_;
  std::size_t consumed_ = 0;
  std::vector<Trailer> trailers_;
  std::size_t trailer_bytes_ = 0;
  std::size_t chunk_overhead_ = 0;  // beyond what chunks of that many bytes need
  bool in_trailer_section_ = false;
  bool in_trailer_value_ = false;
  char last_trailer_byte_ = '\n';
};

// The answer's framing depends on the request's method too (RFC 9112 section 6.3, rules 1 and 2).
Framing response_framing(const Head& response, bool request_was_head);

}  // namespace classgate::proxy::wire
