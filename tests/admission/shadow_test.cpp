#include "admission/shadow.h"

#include <algorithm>

#include "admission/gate.h"
#include "tests/admission/kit.h"
#include "tests/admission/run.h"

namespace classgate::admission {
namespace {

std::size_t at(conf::Reason reason) { return conf::index_of(reason); }

TEST_CASE("the shadow counts whom it would refuse, and for what") {
  auto settings = small_settings();
  settings.queue_size = 0;
  Shadow shadow(settings);
  shadow.compare(request(3), std::nullopt, 100ms, start);
  shadow.compare(request(3), std::nullopt, 100ms, start + 99ms);
  shadow.compare(request(3), std::nullopt, 100ms, start + 100ms);  // the first has ended
  const ShadowCounts counts = shadow.counts();
  CHECK(counts.alike == 2);
  CHECK(counts.would_refuse[at(conf::Reason::queue_full)] == 1);
  CHECK(sum(counts.would_accept) == 0);
}

TEST_CASE("the shadow counts whom it would let in although the policy in force refuses") {
  Shadow shadow(small_settings());
  shadow.compare(request(3), conf::Reason::rate_limited, 100ms, start);
  shadow.compare(request(3), conf::Reason::queue_full, 100ms, start);
  CHECK(shadow.counts().would_accept[at(conf::Reason::rate_limited)] == 1);
  CHECK(shadow.counts().waiting == 1);
  CHECK(sum(shadow.counts().would_accept) == 1);  // the second is not decided yet
  shadow.compare(request(3), std::nullopt, 100ms, start + 100ms);
  CHECK(shadow.counts().would_accept[at(conf::Reason::queue_full)] == 1);
}

TEST_CASE("two that refuse agree, whatever their reasons") {
  auto settings = small_settings();
  settings.rate = 1;
  settings.burst = 1;
  Shadow shadow(settings);
  shadow.compare(request(3), std::nullopt, 0ms, start);
  shadow.compare(request(3), conf::Reason::queue_full, 0ms, start);
  CHECK(shadow.counts().alike == 2);
}

TEST_CASE("a shadow goes on over reloads until its conf says something else") {
  auto settings = small_settings();
  settings.workers = 3;
  auto stricter = settings;
  stricter.rate = 1;
  stricter.burst = 1;
  const auto shadow_of = [](const conf::AdmissionSettings& of) {
    return std::make_shared<const conf::AdmissionSettings>(of);
  };
  settings.shadow = shadow_of(stricter);
  Gate gate(settings);
  const auto enter = [&] { CHECK(std::holds_alternative<Permit>(gate.enter(request(3), start))); };
  enter();
  enter();
  CHECK(gate.snapshot(start).shadow.alike == 1);
  settings.queue_size = 7;
  settings.shadow = shadow_of(stricter);  // read anew
  gate.reconfigure(settings, Ids(settings), start);
  CHECK(gate.snapshot(start).shadow.alike == 1);
  enter();
  CHECK(gate.snapshot(start).shadow.would_refuse[at(conf::Reason::rate_limited)] == 2);
  stricter.burst = 2;
  settings.shadow = shadow_of(stricter);
  gate.reconfigure(settings, Ids(settings), start);
  CHECK(gate.snapshot(start).shadow.alike == 0);
  CHECK(sum(gate.snapshot(start).shadow.would_refuse) == 0);
}

TEST_CASE("a Gate with a shadow obeys its own conf and tells the differences") {
  auto settings = small_settings();
  auto stricter = settings;
  stricter.rate = 1;
  stricter.burst = 1;
  settings.workers = 3;
  CHECK_FALSE(Gate(settings).snapshot(start).shadow.is_on);
  settings.shadow = std::make_shared<const conf::AdmissionSettings>(stricter);
  Gate gate(settings);
  for (int i = 0; i < 3; ++i) {
    auto answer = gate.enter(request(3), start);
    CHECK(std::holds_alternative<Permit>(answer));
  }
  CHECK(gate.snapshot(start).shadow.would_refuse[at(conf::Reason::rate_limited)] == 2);
  settings.shadow = nullptr;
  gate.reconfigure(settings, Ids(settings), start);
  CHECK_FALSE(gate.snapshot(start).shadow.is_on);
}

TEST_CASE("what a body has made dearer is charged once in the shadow too") {
  auto settings = small_settings();
  settings.workers = 10;
  auto same = settings;
  same.rate = 0.001;
  same.burst = 100;
  settings.shadow = std::make_shared<const conf::AdmissionSettings>(same);
  Gate gate(settings);
  // One on its head, 59 more when it is here, 30 more as it streams on.
  Arrival batch = request(3);
  CHECK_FALSE(gate.screen(batch, start));
  batch.cost = 60;
  batch.cost_found = 59;
  const Gate::Answer first = gate.arrive(batch, start);
  batch.cost = 90;
  batch.cost_found = 30;
  gate.settle(batch, start);
  Arrival ten = request(3);
  ten.cost = 10;
  const Gate::Answer second = gate.enter(ten, start);
  CHECK(sum(gate.snapshot(start).shadow.would_refuse) == 0);
  const Gate::Answer third = gate.enter(request(3), start);
  CHECK(gate.snapshot(start).shadow.would_refuse[at(conf::Reason::rate_limited)] == 1);
}

TEST_CASE("random traffic: the shadow of the same conf, with work as it is, decides alike") {
  INFO(replay(run().seed));
  Random random(run().seed);
  auto settings = small_settings();
  settings.workers = 5;
  settings.queue_size = 10;
  settings.rate = 100;
  settings.burst = 20;
  Shadow shadow(settings);
  Shadow twin(settings);
  Time now = start;
  std::uint64_t compared = 0;
  for (; compared < 20'000; ++compared) {
    now += std::chrono::microseconds(random.below(20'000));
    Arrival arrival = request(static_cast<int>(random.between(1, 5)), now);
    const std::uint64_t before = sum(twin.counts().would_refuse);
    twin.compare(arrival, std::nullopt, 50ms, now);
    shadow.compare(arrival, std::nullopt, 50ms, now);
    CHECK(sum(shadow.counts().would_refuse) - before <= 2);
  }
  const ShadowCounts counts = shadow.counts();
  CHECK(counts.alike == twin.counts().alike);
  CHECK(counts.alike + sum(counts.would_refuse) + counts.waiting == compared);
  CHECK(sum(counts.would_refuse) > 100);
}

}  // namespace
}  // namespace classgate::admission
