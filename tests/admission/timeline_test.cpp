#include "admission/measure/timeline.h"

#include "tests/admission/kit.h"

namespace classgate::measure {
namespace {

using namespace std::chrono_literals;

TEST_CASE(
    "a timeline of a day has no more steps than one of a minute may have, and loses nothing") {
  Timeline timeline;
  for (int second = 0; second < 86'400; ++second) ++timeline.at(Time{} + second * 1s).arrived[2];
  CHECK(timeline.steps().size() <= Timeline::steps_max);
  std::uint64_t sum = 0;
  for (const Timeline::Step& step : timeline.steps()) sum += step.arrived[2];
  CHECK(sum == 86'400);
  CHECK(timeline.steps()[0].arrived[2] ==
        static_cast<std::uint64_t>(timeline.step_length() / Duration(1s)));
}

TEST_CASE("what waits and works is counted in each step for as long as it did") {
  Timeline timeline;
  timeline.active_changed(2, Time{} + 500ms);
  timeline.active_changed(-1, Time{} + 2500ms);
  timeline.waiting_changed(4, 3, Time{} + 1s);
  timeline.settle(Time{} + 3s);
  const auto& steps = timeline.steps();
  CHECK(steps[0].active_seconds == doctest::Approx(1));
  CHECK(steps[1].active_seconds == doctest::Approx(2));
  CHECK(steps[2].active_seconds == doctest::Approx(1.5));
  CHECK(steps[1].waiting_seconds[3] == doctest::Approx(3));
  CHECK(steps[2].waiting_seconds[3] == doctest::Approx(3));
}

TEST_CASE("two steps become one with all that each has measured, exactly") {
  Timeline timeline;
  timeline.record_wait(3ms, Time{} + 500ms);
  timeline.record_wait(9ms, Time{} + 1500ms);
  timeline.at(Time{} + 480s);
  const Spread& waits = timeline.steps()[0].waits;
  CHECK(timeline.step_length() == Duration(2s));
  CHECK(waits.count() == 2);
  CHECK(waits.least() == 3ms);
  CHECK(waits.mean() == 6ms);
  CHECK(waits.most() == 9ms);
}

// Waits that hardly differ were told as a p95 below their mean, in two steps of three.
TEST_CASE("in no step is the p95 of even waits below their mean") {
  Timeline timeline;
  for (int i = 0; i < 30'000; ++i)
    timeline.record_wait(220ms + std::chrono::microseconds(i * 7919 % 900), Time{} + i * 10ms);
  CHECK(timeline.steps().size() == 300);
  for (const Timeline::Step& step : timeline.steps())
    REQUIRE(step.waits.percentile(0.95) >= step.waits.mean());
}

TEST_CASE("the last step reaches as far as something was measured") {
  Timeline timeline;
  timeline.active_changed(1, Time{});
  timeline.settle(Time{} + 2250ms);
  CHECK(timeline.covered(0) == Duration(1s));
  CHECK(timeline.covered(2) == Duration(250ms));
  CHECK(timeline.end() == Duration(2250ms));
}

}  // namespace
}  // namespace classgate::measure
