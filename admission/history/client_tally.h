#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "admission/history/top_keys.h"
#include "admission/history/usage_row.h"

namespace classgate::history {

// What each client used, in fixed room: all of them while there are no more than `room`, then those
// that have most, by requests, by cost and by refusals, each ranked by Space-Saving (top_keys.h): a
// client that has more than total / room of any of these has a row, always. Who has a place in none
// of the three any more falls into the others; if it comes again its row begins anew. So a row
// tells at most total / room less than its client used, never more, and the rows with the others
// are all that was used. At most 3 `room` rows. A value that moves; one thread.
class ClientTally {
 public:
  using Row = std::pair<const std::uint64_t, UsageRow>;

  explicit ClientTally(std::size_t room) : room_(room) {}

  // The row of a client to which requests are about to be added, of which so many come to it.
  struct Weight {
    std::uint64_t requests = 1;
    std::uint64_t cost = 0;
    std::uint64_t refused = 0;
  };
  UsageRow& row_of(std::uint64_t client, const Weight& weight);
  // Of those without a row of their own; what nobody knows whose it is may be added.
  UsageRow& others() { return others_; }
  const UsageRow& others() const { return others_; }
  void add(const ClientTally& other);
  // What its client used is the others' from now on. False: it has no row.
  bool forget(std::uint64_t client);
  void clear();

  const std::unordered_map<std::uint64_t, UsageRow>& rows() const { return rows_; }
  // The `most` that have most of each, and the sum of all the rest.
  struct Top {
    std::vector<const Row*> rows;
    UsageRow others;
  };
  Top top(std::size_t most) const;
  // Nobody has fallen out.
  bool is_exact() const { return !ranks_; }

 private:
  struct Nothing {};
  struct Ranks {
    explicit Ranks(std::size_t room) : requests(room), cost(room), refused(room) {}
    TopKeys<Nothing> requests, cost, refused;
    bool has(std::uint64_t client) const {
      return requests.find(client) != nullptr || cost.find(client) != nullptr ||
             refused.find(client) != nullptr;
    }
  };
  void rank(std::uint64_t client, const Weight& weight);
  void begin_to_rank();

  std::size_t room_;
  std::unordered_map<std::uint64_t, UsageRow> rows_;
  UsageRow others_{.key = std::string(usage_others)};
  std::unique_ptr<Ranks> ranks_;  // null: there is room for all
};

}  // namespace classgate::history
