#include <doctest/doctest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <memory>
#include <vector>

#include "gateway/memory_budget.h"
#include "tests/gateway/kit.h"

// What goes back to the system. Sanitizers have allocators of their own: not built with them.

namespace classgate::gateway::test {
namespace {

std::size_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::size_t all = 0, resident = 0;
  file >> all >> resident;
  REQUIRE(resident > 0);
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

TEST_CASE("while memory is tight the holes between what is held go back to the system") {
  constexpr std::size_t piece = 16 * 1024, pieces = 4000;
  MemoryBudget budget(100 << 20);
  MemoryKeeper keeper(budget, [] {});
  std::vector<std::unique_ptr<char[]>> held(pieces);
  for (auto& each : held) {
    each = std::make_unique_for_overwrite<char[]>(piece);
    std::memset(each.get(), 1, piece);
  }
  for (std::size_t i = 0; i < pieces; i += 2) held[i].reset();
  const std::size_t with_holes = resident_bytes();
  budget.change(80 << 20);
  CHECK(await(
      [&] { return resident_bytes() + pieces / 2 * piece * 3 / 4 < with_holes + (8 << 20); }));
  // And as long as it is.
  for (std::size_t i = 1; i < pieces; i += 4) held[i].reset();
  CHECK(await([&] { return resident_bytes() + pieces / 2 * piece < with_holes + (8 << 20); }));
  budget.change(-(80 << 20));
}
}  // namespace
}  // namespace classgate::gateway::test
