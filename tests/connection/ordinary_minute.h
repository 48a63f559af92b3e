#pragma once

#include <cstdint>

#include "tests/connection/world.h"

namespace classgate::connection_test {

// A minute of plain, TLS and PROXY clients, two reloads and a full house, in which the allocations
// from the `first_bad`th on (0: none) fail, `bad_count` of them. Allocations::seen says how many
// there were.
Outcome play_with(std::int64_t first_bad, std::int64_t bad_count);

// How many clients were served less than when nothing fails.
int harmed(const Outcome& outcome, const Outcome& whole);

}  // namespace classgate::connection_test
