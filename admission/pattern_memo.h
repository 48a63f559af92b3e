#pragma once

#include <cstddef>
#include <vector>

#include "admission/client_patterns.h"
#include "admission/time.h"

namespace classgate::admission {

// What fairness.rate = "pattern" has learnt, for the process that comes after this one. A value.
// Not the shadow's: it begins anew.
struct PatternMemo {
  static constexpr std::size_t clients_max = 100'000;  // those that have been there for longest

  Time at{};               // the hour of it is the one that runs in each week
  Duration learning{};     // since the rule has begun to learn
  Duration silent{};       // since anybody came
  std::size_t places = 0;  // of the table; 0: the rule is off, and there is nothing
  std::vector<ClientPatterns::Kept> clients{};
  std::size_t left_out = 0;  // clients beyond those
};

}  // namespace classgate::admission
