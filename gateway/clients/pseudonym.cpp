#include "gateway/clients/pseudonym.h"

namespace classgate::gateway {

Pseudonym::Pseudonym(std::uint64_t id) {
  if (id == 0) return;
  constexpr std::string_view digits = "0123456789abcdef";
  text_[0] = 'c';
  text_[1] = '_';
  for (std::size_t i = 2; i < text_.size(); ++i, id <<= 4) text_[i] = digits[id >> 60];
  size_ = static_cast<std::uint8_t>(text_.size());
}

}  // namespace classgate::gateway
