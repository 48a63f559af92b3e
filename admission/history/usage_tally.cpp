#include "admission/history/usage_tally.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "conf/reason.h"

namespace classgate::history {
namespace {

// Of one that failed, by the reason that it was given; none: the service's own answer says so.
FailedBy failed_by_of(std::uint8_t reason) {
  if (reason >= conf::reason_count) return FailedBy::status;
  switch (conf::reason_texts[reason].reason) {
    case conf::Reason::upstream_unreachable:
    case conf::Reason::upstream_down: return FailedBy::unreachable;
    default: break;
  }
  return conf::reason_texts[reason].kind == conf::ReasonKind::service ? FailedBy::service
                                                                      : FailedBy::gateway;
}

// But for the times.
void count(const Use& use, std::int64_t at, UsageRow& row) {
  ++row.requests;
  row.cost += use.cost;
  switch (use.end) {
    case End::served: ++row.served; break;
    case End::failed:
      ++row.failed;
      ++row.failed_by[static_cast<std::size_t>(failed_by_of(use.reason))];
      break;
    case End::refused: ++row.refused; break;
    case End::abandoned: ++row.abandoned; break;
  }
  row.bytes_in += use.bytes_in;
  row.bytes_out += use.bytes_out;
  if (row.first_seen == 0 || at < row.first_seen) row.first_seen = at;
  row.last_seen = std::max(row.last_seen, at);
  // Of one that was served or left it says why it was cut; that is no reason of a refusal.
  if (use.reason != Use::no_reason && (use.end == End::refused || use.end == End::failed))
    row.add_reason(use.reason);
}

template <std::size_t size>
void move_to_sketch(std::array<std::uint32_t, size>& bins, QuantileSketch& sketch) {
  QuantileSketch all;
  for (std::size_t bin = 0; bin < size; ++bin)
    if (bins[bin] > 0) all.add_to_bin(static_cast<std::uint16_t>(bin), bins[bin]);
  bins.fill(0);
  sketch = std::move(all);
}

}  // namespace

void UsageTally::add(const Use& use, std::int64_t at) {
  has_any_ = true;
  Cell& cell = cell_of(use);
  UsageRow& client =
      clients_.row_of(use.client, {.cost = use.cost, .refused = use.end == End::refused ? 1U : 0U});
  count(use, at, cell.row);
  count(use, at, client);
  if (use.wait_us != Use::none) {
    const std::uint16_t bin = QuantileSketch::bin_of(use.wait_us);
    ++cell.wait[bin];
    client.wait.add_to_bin(bin);
  }
  if (use.service_us != Use::none) {
    const std::uint16_t bin = QuantileSketch::bin_of(use.service_us);
    ++cell.service[bin];
    client.service.add_to_bin(bin);
  }
}

UsageTally::Cell& UsageTally::cell_of(const Use& use) {
  const std::array<std::uint16_t, numbered_count> numbers{use.plan, use.route, use.priority,
                                                          use.status};
  std::uint64_t key = 0;
  for (const std::uint16_t number : numbers) key = key << 16 | number;
  const auto known = std::ranges::find(cell_keys_, key);
  if (known != cell_keys_.end())
    return cells_[static_cast<std::size_t>(known - cell_keys_.begin())];
  if (cell_keys_.size() == cells_max) settle();
  const std::size_t place = cell_keys_.size();
  if (cells_.size() == place) cells_.emplace_back();
  cell_keys_.push_back(key);
  cells_[place].numbers = numbers;
  return cells_[place];
}

void UsageTally::settle() {
  for (std::size_t i = 0; i < cell_keys_.size(); ++i) {
    Cell& cell = cells_[i];
    move_to_sketch(cell.wait, cell.row.wait);
    move_to_sketch(cell.service, cell.row.service);
    all_.add(cell.row);
    for (std::size_t kind = 0; kind < numbered_count; ++kind)
      numbers_[kind].rows[cell.numbers[kind]].add(cell.row);
    cell.row = {};
  }
  cell_keys_.clear();
}

void UsageTally::add_to_others(const UsageRow& row) {
  has_any_ = true;
  all_.add(row);
  clients_.others().add(row);
  for (Numbers& numbers : numbers_) numbers.others.add(row);
}

void UsageTally::add(UsageTally& other) {
  settle();
  other.settle();
  has_any_ = has_any_ || other.has_any_;
  all_.add(other.all_);
  clients_.add(other.clients_);
  for (std::size_t i = 0; i < numbered_count; ++i) {
    for (const auto& [number, row] : other.numbers_[i].rows) numbers_[i].rows[number].add(row);
    numbers_[i].others.add(other.numbers_[i].others);
  }
}

void UsageTally::clear() {
  settle();
  all_ = {};
  clients_.clear();
  for (Numbers& numbers : numbers_) numbers = {};
  has_any_ = false;
}

std::vector<UsageRow> UsageTally::rows(std::size_t top_clients, const Names& names) {
  settle();
  std::vector<UsageRow> rows;
  const auto put = [&](const UsageRow& row, UsageKind kind, std::string key) {
    if (row.requests == 0) return;
    UsageRow& added = rows.emplace_back(row);
    added.kind = kind;
    added.key = std::move(key);
  };
  put(all_, UsageKind::all, "");
  const ClientTally::Top top = clients_.top(top_clients);
  for (const ClientTally::Row* const client : top.rows)
    put(client->second, UsageKind::client, names.of_client(client->first));
  put(top.others, UsageKind::client, std::string(usage_others));
  constexpr std::array kinds{UsageKind::plan, UsageKind::route, UsageKind::priority,
                             UsageKind::status};
  for (std::size_t i = 0; i < numbered_count; ++i) {
    const bool has_name = i == plan || i == route;
    for (const auto& [number, row] : numbers_[i].rows)
      put(row, kinds[i],
          number == 0 ? "-"
          : has_name  ? names.of_number(number)
                      : std::to_string(number));
    put(numbers_[i].others, kinds[i], std::string(usage_others));
  }
  // Keys that are told alike (names beyond UsageNames::most, ids that begin alike) are one.
  std::ranges::sort(rows, [](const UsageRow& a, const UsageRow& b) {
    return std::pair(a.kind, std::string_view(a.key)) < std::pair(b.kind, std::string_view(b.key));
  });
  std::vector<UsageRow> told;
  told.reserve(rows.size());
  for (UsageRow& row : rows)
    if (!told.empty() && told.back().kind == row.kind && told.back().key == row.key)
      told.back().add(row);
    else
      told.push_back(std::move(row));
  return told;
}

}  // namespace classgate::history
