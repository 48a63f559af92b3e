#include "gateway/decision_ring.h"

#include <algorithm>
#include <new>

namespace classgate::gateway {

Decision::Decision(const ExchangeFacts& facts, const ExchangeTexts& texts, const InForce& in_force)
    : ExchangeFacts(facts),
      id(texts.request_id),
      client(texts.client),
      address(texts.address),
      method(texts.method),
      path(texts.path),
      route(texts.route),
      plan(texts.plan),
      name(texts.name),
      upstream(texts.upstream),
      limits(in_force) {}

void DecisionRing::resize(std::size_t most) {
  if (most == most_) return;
  DecisionRing other;
  other.most_ = most;
  other.blocks_.reserve((most + block_size - 1) / block_size);
  const std::size_t kept = std::min(size_, most);
  for (std::size_t age = kept; age-- > 0;)
    if (void* const place = other.next()) new (place) Decision(at((newest_ + size_ - age) % size_));
  *this = std::move(other);
}

void DecisionRing::keep(const ExchangeFacts& facts, const ExchangeTexts& texts,
                        const Decision::InForce& in_force) {
  if (void* const place = next()) new (place) Decision(facts, texts, in_force);
}

void* DecisionRing::next() {
  if (size_ < most_) {
    if (size_ == blocks_.size() * block_size)
      if (std::unique_ptr<Block> block(new (std::nothrow) Block); block)
        blocks_.push_back(std::move(block));  // there is room
    if (size_ < blocks_.size() * block_size) {
      newest_ = size_++;
      return blocks_[newest_ / block_size]->room(newest_ % block_size);
    }
  }
  if (size_ == 0) return nullptr;
  if (++newest_ == size_) newest_ = 0;
  return blocks_[newest_ / block_size]->room(newest_ % block_size);
}

Decisions DecisionRing::find(std::string_view id, std::size_t most) const {
  Decisions found;
  for (std::size_t age = 0; age < size_; ++age) {
    const Decision& one = at((newest_ + size_ - age) % size_);
    if (one.id.view() != id) continue;
    if (found.told.size() < most)
      found.told.push_back(one);
    else
      ++found.more;
  }
  return found;
}

}  // namespace classgate::gateway
