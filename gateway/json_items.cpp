#include "gateway/json_items.h"

#include <limits>

namespace classgate::gateway {

void JsonItemCount::read(std::string_view part) {
  for (const char c : part) {
    if (is_over_) return;
    read(c);
  }
}

void JsonItemCount::read(char c) {
  if (is_string_) {
    if (is_escaped_)
      is_escaped_ = false;
    else if (c == '\\')
      is_escaped_ = true;
    else if (c == '"')
      is_string_ = false;
    return;
  }
  if (c == ' ' || c == '\t' || c == '\r' || c == '\n') return;
  if (c == ']' || c == '}') {
    is_over_ = (depth_ == array_depth_ && array_depth_ > 0) || depth_ <= 1;
    --depth_;
    return;
  }
  if (array_depth_ > 0) has_item_ = true;
  if (c == ',' && depth_ == array_depth_ && array_depth_ > 0) ++commas_;
  if (c == '"') is_string_ = true;
  if ((c != '[' && c != '{') || depth_ == std::numeric_limits<int>::max()) return;
  ++depth_;
  // The whole, or a value of the object that is the whole.
  if (array_depth_ == 0 && c == '[' && depth_ <= 2) array_depth_ = depth_;
}

}  // namespace classgate::gateway
