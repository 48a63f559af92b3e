#pragma once

// Services, and requests with a deadline that come to them: what estimate_test.cpp and
// deadline_returns_test.cpp ask about.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "admission/simulation/draw.h"
#include "tests/simulation/kit.h"

namespace classgate::simulation::test {

struct Service {
  std::string name;
  conf::Law law;
  std::uint32_t workers;
  double per_second;        // that it can do
  std::uint32_t batch = 0;  // answered together
};

inline std::vector<Service> services() {
  using Kind = conf::Law::Kind;
  return {
      {"fixed 200 ms x 8", {Kind::fixed, 200ms, {}, 0}, 8, 40},
      {"fixed 50 ms x 32", {Kind::fixed, 50ms, {}, 0}, 32, 640},
      {"exponential 100 ms x 32", {Kind::exponential, 100ms, {}, 0}, 32, 320},
      {"exponential 1 s x 50", {Kind::exponential, 1s, {}, 0}, 50, 50},
      {"pareto 100 ms 1.5 x 32", {Kind::pareto, 100ms, {}, 1.5}, 32, 320},
      {"lognormal 50/300 ms x 16", {Kind::lognormal, 50ms, 300ms, 0}, 16, 16 / .0904},
      {"batches of 32 / 300 ms", {Kind::fixed, 300ms, {}, 0}, 32, 32 / .305, 32},
      {"batches of 8 / 100 ms x 16", {Kind::fixed, 100ms, {}, 0}, 16, 80, 8},
  };
}

// As many service times as a queue is worth waiting in.
inline Duration one_deadline(const Service& service) {
  const std::chrono::duration<double> mean(mean_seconds(service.law));
  return std::max(Duration(2s), 10 * std::chrono::duration_cast<Duration>(mean));
}

inline double share(std::size_t part, std::size_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

inline bool is_shown() { return std::getenv("CLASSGATE_SHOW") != nullptr; }

// What became of one request.
struct Fate {
  Time came{};
  Time ended{};
  Ending ending{};
  Duration service{};
  Duration deadline{};

  bool is_refused() const {
    return ending.kind == Ending::Kind::rejected &&
           (ending.reason == conf::Reason::deadline ||
            ending.reason == conf::Reason::would_miss_deadline);
  }
  bool is_refused_at_once() const { return is_refused() && ended - came <= 50ms; }
  bool is_served() const { return ending.kind == Ending::Kind::served; }
  bool is_in_time() const { return is_served() && ended <= came + deadline; }
};

}  // namespace classgate::simulation::test
