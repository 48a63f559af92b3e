#include "gateway/turn_line.h"

#include <utility>

namespace classgate::gateway {

TurnLine::~TurnLine() {
  for (Member* const member : line_) member->line_ = nullptr;
  loop_.forget_deferred(*this);
}

void TurnLine::join(Member& member) {
  if (member.line_ != nullptr) return;
  loop_.call_next_turn(*this);
  member.place_ = line_.insert(line_.end(), &member);
  member.line_ = this;
}

void TurnLine::leave(Member& member) {
  line_.erase(member.place_);
  member.line_ = nullptr;
}

// Who joins again meanwhile is at the end, behind all that were there.
void TurnLine::on_next_turn() {
  const std::size_t waiting = line_.size();
  for (std::size_t i = 0; i < waiting && i < most_in_a_turn && !line_.empty(); ++i) {
    Member& member = *line_.front();
    leave(member);
    member.on_turn();
  }
  if (!line_.empty()) loop_.call_next_turn(*this);
}

}  // namespace classgate::gateway
