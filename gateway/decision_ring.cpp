#include "gateway/decision_ring.h"

#include "gateway/clients/pseudonym.h"

namespace classgate::gateway {

Decision DecisionRing::Slot::told() const {
  constexpr std::size_t route_most = 64, plan_most = 32;
  const auto said = [](std::string_view text) { return std::string(text.empty() ? "-" : text); };
  const auto cut = [&said](const std::string* text, std::size_t most) {
    return said(text != nullptr ? std::string_view(*text).substr(0, most) : "");
  };
  std::string_view rest(texts.data(), texts.size());
  std::size_t place = 0;
  const auto next = [&] {
    const std::string_view text = rest.substr(0, sizes[place]);
    rest.remove_prefix(sizes[place++]);
    return said(text);
  };
  Decision decision;
  static_cast<ExchangeFacts&>(decision) = facts;
  decision.id = next();
  decision.address = next();
  decision.method = next();
  decision.path = next();
  decision.name = next();
  decision.upstream = next();
  decision.client = pseudonym_of(client);
  decision.route = cut(route, route_most);
  decision.plan = cut(plan, plan_most);
  decision.limits = limits;
  return decision;
}

void DecisionRing::resize(std::size_t most) {
  if (most == most_) return;
  DecisionRing other;
  other.most_ = most;
  other.in_force_ = in_force_;
  other.blocks_.reserve((most + block_size - 1) / block_size);
  for (std::size_t age = std::min(size(), most); age-- > 0;)
    if (other.next_ != other.end_ || other.turn()) new (other.next_++) Slot(by_age(age));
  *this = std::move(other);
}

bool DecisionRing::turn() {
  size_before_ = size();
  const std::size_t made = blocks_.size() * block_size;
  const bool is_last = blocks_.empty() || block_ + 1 == blocks_.size();
  if (is_last && made < most_)
    if (std::unique_ptr<Block> block(new (std::nothrow) Block); block)
      blocks_.push_back(std::move(block));  // there is room
  if (blocks_.empty()) return false;
  const bool was_first = next_ == nullptr;
  block_ = was_first || block_ + 1 == blocks_.size() ? 0 : block_ + 1;
  next_ = blocks_[block_]->at(0);
  end_ = blocks_[block_]->at(std::min(block_size, most_ - block_ * block_size));
  return true;
}

Decisions DecisionRing::find(std::string_view id, std::size_t most) const {
  Decisions found;
  for (std::size_t age = 0; age < size(); ++age) {
    const Slot& one = by_age(age);
    if (one.id() != id) continue;
    if (found.told.size() < most)
      found.told.push_back(one.told());
    else
      ++found.more;
  }
  return found;
}

}  // namespace classgate::gateway
