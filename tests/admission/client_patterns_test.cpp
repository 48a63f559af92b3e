#include "admission/client_patterns.h"

#include <cmath>
#include <functional>
#include <map>
#include <numbers>
#include <set>

#include "admission/explain.h"
#include "tests/admission/kit.h"
#include "tests/admission/run.h"

namespace classgate::admission {
namespace {

using Ground = ClientPatterns::Look::Ground;

conf::PatternSettings pattern_settings() {
  conf::PatternSettings settings;
  settings.is_on = true;
  return settings;
}

const conf::PlanSettings everybody;

// A rule that is told of whole minutes: what each client wants, if nobody is short.
struct Bench {
  explicit Bench(const conf::PatternSettings& settings = pattern_settings()) {
    patterns.use(settings);
  }
  // The client is served so many a second for so long.
  void serve(std::uint64_t id, double rate, Duration time) {
    for (const Time end = now + time; now < end; now += 1min) serve_minute(id, rate);
  }
  void serve_minute(std::uint64_t id, double rate) {
    patterns.wait_for(id, everybody, 1, now);
    patterns.take(id, 60 * rate);
    patterns.note_served(id, everybody, 60 * rate, now);
  }
  ClientPatterns::Look look(std::uint64_t id) const { return patterns.look(id, everybody, now); }

