// Out of memory at any place: each allocation of the gateway in turn fails while clients are
// served.

#include <doctest/doctest.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <random>
#include <vector>

#include "gateway/exchange_pool.h"
#include "tests/connection/allocations.h"
#include "tests/connection/memory_world.h"
#include "tests/connection/ordinary_minute.h"

using classgate::connection_test::Allocations;

namespace {

void* allocate(std::size_t size, std::size_t alignment) {
  if (Allocations::next_is_bad()) throw std::bad_alloc();
  void* const memory =
      alignment == 0
          ? std::malloc(std::max<std::size_t>(size, 1))
          : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (memory == nullptr) std::abort();
  return memory;
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size, 0); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace classgate::connection_test {
namespace {

TEST_CASE("an allocation that fails costs one client at most") {
  const Outcome whole = play_with(0, 0);
  REQUIRE(whole.fault == "");
  REQUIRE(whole.served >= 15);
  const std::int64_t count = Allocations::seen;
  MESSAGE(count << " allocations; " << whole.served << " served");
  // Each of them; of every so many one, another one in each run, where the environment wants that.
  const char* const given = std::getenv("CLASSGATE_OF_EVERY");
  const std::int64_t step = given == nullptr ? 1 : std::max<std::int64_t>(1, std::atoll(given));
  const std::int64_t first = 1 + std::random_device{}() % step;
  for (std::int64_t bad = first; bad <= count; bad += step) {
    CAPTURE(bad);
    const Outcome outcome = play_with(bad, 1);
    CHECK(outcome.fault == "");
    REQUIRE(outcome.served_of_client.size() == whole.served_of_client.size());
    CHECK(harmed(outcome, whole) <= 1);
  }
}

// Whether an allocation failed: of those that the work asks for the `first`, and so many in all.
bool fails_with(std::int64_t first, std::int64_t count, const auto& work) {
  Allocations::seen = 0;
  Allocations::first_bad = first;
  Allocations::bad_count = count;
  bool failed = false;
  try {
    const AllocationsOf gateways(true);
    work();
  } catch (const std::bad_alloc&) {
    failed = true;
  }
  Allocations::first_bad = 0;
  return failed;
}

// Memory failed while room was made for more exchanges, after the list whose capacity tells of it
// had been made longer: the next request asked for none, and its end had to.
TEST_CASE("room for exchanges is asked for whole, or again: what comes of them needs no memory") {
  MemoryWorld world;
  std::int64_t bad = 0;
  for (bool failed = true; failed;) {
    ++bad;
    CAPTURE(bad);
    std::vector<int> elsewhere;
    gateway::ExchangePool pool(world.station(),
                               [&](std::size_t count) { elsewhere.reserve(count); });
    failed = fails_with(bad, 1, [&] { pool.retire(pool.take()); });
    pool.end_turn();
    std::vector<gateway::Exchange*> taken(16);
    for (gateway::Exchange*& exchange : taken) exchange = &pool.take();
    CHECK(elsewhere.capacity() >= taken.size());
    CHECK_FALSE(fails_with(1, 1'000'000, [&] {
      for (gateway::Exchange* exchange : taken) pool.retire(*exchange);
      pool.end_turn();
    }));
  }
  CHECK(bad > 5);  // four lists and an exchange, each in vain once
}

}  // namespace
}  // namespace classgate::connection_test

int main(int argc, char** argv) {
  spdlog::set_level(spdlog::level::off);  // the failures here are made on purpose
  return doctest::Context(argc, argv).run();
}
