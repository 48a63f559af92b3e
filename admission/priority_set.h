#pragma once

#include <bit>
#include <cstdint>

namespace classgate::admission {

// Some of the priorities, a bit each: the best of them is found without a search.
class PrioritySet {
 public:
  bool contains(int priority) const { return (bits_ >> priority & 1) != 0; }
  int best() const { return bits_ == 0 ? 0 : std::countr_zero(bits_); }  // 0: there is none
  void set(int priority, bool is_in) {
    bits_ = (bits_ & ~bit(priority)) | (static_cast<std::uint32_t>(is_in) << priority);
  }
  PrioritySet with(int priority) const {
    PrioritySet larger = *this;
    larger.bits_ |= bit(priority);
    return larger;
  }

 private:
  static std::uint32_t bit(int priority) { return std::uint32_t{1} << priority; }
  std::uint32_t bits_ = 0;
};

}  // namespace classgate::admission
