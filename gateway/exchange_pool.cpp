#include "gateway/exchange_pool.h"

#include <algorithm>
#include <utility>

#include "gateway/station.h"

namespace classgate::gateway {
namespace {

constexpr std::size_t spare_exchanges_max = 256;

// Each request that waits holds one: what few need is made when it is needed.
static_assert(sizeof(Exchange) <= 1536);

}  // namespace

ExchangePool::ExchangePool(Station& station, std::function<void(std::size_t)> on_growth)
    : station_(station), on_growth_(std::move(on_growth)) {
  free_.reserve(spare_exchanges_max);
}

Exchange& ExchangePool::take() {
  if (free_.empty()) {
    if (free_tags_.empty()) make_tag();
    const std::uint32_t tag = free_tags_.back();
    all_[tag] = std::make_unique<Exchange>(station_, tag);
    free_tags_.pop_back();
    station_.memory().change(sizeof(Exchange));
    return *all_[tag];
  }
  Exchange& exchange = *free_.back();
  free_.pop_back();
  return exchange;
}

// For one exchange more. What may come of it later asks for no memory then: its end, and the letter
// that lets it in (a permit on its way must not be lost).
void ExchangePool::make_tag() {
  if (all_.size() == all_.capacity()) {
    const std::size_t more = std::max<std::size_t>(16, 2 * all_.size());
    on_growth_(more);
    free_tags_.reserve(more);
    ended_.reserve(more);
    all_.reserve(more);  // last: its capacity says that all others have theirs
  }
  all_.emplace_back();
  free_tags_.push_back(static_cast<std::uint32_t>(all_.size() - 1));
}

// After its turn. Some are kept for the next requests; after a peak the rest go.
void ExchangePool::free(Exchange& exchange) {
  exchange.reset();
  if (free_.size() < spare_exchanges_max) return free_.push_back(&exchange);
  const std::uint32_t tag = exchange.tag();
  free_tags_.push_back(tag);
  all_[tag].reset();
  station_.memory().change(-static_cast<std::int64_t>(sizeof(Exchange)));
}

void ExchangePool::end_turn() {
  for (Exchange* exchange : ended_)
    station_.loop().guard([&] { free(*exchange); },
                          [&] { exchange->cut(); });  // and never used again
  ended_.clear();
}

}  // namespace classgate::gateway
