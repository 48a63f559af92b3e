#include "gateway/json_items.h"

namespace classgate::gateway {

void JsonItemCount::read(std::string_view part) {
  for (const char c : part) read(c);
}

void JsonItemCount::read(char c) {
  if (c == '\0') has_nul_ = true;
  if (is_string_) return read_in_string(c);
  // Between two values: a line break, or what RFC 7464 has before each.
  if (depth_ == 0 && (c == '\n' || c == '\x1e')) return end_value();
  if (c == ' ' || c == '\t' || c == '\r' || c == '\n') return;
  if (c == ']' || c == '}') return close();
  if (depth_ == 0 && (c == '[' || c == '{')) end_value();  // right behind another
  is_within_ = true;
  if (depth_ > levels) {
    if (c == ',') note(name_.empty() ? ++deep_commas_ + 1 : largest_ + 1);
  } else if (depth_ > 0 && (arrays_ >> (depth_ - 1) & 1) != 0) {
    read_in_array(c);
  }
  if (c == ',') is_named_ = false;
  if (c == ':') is_named_ = key_may_be_any_ || (key_may_be_it_ && key_size_ == name_.size());
  if (c == '"') {
    is_string_ = true;
    key_size_ = 0;
    key_may_be_it_ = true;
    key_may_be_any_ = false;
  }
  if (c == '[' || c == '{') open(c == '[');
}

// Something that belongs to an item, or a comma between two.
void JsonItemCount::read_in_array(char c) {
  const std::uint32_t bit = std::uint32_t{1} << (depth_ - 1);
  if (!name_.empty()) {
    if ((counted_ & bit) == 0) return;
    if ((begun_ & bit) == 0) ++largest_;
    begun_ |= bit;
    if (c == ',') ++largest_;
    return;
  }
  std::uint32_t& commas = commas_[depth_ - 1];
  if (c == ',' && commas < std::numeric_limits<std::uint32_t>::max()) ++commas;
  note(std::uint64_t{commas} + 1);
}

void JsonItemCount::read_in_string(char c) {
  if (is_escaped_) {
    is_escaped_ = false;
    return;
  }
  if (c == '"') {
    is_string_ = false;
    return;
  }
  is_escaped_ = c == '\\';
  if (name_.empty()) return;
  if (c == '\\' || static_cast<unsigned char>(c) >= 0x80) key_may_be_any_ = true;
  const auto low = [](char l) { return l >= 'A' && l <= 'Z' ? static_cast<char>(l + 32) : l; };
  if (key_may_be_it_ && key_size_ < name_.size()) key_may_be_it_ = low(c) == low(name_[key_size_]);
  ++key_size_;
}

void JsonItemCount::open(bool is_array) {
  if (depth_ < levels) {
    const std::uint32_t bit = std::uint32_t{1} << depth_;
    arrays_ = is_array ? arrays_ | bit : arrays_ & ~bit;
    counted_ = is_array && is_named_ ? counted_ | bit : counted_ & ~bit;
    begun_ &= ~bit;
    commas_[depth_] = 0;
  } else if (is_array && !name_.empty()) {
    note(largest_ + 1);  // something may stand in it, beside what stands in others
  } else if (is_array && deep_commas_ == 0) {
    note(1);
  }
  is_named_ = false;
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
