#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/wire/chunk_reader.h"
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

// Reads HTTP/1 messages one after the other: the head, line by line, then, if the body is chunked,
// its chunks (a body with a length needs no parser, only counting). A line is a name, a colon and a
// value, or it is malformed; it ends with CRLF and nothing else; when in doubt about framing,
// malformed (RFC 9112 sections 2 to 7). Any token is a method. Bytes are not copied, except trailer
// fields.
class Parser {
 public:
  enum class Kind : std::uint8_t { request, response };
  enum class Progress : std::uint8_t { need_more, done, fault };
  // A longer one is none that anybody knows (RFC 9112 section 3).
  static constexpr std::size_t method_bytes_max = 64;

  // Begins a new message. `limits` must outlive it.
  void begin(Kind kind, const HeadLimits& limits);

  // `text` holds all bytes of the message so far, from its first on (it may have moved since the
  // last call). When done, head() views into it and head_size() is where the body begins.
  Progress parse_head(std::string_view text);
  const Head& head() const { return head_; }
  std::size_t head_size() const { return head_size_; }
  // Of a request that will not be done, for who tells of it: its method and target, where its first
  // line said them, and its fields where all of its head has come (head_size() is not 0). `text` as
  // for parse_head().
  const Head& head_so_far(std::string_view text);
  Fault fault() const { return fault_; }
  // After a fault, for an operator: where and what, "line 3 "X Y: 1": ...".
  const std::string& why() const { return why_; }

  // Takes chunked bytes after the head. The decoded spans view into `bytes`; consumed() is how many
  // belong to this message.
  Progress parse_chunked(std::string_view bytes);
  const std::vector<std::string_view>& spans() const { return spans_; }
  std::size_t consumed() const { return consumed_; }

  // Bytes of memory, with what it keeps for the next message.
  std::size_t held_bytes() const;

  using Trailer = wire::Trailer;
  const std::vector<Trailer>& trailers() const { return chunks_.trailers(); }

 private:
  // Where a field stands: the message may move while it comes.
  struct FieldSpan {
    std::uint32_t name_at = 0;
    std::uint32_t name_size = 0;
    std::uint32_t value_at = 0;
    std::uint32_t value_size : 31 = 0;
    std::uint32_t is_plain : 1 = 0;
  };
  Progress fail(Fault fault, const char* why, std::string_view line = {});
  Progress look_at_unfinished(std::string_view line);
  Progress take_line(std::string_view text, std::string_view line);
  Progress take_request_line(std::string_view text, std::string_view line);
  Progress take_status_line(std::string_view text, std::string_view line);
  Progress take_field(std::string_view text, std::string_view line);
  bool take_plain_field(std::string_view text);
  Progress finish_head(std::string_view text);
  void note_known(const Field& field);
  Progress read_framing();
  Progress read_codings();
  Progress judge_request();
  Progress read_connection_options();

  Kind kind_ = Kind::request;
  const HeadLimits* limits_ = nullptr;
  Head head_;
  std::size_t head_size_ = 0;
  Fault fault_ = Fault::none;
  std::string why_;

  int lengths_ = 0;  // Content-Length fields
  int hosts_ = 0;
  std::string_view length_;  // the last of them

  std::size_t line_at_ = 0;  // where the line begins that is not complete yet
  std::size_t seen_ = 0;     // no line ends before it but those that have been taken
  bool has_first_line_ = false;
  std::uint32_t first_line_at_ = 0;
  std::uint32_t method_size_ = 0;
  std::uint32_t rest_at_ = 0;  // of the first line: the target, or the reason phrase
  std::uint32_t rest_size_ = 0;
  std::vector<FieldSpan> field_spans_;

  std::vector<std::string_view> spans_;
  std::size_t consumed_ = 0;
  ChunkReader chunks_;
};

// The answer's framing depends on the request's method too (RFC 9112 section 6.3, rules 1 and 2).
Framing response_framing(const Head& response, bool request_was_head);

}  // namespace classgate::proxy::wire
