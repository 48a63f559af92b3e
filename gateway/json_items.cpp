#include "gateway/json_items.h"

namespace classgate::gateway {

std::uint64_t count_json_items(std::string_view text) {
  int depth = 0;        // of brackets of both kinds
  int array_depth = 0;  // inside the array that counts; 0: it has not begun
  bool is_string = false;
  bool has_item = false;  // something stands in the array
  std::uint64_t commas = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (is_string) {
      if (c == '\\') ++i;
      if (c == '"') is_string = false;
      continue;
    }
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n') continue;
    if (c == ']' || c == '}') {
      if (depth == array_depth && array_depth > 0) break;
      if (--depth <= 0) break;
      continue;
    }
    if (array_depth > 0) has_item = true;
    if (c == ',' && depth == array_depth && array_depth > 0) ++commas;
    if (c == '"') is_string = true;
    if (c != '[' && c != '{') continue;
    ++depth;
    // The whole, or a value of the object that is the whole.
    if (array_depth == 0 && c == '[' && depth <= 2) array_depth = depth;
  }
  return has_item ? commas + 1 : 0;
}

}  // namespace classgate::gateway
