#include "admission/history/client_tally.h"

#include <algorithm>
#include <array>
#include <unordered_set>

namespace classgate::history {

UsageRow& ClientTally::row_of(std::uint64_t client, const Weight& weight) {
  if (!ranks_) {
    UsageRow& row = rows_[client];
    if (rows_.size() <= room_) return row;
    rows_.erase(client);  // it is empty still
    begin_to_rank();
  }
  rank(client, weight);
  return rows_[client];
}

void ClientTally::begin_to_rank() {
  ranks_ = std::make_unique<Ranks>(room_);
  for (const auto& [client, row] : rows_)
    rank(client, {.requests = row.requests, .cost = row.cost, .refused = row.refused});
}

// Whoever loses its last place falls.
void ClientTally::rank(std::uint64_t client, const Weight& weight) {
  const auto add_to = [&](TopKeys<Nothing>& keys, std::uint64_t times) {
    if (times == 0) return;
    std::uint64_t fallen = client;
    keys.add(client, times, [&](const auto& least) { fallen = least.key; });
    if (fallen == client || ranks_->has(fallen)) return;
    const auto row = rows_.find(fallen);
    if (row == rows_.end()) return;
    others_.add(row->second);
    rows_.erase(row);
  };
  add_to(ranks_->requests, weight.requests);
  add_to(ranks_->cost, weight.cost);
  add_to(ranks_->refused, weight.refused);
}

void ClientTally::add(const ClientTally& other) {
  for (const auto& [client, row] : other.rows_)
    row_of(client, {.requests = row.requests, .cost = row.cost, .refused = row.refused}).add(row);
  others_.add(other.others_);
}

// It keeps its rank, without a row: nothing can be taken out of a ranking.
bool ClientTally::forget(std::uint64_t client) {
  const auto row = rows_.find(client);
  if (row == rows_.end()) return false;
  others_.add(row->second);
  rows_.erase(row);
  return true;
}

void ClientTally::clear() {
  rows_.clear();
  ranks_.reset();
  others_ = {.key = std::string(usage_others)};
}

ClientTally::Top ClientTally::top(std::size_t most) const {
  std::vector<const Row*> all;
  all.reserve(rows_.size());
  for (const Row& row : rows_) all.push_back(&row);
  std::unordered_set<std::uint64_t> chosen;
  const std::size_t count = std::min(most, all.size());
  for (const auto field : {&UsageRow::requests, &UsageRow::cost, &UsageRow::refused}) {
    const auto has_more = [field](const Row* a, const Row* b) {
      return std::pair(a->second.*field, b->first) > std::pair(b->second.*field, a->first);
    };
    std::ranges::partial_sort(all, all.begin() + static_cast<std::ptrdiff_t>(count), has_more);
    for (std::size_t i = 0; i < count && all[i]->second.*field > 0; ++i)
      chosen.insert(all[i]->first);
  }
  Top top{.rows = {}, .others = others_};
  for (const Row* row : all)
    if (chosen.contains(row->first))
      top.rows.push_back(row);
    else
      top.others.add(row->second);
  return top;
}

}  // namespace classgate::history
