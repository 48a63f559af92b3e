#include "gateway/json_items.h"

namespace classgate::gateway {

void JsonItemCount::read(std::string_view part) {
  for (const char c : part) read(c);
}

void JsonItemCount::read(char c) {
  if (c == '\0') has_nul_ = true;
  if (is_string_) {
    if (is_escaped_)
      is_escaped_ = false;
    else if (c == '\\')
      is_escaped_ = true;
    else if (c == '"')
      is_string_ = false;
    return;
  }
  // Between two values: a line break, or what RFC 7464 has before each.
  if (depth_ == 0 && (c == '\n' || c == '\x1e')) return end_value();
  if (c == ' ' || c == '\t' || c == '\r' || c == '\n') return;
  if (c == ']' || c == '}') return close();
  if (depth_ == 0 && (c == '[' || c == '{')) end_value();  // right behind another
  is_within_ = true;
  if (depth_ > levels) {
    if (c == ',') note(++deep_commas_ + 1);
  } else if (depth_ > 0 && (arrays_ >> (depth_ - 1) & 1) != 0) {
    std::uint32_t& commas = commas_[depth_ - 1];
    if (c == ',' && commas < std::numeric_limits<std::uint32_t>::max()) ++commas;
    note(std::uint64_t{commas} + 1);
  }
  if (c == '"') is_string_ = true;
  if (c == '[' || c == '{') open(c == '[');
}

void JsonItemCount::open(bool is_array) {
  if (depth_ < levels) {
    const std::uint32_t bit = std::uint32_t{1} << depth_;
    arrays_ = is_array ? arrays_ | bit : arrays_ & ~bit;
    commas_[depth_] = 0;
  } else if (is_array && deep_commas_ == 0) {
    note(1);  // something may stand in it
  }
  ++depth_;
}

void JsonItemCount::close() {
  if (depth_ == 0) return;  // of nothing
  if (--depth_ == 0) end_value();
}

void JsonItemCount::end_value() {
  if (!is_within_) return;
  if (++values_ == 1) only_ = largest_;
  before_ += std::max<std::uint64_t>(largest_, 1);
  largest_ = deep_commas_ = 0;
  is_within_ = false;
}

}  // namespace classgate::gateway
