#include "admission/usage_week.h"

#include "tests/admission/kit.h"

namespace classgate::admission {
namespace {

constexpr float no_limit = 1e9F;

// So many in each hour, from hour 0 on, as `used(hour)` says.
template <typename Used>
UsageWeek week_of(UsageWeek::Hour hours, Used used) {
  UsageWeek week;
  for (UsageWeek::Hour hour = 0; hour < hours; ++hour) {
    week.note(static_cast<float>(used(hour)));
    week.begin(hour + 1, no_limit);
  }
  return week;
}

TEST_CASE("of a client whose first day is not over nothing is known") {
  const auto always = [](UsageWeek::Hour) { return 100; };
  CHECK_FALSE(UsageWeek().usual().has_value());
  CHECK_FALSE(week_of(22, always).usual().has_value());
  CHECK(week_of(23, always).usual() == 100.0F);
}

TEST_CASE("what is usual at an hour is what was, then, on the days before") {
  const auto by_day = [](UsageWeek::Hour hour) { return hour % 24 == 10 ? 1000 : 40; };
  CHECK(week_of(7 * 24 + 10, by_day).usual() == doctest::Approx(1000).epsilon(0.004));
  CHECK(week_of(7 * 24 + 11, by_day).usual() == doctest::Approx(1000).epsilon(0.004));
  CHECK(week_of(7 * 24 + 9, by_day).usual() == doctest::Approx(1000).epsilon(0.004));
  CHECK(week_of(7 * 24 + 13, by_day).usual() < 90);  // the mean of the day
}

TEST_CASE("one hour that stands out is not usual, but in a week is") {
  const UsageWeek::Hour when = 5 * 24 + 10;
  const auto once = [](UsageWeek::Hour hour) { return hour == when ? 10'000 : 10; };
  CHECK(week_of(7 * 24 + 10, once).usual() < 100);
  CHECK(week_of(when + 7 * 24, once).usual() == doctest::Approx(10'000).epsilon(0.004));
  CHECK(week_of(when + 7 * 24 + 24, once).usual() < 100);
}

TEST_CASE("today teaches nothing about today") {
  const auto flood_today = [](UsageWeek::Hour hour) { return hour >= 7 * 24 ? 100'000 : 10; };
  for (UsageWeek::Hour hour = 7 * 24; hour < 7 * 24 + 22; ++hour) {
    CAPTURE(hour);
    CHECK(week_of(hour, flood_today).usual() == doctest::Approx(10).epsilon(0.01));
  }
}

TEST_CASE("an hour may teach no more than it is told") {
  UsageWeek week;
  for (UsageWeek::Hour hour = 0; hour < 48; ++hour) {
    week.note(1e6F);
    week.begin(hour + 1, 50);
  }
  CHECK(week.usual() == 50.0F);
}

TEST_CASE("hours in which it did not come had nothing, and after a week it is new") {
  UsageWeek week = week_of(3 * 24, [](UsageWeek::Hour) { return 100; });
  week.begin(3 * 24 + 90, no_limit);
  CHECK(week.hours_used() == 72);
  CHECK(week.usual().has_value());
  CHECK_FALSE(week.is_over(week.hour() + 168));
  CHECK(week.is_over(week.hour() + 169));
  week.begin(week.hour() + 200, no_limit);
  CHECK(week.hours_used() == 0);
  CHECK_FALSE(week.usual().has_value());
}

TEST_CASE("a clock that runs backwards changes nothing") {
  UsageWeek week = week_of(30, [](UsageWeek::Hour) { return 100; });
  week.note(7);
  week.begin(5, no_limit);
  week.begin(30, no_limit);
  CHECK(week.hour() == 30);
  CHECK(week.used() == 7);
  CHECK(week.usual() == 100.0F);
}

TEST_CASE("a pattern that moves by an hour, as with summer time, is as usual as before") {
  const auto moved = [](UsageWeek::Hour hour) {
    const UsageWeek::Hour at = hour < 10 * 24 ? hour : hour + 1;
    return at % 24 >= 8 && at % 24 < 18 ? 500 : 0;
  };
  for (UsageWeek::Hour hour = 8 * 24; hour < 13 * 24; ++hour) {
    CAPTURE(hour);
    if (moved(hour) > 0) CHECK(week_of(hour, moved).usual() == doctest::Approx(500).epsilon(0.004));
  }
}

}  // namespace
}  // namespace classgate::admission
