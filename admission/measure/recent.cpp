#include "admission/measure/recent.h"

namespace classgate::measure {

void Recent::turn_over(Time now) {
  // Turns follow each other without a gap, or what is in the first would be told for three.
  const bool is_next_turn = now - turn_began_ < 2 * turn;
  previous_ = is_next_turn ? current_ : Histogram{};
  current_.clear();
  turn_began_ = is_next_turn ? turn_began_ + turn : now;
}

Recent::Histogram Recent::at(Time now) const {
  const Duration age = now - turn_began_;
  if (age >= 2 * turn) return {};
  Histogram merged = current_;
  if (age < turn) merged.merge(previous_);
  return merged;
}

}  // namespace classgate::measure
