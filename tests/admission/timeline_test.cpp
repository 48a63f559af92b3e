#include "admission/measure/timeline.h"

#include "admission/measure/spread.h"
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

TEST_CASE("percentiles are within two in a hundred") {
  Spread spread;
  for (int i = 1; i <= 10'000; ++i) spread.record(std::chrono::microseconds(i * 37));
  for (const double share : {0.5, 0.95, 0.99}) {
    const double us = std::chrono::duration<double, std::micro>(spread.percentile(share)).count();
    CHECK(us == doctest::Approx(share * 370'000).epsilon(0.02));
  }
  CHECK(spread.mean() == std::chrono::nanoseconds(185'018'500));
  CHECK(spread.most() == 370ms);
}

}  // namespace
}  // namespace classgate::measure
