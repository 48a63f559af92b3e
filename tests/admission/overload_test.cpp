// What the adaptive discipline, reserved workers and automatic limits are worth, in virtual time:
// small versions of the scenarios of tests/bench/overload. Every figure follows from the seed.

#include "admission/worker_search.h"
#include "tests/admission/kit.h"
#include "tests/admission/run.h"
#include "tests/bench/overload/world.h"

namespace classgate::admission {
namespace {

using bench::Load;
using bench::Result;

conf::AdmissionSettings unlimited() {
  conf::AdmissionSettings settings;
  settings.rate = 0;
  return settings;
}

conf::AdmissionSettings automatic() {
  conf::AdmissionSettings settings = unlimited();
  settings.workers_are_auto = true;
  settings.workers = settings.autos.workers_max;
  return settings;
}

// An upstream that does `slots` at once, 50 ms each; the others wait inside of it.
Load slots(double slots, double rate, double length) {
  return {.classes = {{3, 1, 1h, 50ms, false}},
          .rate = [rate](double) { return rate; },
          .slowdown = [slots](double n, double) { return std::max(1.0, n / slots); },
          .length = length,
          .seed = run().seed};
}

double per_second(const Result& result, std::size_t from, std::size_t to) {
  double sum = 0;
  for (std::size_t i = from; i < to; ++i) sum += static_cast<double>(result.completions[i]);
  return sum / static_cast<double>(to - from);
}

double share(std::uint64_t part, std::uint64_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}

TEST_CASE("five times the load: everything that is done is useful, and nobody starves") {
  INFO(replay(run().seed));
  Load load = slots(50, 5000, 12);
  load.classes = {{1, 0.01, 200ms, 50ms}, {3, 0.79, 1s, 50ms}, {4, 0.20, 3s, 50ms}};
  load.warm_up = 2;
  for (const bool says_deadline : {true, false}) {
    for (bench::Class& each : load.classes) each.says_deadline = says_deadline;
    conf::AdmissionSettings settings = unlimited();
    settings.discipline = conf::Discipline::adaptive;
    settings.reserve.shares[3] = 0.1;
    const Result result = bench::run(load, settings);
    const auto& [health, classify, batch] =
        std::tie(result.classes[0], result.classes[1], result.classes[2]);
    CHECK(per_second(result, 2, 12) >= 990);
    CHECK(health.useful == health.offered);
    CHECK(bench::quantile(classify.times, 0.99) <= 300);
    CHECK(batch.busy_seconds >= 0.099 * 50 * 10);
    CHECK(health.late + classify.late + batch.late <= result.useful() / 200);
    CHECK(health.in_vain + classify.in_vain + batch.in_vain <= result.offered() / 100);
  }
}

TEST_CASE("a wall of long batches leaves the reserved workers to those who use them") {
  INFO(replay(run().seed));
  Load load = slots(50, 111, 120);
  load.classes = {
      {1, 1 / 111.0, 200ms, 50ms}, {3, 100 / 111.0, 1s, 50ms}, {4, 10 / 111.0, 1h, 30s, false}};
  load.warm_up = 10;
  conf::AdmissionSettings settings = unlimited();
  settings.request_timeout = settings.queue_timeout = 600s;
  settings.reserve.shares = {0.04, 0, 0.4, 0.1, 0};
  const Result result = bench::run(load, settings);
  CHECK(share(result.classes[0].useful, result.classes[0].offered) == 1);
  CHECK(share(result.classes[1].useful, result.classes[1].offered) >= 0.999);
  CHECK(bench::quantile(result.classes[1].times, 0.99) <= 100);
}

TEST_CASE("automatic workers find the best number of an upstream that collapses beyond it") {
  INFO(replay(run().seed));
  for (const std::uint32_t start_at : {2U, 16U, 50U, 100U}) {
    CAPTURE(start_at);
    Load load = slots(16, 600, 60);
    load.slowdown = [](double n, double) { return std::max(1.0, (n / 16) * (n / 16)); };
    const Result result = bench::run(load, automatic(), start_at);
    CHECK(per_second(result, 30, 60) >= 0.95 * 320);
  }
}

TEST_CASE("automatic workers follow a capacity that halves and comes back") {
  INFO(replay(run().seed));
  Load load = slots(50, 1500, 150);
  load.slowdown = [](double n, double at) {
    return std::max(1.0, n / (at >= 50 && at < 100 ? 25 : 50));
  };
  const Result result = bench::run(load, automatic());
  CHECK(per_second(result, 30, 50) >= 950);
  CHECK(per_second(result, 80, 100) >= 475);
  CHECK(per_second(result, 130, 150) >= 950);
  for (std::size_t i = 30; i < 50; ++i) {
    CHECK(result.limits[i] >= 42);
    CHECK(result.limits[i] <= 58);
    CHECK(result.limits[i + 50] >= 21);
    CHECK(result.limits[i + 50] <= 29);
  }
}

TEST_CASE("automatic workers try nothing while there is a worker to spare") {
  INFO(replay(run().seed));
  Load load = slots(50, 800, 120);
  load.is_random_work = true;
  const Result result = bench::run(load, automatic());
  CHECK(sum(result.books.rejected) == 0);
  for (const std::uint32_t limit : result.limits) CHECK(limit == 50);
}

// Ends of the given outcome, all workers busy, 100 ms each.
void pass(WorkerSearch& search, Time& now, int ends, bool has_succeeded) {
  for (int i = 0; i < ends; ++i) {
    now += 1ms;
    search.note_end({.has_succeeded = has_succeeded,
                     .since = now - 100ms,
                     .active = search.limit(),
                     .was_binding = true},
                    now);
  }
}

TEST_CASE("failures take workers away, down to the least and never under it") {
  WorkerSearch search({.least = 5, .most = 100});
  Time now = start;
  pass(search, now, 300, false);
  CHECK(search.limit() < 50);
  pass(search, now, 20'000, false);
  CHECK(search.limit() == 5);
}

TEST_CASE("the limit keeps between its bounds, also when they change") {
  WorkerSearch search({.least = 10, .most = 20});
  CHECK(search.limit() == 20);
  search.reconfigure({.least = 30, .most = 40});
  CHECK(search.limit() == 30);
  Time now = start;
  for (int i = 0; i < 50; ++i) {
    pass(search, now, 200, i % 3 != 0);
    CHECK(search.limit() >= 30);
    CHECK(search.limit() <= 40);
  }
}

TEST_CASE("a clock that jumps leaves the search within its bounds") {
  WorkerSearch search({.least = 2, .most = 100});
  Random random(run().seed);
  INFO(replay(run().seed));
  Time now = start;
  for (int i = 0; i < 20'000; ++i) {
    now += std::chrono::milliseconds(random.between(0, 20)) - 5ms;
    if (random.below(1000) == 0) now += std::chrono::hours(random.below(100));
    if (random.below(1000) == 0) now -= std::chrono::minutes(random.below(100));
    search.note_end({.has_succeeded = random.chance(95),
                     .since = now - std::chrono::milliseconds(random.below(200)),
                     .active = static_cast<std::uint32_t>(random.between(1, 120)),
                     .was_binding = random.chance(90)},
                    now);
    REQUIRE(search.limit() >= 2);
    REQUIRE(search.limit() <= 100);
  }
}

TEST_CASE("an automatic rate follows what is finished while some wait and rises when none do") {
  RateFollower follower({.floor = 10, .ceiling = 1000});
  CHECK(follower.rate() == 1000);
  Time now = start;
  const auto pass_a_second = [&](int finished, bool is_empty) {
    for (int i = 0; i < finished; ++i) follower.note_finish();
    follower.tick(is_empty, now += 500ms);
    follower.tick(is_empty, now += 500ms);
  };
  pass_a_second(0, false);  // began at an unknown time
  pass_a_second(200, false);
  CHECK(follower.rate() == doctest::Approx(190));
  pass_a_second(0, false);
  CHECK(follower.rate() == 10);
  for (int i = 0; i < 3; ++i) pass_a_second(100, true);
  CHECK(follower.rate() > 12);
  for (int i = 0; i < 100; ++i) pass_a_second(100, true);
  CHECK(follower.rate() == 1000);
}

}  // namespace
}  // namespace classgate::admission
