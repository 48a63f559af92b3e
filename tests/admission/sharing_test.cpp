// Seats that several gateways share: never one too many, whatever is lost, stopped, killed or set.

#include <doctest/doctest.h>

#include "tests/admission/sharing_world.h"

namespace classgate::sharing {
namespace {

using admission::replay;
using admission::run;

double use_in(World& world, Duration time, std::uint32_t workers) {
  world.seat_seconds = 0;
  world.run(time);
  return world.seat_seconds / std::chrono::duration<double>(time).count() / workers;
}

TEST_CASE("all seats are in use while there is enough to do, wherever it comes in") {
  INFO(replay(run().seed));
  World world({}, run().seed);
  World::Gateway& large = world.add(450);  // 250 a second is what 50 seats can do
  World::Gateway& small = world.add(50);
  world.run(3s);
  const std::uint64_t before = small.begun;
  const double use = use_in(world, 20s, 50);
  MESSAGE("in use: ", use * 100, " %, begun ", large.begun, " and ", small.begun);
  CHECK(use >= 0.95);
  // It asks for less than half, and is served as if all came to one gateway.
  CHECK(small.begun - before >= 850);
  CHECK(world.most_at_work <= 50);
}

TEST_CASE("who has more to do than its part has what the others leave, and they have theirs back") {
  INFO(replay(run().seed));
  World world({}, run().seed);
  World::Gateway& busy = world.add(2'000);
  world.add(0.001);
  world.run(4s);
  CHECK(busy.holding->seats(world.now()) >= 49);
  World::Gateway& other = world.add(2'000);
  world.run(1500ms);  // until what had begun is over, and reports have gone both ways
  CHECK(std::abs(static_cast<int>(busy.holding->seats(world.now())) - 25) <= 2);
  CHECK(std::abs(static_cast<int>(other.holding->seats(world.now())) - 25) <= 2);
  CHECK(world.most_at_work <= 50);
}

TEST_CASE("a better priority at one gateway goes before a worse one at another") {
  INFO(replay(run().seed));
  World world({}, run().seed);
  World::Gateway& batches = world.add(2'000, 4);
  World::Gateway& single = world.add(100, 3);  // 20 seats
  world.run(3s);
  const std::uint64_t before = single.begun;
  const Duration waited = single.waited;
  world.run(20s);
  const auto begun = static_cast<Duration::rep>(single.begun - before);
  CHECK(begun >= 1'800);
  CHECK((single.waited - waited) / begun < 100ms);
  CHECK(batches.begun > 0);
  CHECK(world.most_at_work <= 50);
}

TEST_CASE("without the ledger each goes on with its floor, and when it is back all heals") {
  INFO(replay(run().seed));
  World world({.work_most = 1s}, run().seed);
  for (int i = 0; i < 3; ++i) world.add(i == 0 ? 2'000 : 60);
  world.run(3s);
  world.set_down(true);
  world.run(10s);
  for (const auto& gateway : world.gateways()) CHECK(gateway->holding->seats(world.now()) == 16);
  CHECK(use_in(world, 5s, 50) > 0.7);  // 16 of the first one's, and what the others ask for
  world.set_down(false);
  world.run(2s);
  CHECK(world.gateways()[0]->holding->seats(world.now()) > 16);
  CHECK(world.most_at_work <= 50);
}

// Both have more to do than there are seats.
struct TwoBusy {
  TwoBusy() { world.run(3s); }
  std::uint32_t seats(const World::Gateway& gateway) const {
    return gateway.holding->seats(world.now());
  }
  World world{{.work_most = 1s}, run().seed};
  World::Gateway& first = world.add(2'000);
  World::Gateway& other = world.add(2'000);
};

TEST_CASE("what a killed gateway had is the others' when its requests are over for certain") {
  INFO(replay(run().seed));
  TwoBusy two;
  auto& [world, killed, other] = two;
  world.kill(killed);
  world.run(5s);
  // Its floor is kept, as long as it may have lost the ledger alone.
  CHECK(two.seats(other) == 25);
  world.run(11min);
  CHECK(two.seats(other) == 50);
  CHECK(world.most_at_work <= 50);
}

TEST_CASE("what a gateway had that begins anew is free when its requests are over for certain") {
  INFO(replay(run().seed));
  TwoBusy two;
  auto& [world, killed, other] = two;
  world.kill(killed);
  world.bury(killed.name);
  world.start(killed);
  world.run(1500ms);
  CHECK(two.seats(other) >= 25);
  world.run(5s);
  CHECK(two.seats(killed) + two.seats(other) >= 48);
  CHECK(world.most_at_work <= 50);
}

TEST_CASE(
    "what one that has died began after the last report of all is kept until it is over, too") {
  Ledger ledger{Terms{}};
  Share one;
  Share two;
  auto settle = [&ledger, number = std::uint64_t{0}](const std::string& name, Share& had,
                                                     LedgerTime told) mutable {
    Report report{.member = name,
                  .number = ++number,
                  .heard = number - 1,
                  .ledger = had.ledger,
                  .cap = had.seats,
                  .floor = had.floor,
                  .floors = had.floors,
                  .members = had.members,
                  .workers = 50,
                  .request_timeout = 2s,
                  .demand = {}};
    report.demand.wanted[2] = 50;
    report.demand.weight[2] = 1;
    had = ledger.settle(report, "server", told);
  };
  LedgerTime now = 1h;
  for (int i = 0; i < 100; ++i) {
    now += 50ms;
    settle("one", one, now);
    settle("two", two, now);
  }
  REQUIRE(one.seats == 25);
  // It began something 40 ms later, and has died.
  const LedgerTime last = now;
  ledger.bury("one");
  while (now < last + 2s) settle("two", two, now += 50ms);
  settle("two", two, last + 2030ms);
  CHECK(two.seats == 25);
  settle("two", two, last + 2060ms);
  CHECK(two.seats == 50);
}

TEST_CASE("who is cut off for longer than the others leave it its part begins nothing any more") {
  INFO(replay(run().seed));
  TwoBusy two;
  auto& [world, cut_off, other] = two;
  cut_off.is_cut_off = true;
  world.run(5min);
  CHECK(two.seats(cut_off) == 25);
  world.run(6min);
  CHECK(two.seats(cut_off) == 0);
  CHECK(two.seats(other) == 50);
  cut_off.is_cut_off = false;
  world.run(8s);
  CHECK(two.seats(cut_off) + two.seats(other) >= 48);
  CHECK(world.most_at_work <= 50);
}

TEST_CASE("closed begins nothing without the ledger, open as much as its conf says") {
  for (const WhenAway when : {WhenAway::closed, WhenAway::open}) {
    World world({.when_away = when}, run().seed);
    World::Gateway& gateway = world.add(100);
    world.run(2s);
    world.set_down(true);
    world.run(2s);
    CHECK(gateway.holding->seats(world.now()) == (when == WhenAway::open ? 50 : 0));
  }
}

// One report after the other, as they come in.
struct Reporter {
  Share operator()(const char* name, std::uint32_t workers, LedgerTime passed = 10ms) {
    Report report;
    report.member = name;
    report.number = ++numbers[name];
    report.ledger = known[name].ledger;
    report.cap = std::min(known[name].seats, known[name].target);
    report.floor = known[name].floor;
    report.floors = known[name].floors;
    report.members = known[name].members;
    report.workers = workers;
    report.request_timeout = 1s;
    report.demand = {.wanted = {0, 0, 100, 0, 0}, .weight = {0, 0, 1, 0, 0}};
    now += passed;
    return known[name] = ledger.settle(report, server, now);
  }
  Ledger ledger{Terms{}};
  std::string server = "a server";
  LedgerTime now = 1h;
  std::map<std::string, std::uint64_t> numbers;
  std::map<std::string, Share> known;
};

TEST_CASE("limits that go round one by one are the least that any gateway has") {
  Reporter report;
  for (int i = 0; i < 300; ++i) report("one", 50), report("two", 50);
  CHECK(report("one", 50).seats == 25);
  report("two", 30);
  CHECK(report("one", 50).target == 5);  // the other one still holds what it had
  report("two", 30);
  report("one", 50);
  CHECK(report("two", 30).seats == 15);
  CHECK(report("one", 50).seats == 15);
  for (int i = 0; i < 3; ++i) report("two", 50), report("one", 50);
  CHECK(report("one", 50).seats == 25);
}

TEST_CASE("a report that a newer one has overtaken is not heard") {
  Reporter report;
  report("one", 50);
  report("one", 50);
  report.numbers["one"] = 1;
  const Share late = report("one", 50);
  CHECK_FALSE(late.is_heard);
  CHECK(late.told == report.now);
}

TEST_CASE("a ledger that may have forgotten something grants nothing until all have reported") {
  Reporter report;
  for (int i = 0; i < 300; ++i) report("one", 50), report("two", 50);
  REQUIRE(report("two", 50).seats == 25);
  SUBCASE("another server has taken over") { report.server = "another"; }
  SUBCASE("it has lost everything") { report.ledger = Ledger(Terms{}); }
  report.known["one"].seats = report.known["one"].target = 5;  // it had given some back before
  for (int i = 0; i < 90; ++i) CHECK(report("two", 50).seats == 25);
  CHECK(report.ledger.is_recovering());
  for (int i = 0; i < 60; ++i) report("one", 50), report("two", 50);
  CHECK_FALSE(report.ledger.is_recovering());
  CHECK(report("one", 50).seats == 25);
}

TEST_CASE("who comes to a ledger that has lost everything is none of those that it waits for") {
  Reporter report;
  for (int i = 0; i < 300; ++i) report("one", 12), report("two", 12);
  REQUIRE(report("one", 12).seats + report("two", 12).seats == 12);
  report.ledger = Ledger(Terms{});
  // The other one was killed, and what it had may still be in flight; one that is new stands for
  // nobody, whichever of them speaks first.
  SUBCASE("it speaks first") { report("new", 12); }
  SUBCASE("it speaks last") {}
  for (int i = 0; i < 120; ++i) {
    CHECK(report("one", 12).seats <= 6);
    CHECK(report("new", 12).seats == 0);
  }
  // Of what was in flight nothing is any more, but it may go on with its floor.
  for (int i = 0; i < 300; ++i) report("one", 12), report("new", 12);
  CHECK(report("one", 12).seats + report("new", 12).seats == 6);
}

TEST_CASE("one that is new costs nobody its part when the ledger has lost everything") {
  Reporter report;
  for (int i = 0; i < 300; ++i) report("one", 12);
  REQUIRE(report("one", 12).seats == 12);
  report.ledger = Ledger(Terms{});
  SUBCASE("it speaks first") { report("new", 12); }
  SUBCASE("it speaks last") { report("one", 12); }
  for (int i = 0; i < 300; ++i) report("new", 12), report("one", 12);
  CHECK(report("one", 12).seats + report("new", 12).seats == 12);
  CHECK(report("new", 12).seats == 6);
  // And nobody remembers more than there is.
  report.ledger = Ledger(Terms{});
  for (int i = 0; i < 300; ++i) report("new", 12), report("one", 12);
  CHECK(report("one", 12).seats + report("new", 12).seats == 12);
}

TEST_CASE("a new ledger waits for those that have to find it first") {
  Reporter report;
  for (int i = 0; i < 300; ++i) report("one", 12);
  report.ledger = Ledger(Terms{});
  report.server = "the other of two";
  const LedgerTime begun = report.now;
  while (report.now < begun + 1900ms) REQUIRE(report("new", 12).seats == 0);
  for (int i = 0; i < 10; ++i) REQUIRE(report("one", 12).seats + report("new", 12).seats <= 12);
  for (int i = 0; i < 300; ++i) report("one", 12), report("new", 12);
  CHECK(report("one", 12).seats + report("new", 12).seats == 12);
}

TEST_CASE("where reports are far apart all comes about as well, if later") {
  Reporter report;
  for (int i = 0; i < 100; ++i) report("one", 12, 140ms);
  CHECK(report("one", 12).seats == 12);
  for (int i = 0; i < 100; ++i) report("one", 12, 200ms), report("two", 12, 200ms);
  CHECK(report("one", 12).seats == 6);
  CHECK(report("two", 12).seats == 6);
}

TEST_CASE("whatever happens, there is never one seat too many") {
  std::uint64_t served = 0;
  std::uint32_t most = 0;
  for (std::uint64_t round = 0; round < 40; ++round) {
    const std::uint64_t seed = run().seed + round;
    INFO(replay(seed));
    World world({.workers = 20, .work_most = round % 3 == 0 ? 500ms : 2s}, seed);
    for (int i = 0; i < 4; ++i) world.add(i == 0 ? 150 : 20, i % 3 + 2);
    Random& random = world.random();
    for (int step = 0; step < 60; ++step) {
      world.let_something_happen(World::Memory::is_known);
      world.run(std::chrono::milliseconds(random.below(4'000)));
      REQUIRE(world.most_at_work <= 20);
    }
    served += world.served;
    most = std::max(most, world.most_at_work);
  }
  MESSAGE(served, " requests, at most ", most, " of 20 at once");
}

}  // namespace
}  // namespace classgate::sharing
