#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "admission/history/client_tally.h"
#include "admission/history/usage_row.h"
#include "admission/history/use.h"

namespace classgate::history {

// What was used within some time, of each kind: by whom, under which plan, on which route, with
// which priority and status. The rows of each kind, its others included, add up to all that was
// used. Bounded: clients as ClientTally says, the rest by what the conf has of it. A value that
// moves; one thread.
//
// A request goes into two places, its client's row and its cell: what has the same plan, route,
// priority and status. What the rows of these are is added up from the cells when somebody asks.
class UsageTally {
 public:
  explicit UsageTally(std::size_t clients_room) : clients_(clients_room) {}

  // One that ended at `at`, Unix time.
  void add(const Use& use, std::int64_t at);
  // Of which is not known whose they were: the others' in each kind.
  void add_to_others(const UsageRow& row);
  void add(UsageTally& other);
  bool forget(std::uint64_t client) { return clients_.forget(client); }
  // Nothing was used; the room of cells is kept.
  void clear();

  const UsageRow& all() {
    settle();
    return all_;
  }
  const ClientTally& clients() const { return clients_; }
  bool is_empty() const { return !has_any_; }

  // As a store keeps them, but for level and start: that of all, the top clients, and all of the
  // other kinds; what has no requests is left out.
  struct Names {
    std::function<std::string(std::uint64_t)> of_client;
    std::function<std::string(std::uint16_t)> of_number;  // of a plan or a route
  };
  std::vector<UsageRow> rows(std::size_t top_clients, const Names& names);

 private:
  enum Numbered : std::uint8_t { plan, route, priority, status };
  static constexpr std::size_t numbered_count = 4;
  static constexpr std::size_t cells_max = 64;  // then they are added up before their time
  // By number; those of which it is not known.
  struct Numbers {
    std::map<std::uint16_t, UsageRow> rows{};
    UsageRow others{.key = std::string(usage_others)};
  };
  // Its sketches stand apart: how many are in each bin.
  struct Cell {
    std::array<std::uint16_t, numbered_count> numbers{};
    UsageRow row{};
    using Bins = std::array<std::uint32_t, QuantileSketch::bins_max>;
    Bins wait{}, service{};
  };
  Cell& cell_of(const Use& use);
  void settle();

  UsageRow all_;
  ClientTally clients_;
  std::array<Numbers, numbered_count> numbers_;
  std::vector<std::uint64_t> cell_keys_;  // of those that are in use
  std::vector<Cell> cells_;
  bool has_any_ = false;
};

}  // namespace classgate::history