  ClientPatterns patterns;
  Time now = start;
};

TEST_CASE("in its first day the rule allows everything, and learns it") {
  Bench bench;
  bench.serve(1, 50, 23h);
  CHECK(bench.look(1).ground == Ground::learning);
  CHECK(bench.patterns.wait_for(1, everybody, 1000, bench.now) == Duration::zero());
  CHECK(bench.patterns.counts(bench.now).is_learning);
  bench.serve(1, 50, 3h);
  CHECK(bench.look(1).ground == Ground::usual);
  CHECK(bench.look(1).usual == doctest::Approx(50).epsilon(0.01));
  CHECK(bench.look(1).rate == doctest::Approx(75).epsilon(0.01));
  CHECK_FALSE(bench.patterns.counts(bench.now).is_learning);
}

TEST_CASE("who asks for more than is usual waits until its bucket has it, and then is allowed it") {
  Bench bench;
  bench.serve(1, 10, 48h);
  bench.serve(1, 1000, 10min);  // nothing is left
  const Duration wait = bench.patterns.wait_for(1, everybody, 1000, bench.now);
  CHECK(wait > 6s);  // it gains 15 a second, and has had a minute
  CHECK(wait < 8s);
  CHECK(bench.look(1).wait_for(1000) == wait);
  CHECK(bench.patterns.wait_for(1, everybody, 1000, bench.now + wait) == Duration::zero());
}

TEST_CASE(
    "a newcomer is allowed what the conf or its plan gives one, and grows by what it is served") {
  Bench bench;
  bench.serve(9, 1, 30h);  // somebody else, so that the rule knows something
  CHECK(bench.look(1).ground == Ground::newcomer);
  CHECK(bench.look(1).rate == 1);
  conf::PlanSettings gold;
  gold.rate = 25;
  CHECK(bench.patterns.look(1, gold, bench.now).rate == 25);
  double last = bench.look(1).rate;
  for (int day = 0; day < 10; ++day) {
    for (int minute = 0; minute < 24 * 60; ++minute, bench.now += 1min) {
      bench.serve_minute(1, 100);
      bench.serve_minute(9, 1);
    }
    CAPTURE(day);
    CHECK(bench.look(1).rate > last);
    CHECK(bench.look(1).rate <= 1.5 * std::pow(1.25, day + 1) * 1.01);
    last = bench.look(1).rate;
  }
}

TEST_CASE(
    "a flood teaches no more than the growth of a day, however large it is, up to the ceiling") {
  conf::PatternSettings settings = pattern_settings();
  settings.ceiling = 100;
  Bench bench(settings);
  bench.serve(1, 10, 8 * 24h);
  double usual = bench.look(1).usual;
  CHECK(usual == doctest::Approx(10).epsilon(0.01));
  for (int day = 0; day < 30; ++day) {
    bench.serve(1, 100'000, 24h);
    CAPTURE(day);
    // Twice in a day and an hour: the last hour of one day is beside the first of the next.
    CHECK(bench.look(1).usual <= usual * settings.growth * settings.growth * 1.01);
    usual = bench.look(1).usual;
    CHECK(usual <= 10 * std::pow(settings.growth, (day + 1) * 24.0 / 23 + 1) * 1.01);
    CHECK(bench.look(1).rate <= 100);
  }
  CHECK(bench.look(1).rate == 100);
}

TEST_CASE("who floods slowly gains the growth of each day and no more") {
  Bench bench;
  bench.serve(1, 1, 8 * 24h);
  double wish = 1;
  for (int day = 0; day < 14; ++day, wish *= 2) bench.serve(1, wish, 24h);
  CHECK(bench.look(1).usual <= std::pow(1.25, 15) * 1.01);
}

TEST_CASE("what is refused teaches nothing") {
  Bench bench;
  bench.serve(1, 10, 8 * 24h);
  for (int minute = 0; minute < 48 * 60; ++minute, bench.now += 1min)
    for (int i = 0; i < 100; ++i) bench.patterns.wait_for(1, everybody, 100, bench.now);
  CHECK(bench.look(1).usual <= 10.1);
  CHECK(bench.patterns.look(1, everybody, bench.now).rate <= 15.2);
}

TEST_CASE("at unusual hours a client has what it has on the mean of its week, or the floor") {
  Bench bench;
  for (int hour = 0; hour < 8 * 24; ++hour)
    hour % 24 < 2 ? bench.serve(1, 12, 1h) : bench.serve(2, 0.1, 1h);
  bench.now += 6h;
  CHECK(bench.look(1).rate == doctest::Approx(1.5).epsilon(0.05));  // 12 / 12, times 1.5
  CHECK(bench.look(2).rate == doctest::Approx(0.2).epsilon(0.05));
}

TEST_CASE(
    "a clock that jumps back changes nothing; one that jumps on finds nobody, and learns anew") {
  Bench bench;
  bench.serve(1, 10, 8 * 24h);
  const ClientPatterns::Look before = bench.look(1);
  for (const Duration back : {1h, 24h, 7 * 24h})
    CHECK(bench.patterns.wait_for(1, everybody, 1, bench.now - back) == Duration::zero());
  CHECK(bench.look(1).rate == before.rate);
  CHECK(bench.look(1).usual == before.usual);
  bench.now += 3 * 24h;
  CHECK(bench.look(1).ground == Ground::learning);
  bench.serve(1, 10, 1h);
  CHECK(bench.patterns.counts(bench.now).is_learning);
  bench.now += 20 * 365 * 24h;
  bench.serve(1, 10, 26h);
  CHECK(bench.look(1).rate == doctest::Approx(15).epsilon(0.01));
}

TEST_CASE("a flood of identities takes its own places, and not those whose days are known") {
  conf::PatternSettings settings = pattern_settings();
  settings.clients_max = 100;
  Bench bench(settings);
  constexpr std::uint64_t known = 50;
  for (int hour = 0; hour < 30; ++hour, bench.now += 1h)
    for (std::uint64_t id = 1; id <= known; ++id) bench.serve_minute(id, 10);
  for (std::uint64_t id = 1000; id < 50'000; ++id) {
    bench.patterns.wait_for(id, everybody, 1, bench.now);
    bench.patterns.note_served(id, everybody, 1, bench.now);
  }
  CHECK(bench.patterns.counts(bench.now).clients == 100);
  for (std::uint64_t id = 1; id <= known; ++id) CHECK(bench.look(id).ground == Ground::usual);
}

TEST_CASE("for whom there is no place shares one, and is allowed what one newcomer is") {
  conf::PatternSettings settings = pattern_settings();
  settings.clients_max = 100;
  Bench bench(settings);
  for (int hour = 0; hour < 30; ++hour, bench.now += 1h)
    for (std::uint64_t id = 1; id <= 100; ++id) bench.serve_minute(id, 10);
  for (std::uint64_t id = 200; id < 220; ++id) {
    CHECK(bench.patterns.wait_for(id, everybody, 1, bench.now) == Duration::zero());
    bench.patterns.take(id, 1);
  }
  CHECK(bench.patterns.wait_for(300, everybody, 1, bench.now) > Duration::zero());
  CHECK(bench.patterns.counts(bench.now).not_remembered == 21);
}

TEST_CASE("a reload keeps what is known, and off forgets it") {
  conf::PatternSettings settings = pattern_settings();
  Bench bench(settings);
  bench.serve(1, 10, 3 * 24h);
  settings.headroom = 2;
  settings.clients_max *= 2;
  bench.patterns.use(settings);
  bench.serve(1, 10, 1min);
  CHECK(bench.look(1).rate == doctest::Approx(20).epsilon(0.01));
  settings.is_on = false;
  bench.patterns.use(settings);
  CHECK(bench.patterns.counts(bench.now).places == 0);
  settings.is_on = true;
  bench.patterns.use(settings);
  CHECK(bench.look(1).ground == Ground::learning);
}

// ---- In the Controller --------------------------------------------------------------------------

conf::AdmissionSettings short_settings() {
  conf::AdmissionSettings settings;
  settings.workers = 2;
  settings.queue_size = 100;
  settings.rate = 0;
  settings.fairness.is_on = true;
  settings.fairness.pattern = pattern_settings();
  return settings;
}

// One request an hour from each client for two days, each done at once; then nobody is allowed more
// than the floor, which they are told in tokens of everybody's burst, 20.
Time learn_two_days(Controller& controller, std::initializer_list<std::uint64_t> clients) {
  Time now = start;
  for (int hour = 0; hour < 48; ++hour, now += 1h)
    for (const std::uint64_t client : clients) {
      const Verdict verdict = enter(controller, {.at = now, .client = client}, now);
      controller.finish(Outcome::processed(), std::get<Admitted>(verdict).seat, now);
    }
  return now;
}
Arrival from(std::uint64_t client, Time now) { return {.at = now, .client = client}; }

TEST_CASE("what is beyond the pattern is refused only while the service is short") {
  Controller controller(short_settings());
  Time now = learn_two_days(controller, {1, 2});
  std::vector<Seat> seats;
  for (int i = 0; i < 100; ++i) {  // far beyond, and nobody waits
    const Verdict verdict = enter(controller, from(1, now), now);
    REQUIRE(said(verdict) == "admitted");
    controller.finish(Outcome::processed(), std::get<Admitted>(verdict).seat, now);
  }
  for (int i = 0; i < 4; ++i) enter(controller, from(1, now), now);
  CHECK(controller.waiting() == 2);
  CHECK(said(enter(controller, from(1, now), now)) == "waits");  // not for long yet
  now += 150ms;
  CHECK(controller.snapshot(now).is_short);
  const Verdict refused = enter(controller, from(1, now), now);
  REQUIRE(said(refused) == "client_pattern");
  CHECK(said(enter(controller, from(2, now), now)) == "waits");
  const Rejection& why = std::get<Rejection>(refused);
  CHECK(why.rate == doctest::Approx(0.2));
  CHECK(why.burst == doctest::Approx(60));
  CHECK(why.tokens < 1);
  // The time that it is told is when it is allowed again.
  CHECK(why.retry_after > 1s);
  CHECK(why.retry_after <= 5s);
  const Explanation said_before = controller.explain(from(1, now), now);
  CHECK(said(said_before.rejection) == "client_pattern");
  CHECK(said_before.rejection.retry_after == why.retry_after);
  REQUIRE(said_before.pattern.has_value());
  CHECK(said_before.pattern->ground == Ground::usual);
  CHECK(said_before.is_short);
  now += why.retry_after - 1ms;
  CHECK(said(enter(controller, from(1, now), now)) == "client_pattern");
  now += 1ms;
  CHECK(said(enter(controller, from(1, now), now)) == "waits");
}

TEST_CASE("a short spell lasts for half a minute after nobody waits any more") {
  Controller controller(short_settings());
  Time now = learn_two_days(controller, {1, 2});
  std::vector<Seat> seats;
  for (int i = 0; i < 62; ++i) {
    const Verdict verdict = enter(controller, from(1, now), now);
    if (const auto* admitted = std::get_if<Admitted>(&verdict)) seats.push_back(admitted->seat);
  }
  now += 150ms;
  CHECK(said(enter(controller, from(1, now), now)) == "client_pattern");
  while (!seats.empty()) {
    controller.finish(Outcome::processed(), seats.back(), now);
    seats.pop_back();
    while (const auto notice = controller.next(now))
      if (const auto* granted = std::get_if<Granted>(&notice->news)) seats.push_back(granted->seat);
  }
  CHECK(controller.waiting() == 0);
  CHECK(said(enter(controller, from(1, now + 1s), now + 1s)) == "client_pattern");
  CHECK(controller.explain(from(1, now + 29s), now + 29s).is_short);
  CHECK_FALSE(controller.explain(from(1, now + 31s), now + 31s).is_short);
  CHECK(said(enter(controller, from(1, now + 31s), now + 31s)) == "admitted");
}

TEST_CASE("a bucket for all that is nearly empty is a service that is short too") {
  conf::AdmissionSettings settings = short_settings();
  settings.workers = 1000;
  settings.rate = 1;
  settings.burst = 400;
  Controller controller(settings);
  const Time now = learn_two_days(controller, {1, 2});
  std::map<std::string, int> heard;
  for (int i = 0; i < 500; ++i) ++heard[said(enter(controller, from(1, now), now))];
  CHECK(heard["admitted"] <= 301);
  CHECK(heard["client_pattern"] > 0);
  CHECK(said(enter(controller, from(2, now), now)) == "admitted");
}

TEST_CASE("observed, it is counted and not refused") {
  conf::AdmissionSettings settings = short_settings();
  settings.observe.pattern = true;
  Controller controller(settings);
  Time now = learn_two_days(controller, {1, 2});
  for (int i = 0; i < 64; ++i) enter(controller, from(1, now), now);
  now += 150ms;
  Arrival arrival = from(1, now);
  CHECK_FALSE(controller.screen(arrival, now).has_value());
  CHECK(arrival.observed == conf::Reason::client_pattern);
  CHECK(controller.explain(from(1, now), now).observed == conf::Reason::client_pattern);
  const Snapshot books = controller.snapshot(now);
  CHECK(books.observed[conf::index_of(conf::Reason::client_pattern)] == 1);
  CHECK(sum(books.rejected) == 0);
}

TEST_CASE("what no rate applies to neither has a pattern nor teaches one") {
  Controller controller(short_settings());
  Time now = learn_two_days(controller, {1, 2});
  for (int i = 0; i < 64; ++i) enter(controller, from(1, now), now);
  now += 150ms;
  Arrival exempt = from(1, now);
  exempt.rate_limited = false;
  CHECK(said(enter(controller, exempt, now)) == "waits");
  CHECK_FALSE(controller.explain(exempt, now).pattern.has_value());
}

}  // namespace
}  // namespace classgate::admission
