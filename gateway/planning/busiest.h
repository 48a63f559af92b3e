#pragma once

#include <algorithm>
#include <numeric>
#include <vector>

#include "admission/simulation/tally.h"

namespace classgate::planning {

// The clients with the most requests, the first of them first.
inline std::vector<std::uint32_t> busiest_clients(const simulation::Tally& tally,
                                                  std::size_t most) {
  const auto& clients = tally.by_client();
  std::vector<std::uint32_t> order(clients.size());
  std::iota(order.begin(), order.end(), 0U);
  const auto middle = order.begin() + static_cast<std::ptrdiff_t>(std::min(most, order.size()));
  std::ranges::partial_sort(order, middle, [&](std::uint32_t a, std::uint32_t b) {
    if (clients[a].arrived != clients[b].arrived) return clients[a].arrived > clients[b].arrived;
    return a < b;
  });
  order.erase(middle, order.end());
  return order;
}

}  // namespace classgate::planning
