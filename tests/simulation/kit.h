#pragma once

#include <doctest/doctest.h>

#include <vector>

#include "admission/simulation/class_traffic.h"
#include "admission/simulation/simulation.h"

namespace classgate::simulation::test {

using namespace std::chrono_literals;

// Requests that are written down one by one.
class Script final : public Traffic {
 public:
  explicit Script(std::vector<Wish> wishes) : wishes_(std::move(wishes)) {}
  bool next(Wish& wish) override {
    if (at_ == wishes_.size()) return false;
    wish = wishes_[at_++];
    return true;
  }
  bool after(const Wish& wish, const Ending& ending, Time now, Wish&) override {
    endings.push_back({wish.client, ending, now.time_since_epoch()});
    return false;
  }

  struct Told {
    std::uint32_t client;
    Ending ending;
    Duration at;
  };
  std::vector<Told> endings;  // in the order in which clients heard them

 private:
  std::vector<Wish> wishes_;
  std::size_t at_ = 0;
};

inline Wish wish(std::uint32_t client, Duration at, Duration service) {
  Wish wish;
  wish.at = Time{} + at;
  wish.client = client;
  wish.service = service;
  wish.priority = 3;
  return wish;
}

inline void run_all(Simulation& simulation) {
  while (simulation.advance(1'000'000)) {
  }
}

// What the tally says happened is what admission's own books say.
inline void check_books(const Simulation& simulation) {
  const admission::Snapshot books = simulation.books();
  const Group& all = simulation.tally().all();
  CHECK(books.total == all.arrived);
  CHECK(books.processed == all.served);
  CHECK(books.rejected == all.rejected);
  CHECK(books.failed == all.failed);
  CHECK(books.abandoned == all.abandoned);
  CHECK(books.active_workers == 0);
  CHECK(books.waiting == 0);
  std::uint64_t by_priority = 0;
  for (const Group& group : simulation.tally().by_priority()) by_priority += group.arrived;
  CHECK(by_priority == all.arrived);
}

}  // namespace classgate::simulation::test
