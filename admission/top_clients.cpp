#include "admission/top_clients.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace classgate::admission {
namespace {

double spent(const ClientTable::Look& client) {
  return client.rate > 0 ? client.burst - client.tokens : 0;
}

// Equal clients are ordered by number, so that a list that is refreshed keeps its order.
bool has_more(const ClientState& a, const ClientState& b) {
  return std::tuple(a.now.active, a.now.waiting, spent(a.now), b.now.number) >
         std::tuple(b.now.active, b.now.waiting, spent(b.now), a.now.number);
}

}  // namespace

void TopClients::offer(const ClientState& client) {
  if (client.now.active == 0 && client.now.waiting == 0 && spent(client.now) <= 0) return;
  const bool is_full = clients_.size() == most_;
  if (is_full && (most_ == 0 || !has_more(client, clients_.front()))) return;
  clients_.push_back(client);
  std::ranges::push_heap(clients_, has_more);
  if (!is_full) return;
  std::ranges::pop_heap(clients_, has_more);
  clients_.pop_back();
}

std::vector<ClientState> TopClients::take() {
  std::ranges::sort_heap(clients_, has_more);
  return std::move(clients_);
}

}  // namespace classgate::admission
