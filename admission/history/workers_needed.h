#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <string>
#include <vector>

#include "conf/settings.h"
#include "conf/target.h"

namespace classgate::history {

// How long requests of a priority keep their workers.
struct Work {
  // Of those that have ended; the sum of `shares` is 1.
  struct Share {
    double seconds = 0;
    double share = 0;
  };
  double seconds_per_cost = 0;     // of all the workers of a request, for a unit of cost
  double seconds_per_request = 0;  // of a worker; 0: not known
  std::vector<Share> spread;
  double workers_per_request() const;
};

// What comes at once: cost a second, by priority, and what work that is.
struct Offered {
  std::array<double, conf::priority_count> cost{};
  std::array<Work, conf::priority_count> work;
  double workers() const;  // that are at work in the mean (Little)
};

// How many workers hold a target: the least with which it holds in a queue of several servers with
// priorities that do not interrupt. With a = the workers at work in the mean, c workers, and cs the
// variation of times:
//   C     = Erlang's second formula (c, a): the share that finds all workers busy
//   s_p   = load of priorities up to p / c
//   w_p   = (E[S] / c) (1 + cs^2) / 2 / ((1 - s_(p-1)) (1 - s_p))     (Cobham 1954; Allen, Cunneen)
//   P(wait of p > t) = C exp(-t / w_p)
// and an answer takes the wait and the work. `simulate --plan` finds the same by trying the gateway
// itself on every request, which takes a thousand times as long; tests/simulation/workers_test.cpp
// holds both beside each other. All that comes must be served: c > a.
class WorkersNeeded {
 public:
  static constexpr std::uint32_t workers_max = 100'000;
  explicit WorkersNeeded(const conf::Target& target) : target_(target) {}

  // The error: none are enough, for such times.
  std::expected<std::uint32_t, std::string> of(const Offered& offered) const;
  // With so many it holds.
  bool holds(const Offered& offered, std::uint32_t workers) const;

 private:
  struct Queue;
  bool holds(const Queue& queue, double busy_share) const;
  double beyond(const Queue& queue, double busy_share, std::size_t priority) const;

  conf::Target target_;
};

// How many servers, minute by minute: at least what comes now needs, and what will when one that is
// started now serves. It rises at once, and falls by a share a minute at most: a forecast only
// adds.
class ServersNeeded {
 public:
  struct Bounds {
    std::uint32_t least = 1;
    std::uint32_t most = 100;
    double fall = 0.1;  // share in a minute
  };
  // Of workers, and of how many of them one server has, > 0.
  std::uint32_t decide(std::uint32_t now, std::uint32_t ahead, double workers_per_server,
                       const Bounds& bounds);

 private:
  double floor_ = 0;  // servers
};

}  // namespace classgate::history
