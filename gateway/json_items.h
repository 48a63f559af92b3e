#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

namespace classgate::gateway {

// Counts what a JSON text asks for while it goes by in parts: the items of the largest array in it,
// at any depth; of several values one after the other (NDJSON, RFC 7464) all of them together, one
// at least for each. With a name it counts the items of all arrays that are the value of this key,
// at any depth, together. Reads once, keeps nothing, takes no memory (beyond a long name's). Of a
// text that is cut off it counts what is there.
//
// It never counts less than a parser would find in the same text, so that nobody lowers a cost by
// how it is written: an array before the one that matters, a key that stands there twice, depth.
// Below `levels` it counts all commas together, which is more. A text with a NUL is not UTF-8, and
// might be read as UTF-16 or UTF-32: it has as many items as there can be. Text that is no JSON has
// as many as it looks like: at most one for each of its bytes. A key is the wanted one in any case
// of its letters, as some parsers have it; one with an escape or a character that is not ASCII may
// be any.
class JsonItemCount {
 public:
  JsonItemCount() = default;
  explicit JsonItemCount(std::string_view name) : name_(name) {}
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
  void read_in_array(char c);
  void read_in_string(char c);
  void end_value();

  std::uint64_t depth_ = 0;                     // of brackets of both kinds
  std::array<std::uint32_t, levels> commas_{};  // in what is open at each depth
  std::uint32_t arrays_ = 0;                    // a bit for each depth: it is an array
  std::uint32_t counted_ = 0;                   // of these: it has the name
  std::uint32_t begun_ = 0;                     // of these: it is not empty
  std::uint64_t deep_commas_ = 0;               // below the levels
  std::uint64_t largest_ = 0;                   // of this value
  std::uint64_t before_ = 0;                    // of the values before it, together
  std::uint64_t only_ = 0;                      // of the first of them
  std::uint64_t values_ = 0;                    // that have ended
  bool is_within_ = false;                      // a value has begun
  bool is_string_ = false;
  bool is_escaped_ = false;  // the next character of a string
  bool has_nul_ = false;
  std::string name_;          // empty: the largest of all arrays counts
  std::size_t key_size_ = 0;  // of the string that is read in an object, or was read last
  bool key_may_be_it_ = false;
  bool key_may_be_any_ = false;
  bool is_named_ = false;  // the value that comes has the name
};

}  // namespace classgate::gateway
