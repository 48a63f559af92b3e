#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/wire/lines.h"
#include "proxy/wire/message.h"

namespace classgate::proxy::wire {

struct Trailer {
  std::string name;
  std::string value;
};

// Takes a chunked body apart (RFC 9112 section 7.1), in whatever pieces it comes:
//   size -> (extension ->) size_lf -> data -> data_cr -> data_lf -> size ...
//                      last: size_lf -> trailer lines -> the empty one: done
// Lines end with CRLF and nothing else. Extensions, however many, are passed over (section 7.1.1);
// what they, leading zeros and tiny chunks cost beyond the data is bounded. Trailers are lines like
// a head's; those that would frame the message are wrong.
class ChunkReader {
 public:
  enum class Progress : std::uint8_t { need_more, done, malformed, too_large };

  // `limits` must outlive it.
  void begin(Side side, const HeadLimits& limits);
  // Where data stands in `bytes` is appended to `spans`; `consumed` is how many of them were used.
  Progress read(std::string_view bytes, std::vector<std::string_view>& spans,
                std::size_t& consumed);
  const std::vector<Trailer>& trailers() const { return trailers_; }
  // What is wrong, for an operator.
  const char* why() const { return why_; }
  // Bytes of memory, beside itself.
  std::size_t held_bytes() const;

 private:
  enum class State : std::uint8_t {
    size,
    blank,  // behind a size: an extension must follow
    extension,
    size_lf,
    data,
    data_cr,
    data_lf,
    trailers,
    done
  };
  bool take_framing_byte(char c);
  bool take_size_byte(char c);
  Progress take_trailers(std::string_view bytes, std::size_t& consumed);
  Progress take_trailer(std::string_view line);
  bool is_overhead_fair(std::size_t overhead, std::size_t data, std::size_t spans);
  bool fail(const char* why) {
    why_ = why;
    return false;
  }

  const HeadLimits* limits_ = nullptr;
  Side side_ = Side::request;
  State state_ = State::size;
  bool has_digit_ = false;
  std::uint64_t left_ = 0;    // of the chunk; while its size is being read: that so far
  std::size_t overhead_ = 0;  // beyond what chunks of that many bytes need
  const char* why_ = "";
  std::string line_;  // a trailer that has come in part
  std::size_t trailer_bytes_ = 0;
  std::vector<Trailer> trailers_;
};

}  // namespace classgate::proxy::wire
