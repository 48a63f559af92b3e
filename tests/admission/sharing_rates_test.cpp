// A rate that several gateways have together: never more than it allows, and little of it left
// lying, wherever the requests come in and whatever happens.

#include <doctest/doctest.h>

#include <numeric>

#include "tests/admission/sharing_world.h"

namespace classgate::sharing {
namespace {

using admission::replay;
using admission::run;

constexpr double rate = 1'000;
// Tokens that may lie in the ledger while a gateway has too little: what a quarter of the lease (1
// s) gains. A window in which they are taken has so many more than the rate gains, however long it
// is.
constexpr double kept_ready = rate / 4;

struct Windows {
  std::size_t least = static_cast<std::size_t>(-1);
  std::size_t most = 0;
  std::size_t all = 0;  // from then on
};
// What was taken in any ten seconds from then on.
Windows windows_since(const World& world, Time begin) {
  Windows windows;
  const auto& taken = world.taken;
  auto first = std::ranges::lower_bound(taken, begin);
  windows.all = static_cast<std::size_t>(taken.end() - first);
  for (auto end = first; first != taken.end() && *first + 10s <= world.now(); ++first) {
    while (end != taken.end() && *end < *first + 10s) ++end;
    const auto count = static_cast<std::size_t>(end - first);
    windows.least = std::min(windows.least, count);
    windows.most = std::max(windows.most, count);
  }
  return windows;
}

struct Four {
  explicit Four(double burst, std::array<double, 4> asks, Duration period = 50ms)
      : world({.period = period, .rate = rate, .burst = burst}, run().seed) {
    for (const double ask : asks) world.add(0.001).asks = ask;
    world.run(6s);
  }
  Windows run_for(Duration time) {
    const Time begin = world.now();
    world.run(time);
    return windows_since(world, begin);
  }
  World world;
};

TEST_CASE(
    "of a rate the gateways together take all and no more, however the requests are divided") {
  INFO(replay(run().seed));
  for (const double burst : {200.0, 20.0, 1'000.0})
    for (const std::array<double, 4>& asks :
         {std::array{1'800.0, 60.0, 60.0, 80.0}, std::array{1'000.0, 100.0, 50.0, 50.0},
          std::array{300.0, 300.0, 300.0, 300.0}, std::array{1'500.0, 0.0, 0.0, 0.0},
          std::array{2'000.0, 2'000.0, 10.0, 2'000.0}}) {
      CAPTURE(burst);
      CAPTURE(asks[0]);
      Four four(burst, asks);
      const Windows seen = four.run_for(40s);
      MESSAGE("burst ", burst, ", asked ", asks[0], "/", asks[1], "/", asks[2], "/", asks[3], ": ",
              seen.least, " to ", seen.most, " in 10 s, ", seen.all, " in 40 s");
      CHECK(seen.most <= 10 * rate + kept_ready);
      CHECK(seen.all <= 40 * rate + kept_ready);
      // A bucket of five tokens runs over before it is told to give.
      CHECK(seen.least >= 10 * rate * (burst < 100 ? 0.95 : 0.98));
    }
}

TEST_CASE("requests that go from one gateway to another find the rate there") {
  INFO(replay(run().seed));
  Four four(200, {1'500, 30, 30, 30});
  const Time begin = four.world.now();
  for (std::size_t turn = 1; turn < 8; ++turn) {
    for (std::size_t i = 0; i < 4; ++i) four.world.gateways()[i]->asks = i == turn % 4 ? 1'500 : 30;
    four.world.run(10s);
  }
  const Windows seen = windows_since(four.world, begin);
  MESSAGE(seen.least, " to ", seen.most, " in 10 s");
  CHECK(seen.most <= 10 * rate * 1.01 + 200);
  // One that begins when nothing is ready there may end when all of it is.
  CHECK(seen.least >= 10 * rate * 0.97 - kept_ready);
  CHECK(static_cast<double>(seen.all) >= 70 * rate * 0.97);
}

TEST_CASE("where reports are far apart little of a rate is lost") {
  INFO(replay(run().seed));
  Four four(200, {1'500, 20, 20, 20}, 200ms);
  const Windows seen = four.run_for(40s);
  MESSAGE(seen.least, " to ", seen.most, " in 10 s");
  CHECK(seen.most <= 10 * rate + kept_ready);
  CHECK(seen.all <= 40 * rate + kept_ready);
  CHECK(seen.least >= 10 * rate * 0.9);
}

TEST_CASE("a client at one gateway has as much of a rate as each of many at another") {
  INFO(replay(run().seed));
  Four four(200, {3'000, 500, 0, 0});
  four.world.gateways()[0]->clients = 9;
  four.world.run(5s);
  const std::uint64_t many = four.world.gateways()[0]->taken;
  const std::uint64_t one = four.world.gateways()[1]->taken;
  four.world.run(20s);
  const auto of_many = static_cast<double>(four.world.gateways()[0]->taken - many) / 9;
  const auto of_one = static_cast<double>(four.world.gateways()[1]->taken - one);
  MESSAGE("each of nine ", of_many / 20, " a second, the other one ", of_one / 20);
  CHECK(of_one / of_many > 0.9);
  CHECK(of_one / of_many < 1.1);
}

TEST_CASE(
    "without the ledger each has its part of a rate, and all of it comes back with the ledger") {
  INFO(replay(run().seed));
  Four four(200, {1'500, 100, 100, 100});
  World& world = four.world;
  world.set_down(true);
  world.run(3s);
  std::uint64_t before = world.gateways()[0]->taken;
  world.run(10s);
  const auto alone = static_cast<double>(world.gateways()[0]->taken - before);
  CHECK(alone <= 2'500);  // 12 of 50 seats, and so of the rate: 240 a second
  CHECK(alone >= 2'300);
  world.set_down(false);
  world.run(1s);
  before = world.gateways()[0]->taken;
  world.run(10s);
  CHECK(world.gateways()[0]->taken - before >= 6'000);
}

TEST_CASE("while gateways' rates differ the least holds for all, until the last one has another") {
  INFO(replay(run().seed));
  for (const std::array<double, 2> rates : {std::array{1'000.0, 10.0}, std::array{100.0, 20.0}}) {
    CAPTURE(rates[0]);
    World world({.rate = rates[0], .burst = 20}, run().seed);
    for (int i = 0; i < 3; ++i) world.add(0.001).asks = 200;
    world.run(10s);
    // It is lowered at one, and hardly anything is asked of the others: it does not get what they
    // have of the higher one.
    const auto& gateways = world.gateways();
    gateways[2]->rate = rates[1];
    for (int i = 0; i < 2; ++i) gateways[static_cast<std::size_t>(i)]->asks = 0.1;
    const auto look = [&] {
      world.run(3s);
      const Time begin = world.now();
      world.run(30s);
      return windows_since(world, begin);
    };
    const Windows lowered = look();
    MESSAGE(rates[1], " a second at one, where they ask: ", lowered.least, " to ", lowered.most);
    CHECK(lowered.most <= 10 * rates[1] * 1.01 + 20 + rates[1] / 4);
    CHECK(lowered.least >= 10 * rates[1] * 0.9);
    // The others ask, too, and the engine is gone for a while.
    for (const auto& gateway : gateways) gateway->asks = 200;
    const Windows asked = look();
    MESSAGE("where all ask: ", asked.least, " to ", asked.most);
    CHECK(asked.most <= 10 * rates[1] * 1.01 + 20 + rates[1] / 4);
    world.set_down(true);
    const Windows away = look();
    world.set_down(false);
    MESSAGE("without the ledger: ", away.most);
    CHECK(away.most <= 10 * rates[1] * 1.01 + 20 + rates[1] / 4);
    // Another one goes round: the last one to have it makes it hold.
    const double more = rates[1] * 3;
    for (const auto& gateway : gateways) {
      const Windows before = look();
      CHECK(before.most <= 10 * rates[1] * 1.01 + 20 + rates[1] / 4);
      gateway->rate = more;
    }
    const Windows raised = look();
    MESSAGE(more, " a second at all: ", raised.least, " to ", raised.most);
    CHECK(raised.most <= 10 * more * 1.01 + 20 + more / 4);
    CHECK(raised.least >= 10 * more * 0.9);
  }
}

TEST_CASE("a ledger that grants too much makes no gateway let in more than the whole rate") {
  for (const double part : {0.25, 1.0}) {
    RateHolding holding({.period = 50ms, .lapse = 800ms});
    admission::TokenBucket bucket(100, 20);
    Time now = Time{} + 1h;
    bucket.resume(0, now);
    double taken = 0;
    for (int i = 0; i < 20 * 60; ++i) {
      const std::array uses{RateHolding::Use{
          .id = "", .rate = 100, .burst = 20, .tokens = bucket.tokens(), .asked = 1'000}};
      holding.report(uses, part, 1, now);
      const std::array shares{RateShare{.part = whole_rate, .granted = 50'000, .limit = 200'000}};
      for (const RateHolding::Loan& loan : holding.hear(shares, part, true, now))
        bucket.lend(loan.rate, 20 * part, loan.until, loan.whole * part, now);
      now += 50ms;
      bucket.wait_for(1, now);
      const double there = std::max(bucket.tokens(), 0.0);
      bucket.take(there);
      taken += there;
    }
    CHECK(taken <= 60 * 100 + 0.8 * 100 + 1);
    CHECK(taken >= 60 * 100 * 0.95);
  }
}

TEST_CASE("one that comes to others is no reason for more than the rate") {
  INFO(replay(run().seed));
  Four four(200, {1'500, 1'500, 1'500, 1'500});
  const Time begin = four.world.now();
  for (int i = 0; i < 4; ++i) {
    four.world.add(0.001).asks = 1'500;
    four.world.run(5s);
  }
  // Each brings what its bucket holds when it comes.
  CHECK(windows_since(four.world, begin).most <= 10 * rate * 1.01 + 2 * 200 / 5.0);
}

TEST_CASE("whatever happens, gateways together never take more than their rate and its burst") {
  std::uint64_t taken = 0;
  double most = 0;
  for (std::uint64_t round = 0; round < 10; ++round) {
    const std::uint64_t seed = run().seed + round;
    INFO(replay(seed));
    World world({.workers = 20, .work_most = 500ms, .rate = 200, .burst = 40}, seed);
    for (int i = 0; i < 4; ++i) world.add(i == 0 ? 20 : 5, i % 3 + 2).asks = i == 0 ? 400 : 60;
    Random& random = world.random();
    for (int step = 0; step < 60; ++step) {
      world.let_something_happen(World::Memory::is_known);
      if (random.chance(30))
        for (const auto& gateway : world.gateways())
          gateway->asks = static_cast<double>(random.below(500));
      world.run(std::chrono::milliseconds(random.below(4'000)));
    }
    // A process that begins brings what its bucket may hold, and a quarter of a lease may lie in
    // the ledger.
    auto last = world.taken.begin();
    for (auto first = world.taken.begin(); first != world.taken.end(); ++first) {
      while (last != world.taken.end() && *last < *first + 10s) ++last;
      const auto begun = std::ranges::count_if(
          world.starts, [&](Time start) { return start > *first - 3s && start < *first + 10s; });
      const double allowed = 200 * 10 * 1.01 + 200 * 0.25 + 40 * static_cast<double>(1 + begun);
      const auto count = static_cast<double>(last - first);
      most = std::max(most, count / allowed);
      REQUIRE(count <= allowed);
    }
    taken += world.taken.size();
  }
  MESSAGE(taken, " tokens, at most ", most * 100, " % of what is allowed in 10 s");
}

}  // namespace
}  // namespace classgate::sharing
