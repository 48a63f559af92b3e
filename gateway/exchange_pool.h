#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "gateway/exchange.h"

namespace classgate::gateway {

class Station;

// The exchanges of one loop, each found by its tag: those at work, and some that are free for the
// next requests. What ends is free when the turn is over, and not before, because its methods may
// be on the stack. On the loop.
class ExchangePool {
 public:
  // `on_growth` is called before there are more exchanges than ever, with how many there may be
  // then: to ask for the memory that they will need later. It may throw.
  ExchangePool(Station& station, std::function<void(std::size_t)> on_growth);

  Exchange& take();
  void retire(Exchange& exchange) { ended_.push_back(&exchange); }
  void end_turn();
  // Null: it has none now.
  Exchange* at(std::uint32_t tag) { return all_[tag].get(); }
  // By their tags; null where there is none now.
  const std::vector<std::unique_ptr<Exchange>>& all() const { return all_; }

 private:
  void make_tag();
  void free(Exchange& exchange);

  Station& station_;
  const std::function<void(std::size_t)> on_growth_;
  std::vector<std::unique_ptr<Exchange>> all_;  // a tag is an index; null: free for another
  std::vector<std::uint32_t> free_tags_;
  std::vector<Exchange*> free_;
  std::vector<Exchange*> ended_;  // free after this turn
};

}  // namespace classgate::gateway
