#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "admission/measure/spread.h"
#include "admission/measure/timeline.h"
#include "admission/simulation/traffic.h"

namespace classgate::simulation {

using ReasonCounts = std::array<std::uint64_t, conf::reason_count>;

// How it went for some of the requests.
struct Counts {
  std::uint64_t arrived = 0;  // attempts
  std::uint64_t retries = 0;  // of these
  std::uint64_t served = 0;
  std::uint64_t abandoned = 0;
  ReasonCounts rejected{};
  ReasonCounts failed{};

  void count(const Ending& ending);
  std::uint64_t all_rejected() const;
  std::uint64_t all_failed() const;
};

struct Group : Counts {
  measure::Spread wait;     // of the admitted
  measure::Spread latency;  // of the served, from the arrival to the answer
};

struct ClientCounts : Counts {
  Duration wait_sum{};
  Duration wait_most{};
  std::uint64_t waits = 0;
};

// What a run is worth telling, kept while it goes on. Memory grows with groups and clients (up to
// clients_max; those beyond count together), not with requests.
class Tally {
 public:
  static constexpr std::size_t clients_max = 50'000;

  void arrived(const Wish& wish, Time now);
  void admitted(const Wish& wish, Duration waited, Time now);
  void ended(const Wish& wish, const Ending& ending, Time now);
  void waiting_changed(int priority, int by, Time now);
  void active_changed(int by, Time now);
  void finish(Time now);

  const Group& all() const { return all_; }
  const std::array<Group, conf::priority_count>& by_priority() const { return by_priority_; }
  const std::vector<Group>& by_group() const { return by_group_; }
  const std::vector<ClientCounts>& by_client() const { return by_client_; }
  const measure::Timeline& timeline() const { return timeline_; }
  std::uint64_t active_most() const { return active_most_; }
  std::uint64_t waiting_most() const { return waiting_most_; }
  Time last_arrival() const { return last_arrival_; }

 private:
  Group& group(const Wish& wish);
  ClientCounts& client(const Wish& wish);

  Group all_;
  std::array<Group, conf::priority_count> by_priority_;
  std::vector<Group> by_group_;
  std::vector<ClientCounts> by_client_;
  measure::Timeline timeline_;
  std::uint64_t active_ = 0;
  std::uint64_t active_most_ = 0;
  std::uint64_t waiting_ = 0;
  std::uint64_t waiting_most_ = 0;
  Time last_arrival_{};
};

}  // namespace classgate::simulation
