#pragma once

#include <cstdint>
#include <string_view>

namespace classgate::gateway {

// Counts the items of the array that a JSON text is, or else of the first array that is a value of
// the object that it is, while the text goes by in parts: reads once and keeps nothing. Of a text
// that is cut off it counts what is there. Text that is no JSON has as many as it looks like: at
// least none, at most one for each of its bytes.
class JsonItemCount {
 public:
  void read(std::string_view part);
  std::uint64_t items() const { return has_item_ ? commas_ + 1 : 0; }

 private:
  void read(char c);

  int depth_ = 0;        // of brackets of both kinds
  int array_depth_ = 0;  // inside the array that counts; 0: it has not begun
  bool is_string_ = false;
  bool is_escaped_ = false;  // the next character of a string
  bool has_item_ = false;    // something stands in the array
  bool is_over_ = false;
  std::uint64_t commas_ = 0;
};

}  // namespace classgate::gateway
