#pragma once

// A world in virtual time around one Controller: clients that come at random and give up at their
// deadline, and an upstream with a capacity of its own. One seed, one story.

#include <cstdint>
#include <functional>
#include <optional>
#include <queue>
#include <random>
#include <vector>

#include "admission/controller.h"

namespace classgate::bench {

using admission::Duration;
using admission::Time;

// One kind of request.
struct Class {
  int priority;
  double share;               // of the offered requests
  Duration deadline;          // its client leaves then
  Duration work;              // in the upstream, alone
  bool says_deadline = true;  // to the gateway
};

// The upstream: how much longer than alone a request takes when `n` are in it (processor sharing:
// the work that is done slows down and speeds up as others come and go).
using Slowdown = std::function<double(double n, double seconds)>;

struct Load {
  std::vector<Class> classes;
  std::function<double(double seconds)> rate;  // requests a second
  Slowdown slowdown;
  double length = 60;           // seconds
  double warm_up = 0;           // not counted
  bool is_random_work = false;  // exponential, else within 10 % of what its class says
  std::uint64_t seed = 1;
};

struct ClassResult {
  std::uint64_t offered = 0;
  std::uint64_t useful = 0;       // answered before the deadline
  std::uint64_t late = 0;         // worked on, but the client had left
  std::uint64_t refused = 0;      // at once
  std::uint64_t turned_away = 0;  // after having waited
  std::uint64_t in_vain = 0;      // waited until their client left
  double busy_seconds = 0;        // workers of it
  std::vector<double> times;      // of the useful ones, ms
};

struct Result {
  std::vector<ClassResult> classes;
  std::vector<std::uint32_t> limits;       // workers, at the end of each second
  std::vector<std::uint64_t> completions;  // in each second, useful
  admission::Snapshot books;
  std::uint64_t useful() const;
  std::uint64_t offered() const;
};

// Runs it all. `start`: workers that an automatic limit begins with.
Result run(const Load& load, const conf::AdmissionSettings& settings,
           std::optional<std::uint32_t> start = std::nullopt);

double quantile(std::vector<double> values, double share);

}  // namespace classgate::bench
