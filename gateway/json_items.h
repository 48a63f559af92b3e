#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <string_view>

namespace classgate::gateway {

// Counts what a JSON text asks for while it goes by in parts: the items of the largest array in it,
// at any depth; of several values one after the other (NDJSON, RFC 7464) all of them together, one
// at least for each. Reads once, keeps nothing, takes no memory. Of a text that is cut off it
// counts what is there.
//
// It never counts less than a parser would find in the same text, so that nobody lowers a cost by
// how it is written: an array before the one that matters, a key that stands there twice, depth.
// Below `levels` it counts all commas together, which is more. A text with a NUL is not UTF-8, and
// might be read as UTF-16 or UTF-32: it has as many items as there can be. Text that is no JSON has
// as many as it looks like: at most one for each of its bytes.
class JsonItemCount {
 public:
  void read(std::string_view part);
  std::uint64_t items() const {
    if (has_nul_) return std::numeric_limits<std::uint64_t>::max();
    if (values_ + (is_within_ ? 1 : 0) <= 1) return std::max(only_, largest_);
    return before_ + (is_within_ ? std::max<std::uint64_t>(largest_, 1) : 0);
  }

 private:
  static constexpr int levels = 16;

  void read(char c);
  void open(bool is_array);
  void close();
  void note(std::uint64_t items) { largest_ = std::max(largest_, items); }
  void end_value();

  std::uint64_t depth_ = 0;                     // of brackets of both kinds
  std::array<std::uint32_t, levels> commas_{};  // in what is open at each depth
  std::uint32_t arrays_ = 0;                    // a bit for each depth: it is an array
  std::uint64_t deep_commas_ = 0;               // below the levels
  std::uint64_t largest_ = 0;                   // of this value
  std::uint64_t before_ = 0;                    // of the values before it, together
  std::uint64_t only_ = 0;                      // of the first of them
  std::uint64_t values_ = 0;                    // that have ended
  bool is_within_ = false;                      // a value has begun
  bool is_string_ = false;
  bool is_escaped_ = false;  // the next character of a string
  bool has_nul_ = false;
};

}  // namespace classgate::gateway
