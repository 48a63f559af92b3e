#include "admission/history/forecast.h"

#include <array>
#include <chrono>
#include <cmath>
#include <ctime>

#include "tests/admission/forecast_shapes.h"
#include "tests/admission/kit.h"

namespace classgate::history {
namespace {

using namespace std::chrono_literals;
constexpr Slot monday = 1'767'571'200;  // 5 January 2026, 0:00 UTC

// Mean absolute errors over the second half, and the share that was at most p90.
struct Tried {
  double blend = 0;
  double as_now = 0;
  double as_yesterday = 0;
  double below_p90 = 0;
};

Tried try_on(const Load& load, std::chrono::seconds ahead) {
  Forecaster forecaster({.step = std::chrono::seconds(load.step_seconds), .horizons = {ahead}});
  const auto size = static_cast<Slot>(load.values.size());
  const Slot steps = forecaster.steps_of(0);
  Tried tried;
  int count = 0;
  for (Slot i = 0; i + steps < size; ++i) {
    const double value = load.values[static_cast<std::size_t>(i)];
    if (std::isnan(value)) continue;
    forecaster.add(monday / load.step_seconds + i, value);
    const double came = load.values[static_cast<std::size_t>(i + steps)];
    if (i + steps < size / 2 || std::isnan(came)) continue;
    const auto error = [came](double said) { return std::abs(came - said); };
    tried.blend += error(forecaster.at(0).p50);
    tried.as_now += error(forecaster.of_expert(0, Expert::as_now).p50);
    tried.as_yesterday += error(forecaster.of_expert(0, Expert::as_yesterday).p50);
    tried.below_p90 += came <= forecaster.at(0).p90 ? 1 : 0;
    ++count;
  }
  for (double* sum : {&tried.blend, &tried.as_now, &tried.as_yesterday, &tried.below_p90})
    *sum /= count;
  return tried;
}

TEST_CASE("no kind of load is forecast worse than as now or as yesterday, whichever is better") {
  for (const Load& load : loads()) {
    const Tried tried = try_on(load, 1h);
    CAPTURE(load.name);
    CHECK(tried.blend <= 1.03 * std::min(tried.as_now, tried.as_yesterday) + 1e-6);
  }
}

TEST_CASE("of ten values nine are at most what p90 says, whatever the load is like") {
  for (const Load& load : loads()) {
    const Tried tried = try_on(load, 1h);
    CAPTURE(load.name);
    CHECK(tried.below_p90 >= 0.86);
    if (tried.as_now > 0) CHECK(tried.below_p90 <= 0.94);
  }
}

TEST_CASE("a week's rhythm is forecast with half the error of as now and as yesterday") {
  const Tried tried = try_on(loads()[1], 1h);
  CHECK(tried.blend < 0.55 * std::min(tried.as_now, tried.as_yesterday));
}

// A week with a spike each hour ends with a storm, in which nobody can ask for last week; from the
// next day on all is quiet. "As last week" has not been wrong in the storm, and is wrong each hour.
TEST_CASE("who had nothing to say in a storm does not rule after it") {
  std::mt19937_64 bits(7);
  std::normal_distribution<> noise(250, 12);
  Load load{"spikes for a week, then a storm, then quiet", 300, {}};
  for (int i = 0; i < 14 * 288; ++i) {
    const double usual = noise(bits);
    const bool is_storm = i >= 1'700 && i < 1'709;
    load.values.push_back(is_storm ? 250 * usual : i < 1'814 && i % 12 == 3 ? 13 * usual : usual);
  }
  const Tried tried = try_on(load, 1h);
  CHECK(tried.blend <= 1.5 * std::min(tried.as_now, tried.as_yesterday));
}

TEST_CASE("until a day is there it says what is now") {
  Forecaster forecaster({.step = 10min, .horizons = {1h, 24h}});
  for (int i = 0; i < 143; ++i) {
    const double value = 100 + 50 * std::sin(i / 10.0);
    forecaster.add(i, value);
    CHECK(forecaster.is_cold());
    for (const std::size_t horizon : {0U, 1U}) {
      CHECK(forecaster.at(horizon).p50 == doctest::Approx(value));
      CHECK(forecaster.at(horizon).p90 >= forecaster.at(horizon).p50);
      CHECK(forecaster.at(horizon).p99 >= forecaster.at(horizon).p90);
    }
  }
}

TEST_CASE("on a launch day it is near to what is now within two hours") {
  Forecaster forecaster({.step = 10min, .horizons = {15min}});
  Slot slot = 0;
  for (; slot < 5 * 144; ++slot) forecaster.add(slot, 2);
  for (int i = 0; i < 12; ++i) forecaster.add(slot++, 400);
  CHECK(forecaster.at(0).p50 > 300);
}

TEST_CASE("yesterday at nine is nine o'clock also where the clock was put forward in between") {
  const auto zone = conf::TimeZone::load("Europe/Berlin");
  REQUIRE(zone.has_value());
  Forecaster forecaster({.step = 10min, .horizons = {1h}, .zone = *zone});
  // From 23 March 2026; on the 29th the clock goes from two to three.
  const std::chrono::sys_seconds begin = std::chrono::sys_days(std::chrono::March / 23 / 2026);
  const std::chrono::sys_seconds end = std::chrono::sys_days(std::chrono::March / 29 / 2026) + 8h;
  // On from nine to five, by the clock there.
  const auto load = [&](std::chrono::sys_seconds time) {
    const auto clock = (time.time_since_epoch() + (*zone)->offset_at(time)) % std::chrono::days(1);
    return clock >= 9h && clock < 17h ? 100.0 : 10.0;
  };
  for (auto time = begin; time < end; time += 10min) {
    forecaster.add(time.time_since_epoch() / 10min, load(time));
    CAPTURE(time.time_since_epoch().count());
    if (time >= begin + 48h)
      CHECK(forecaster.of_expert(0, Expert::as_yesterday).p50 == load(time + 1h));
  }
}

TEST_CASE("values that are late, negative or no numbers change nothing") {
  Forecaster forecaster({.step = 1min, .horizons = {5min}});
  for (Slot slot = 100; slot < 200; ++slot) forecaster.add(slot, static_cast<double>(slot));
  const double said = forecaster.at(0).p50;
  forecaster.add(150, 9e9);
  forecaster.add(199, 9e9);
  forecaster.add(200, -1);
  forecaster.add(200, std::nan(""));
  CHECK(forecaster.at(0).p50 == said);
}

TEST_CASE("after a gap of a month it begins anew, and of any length it goes on") {
  for (const Slot gap : {1L, 7L, 144L, 1'500L, 5'000L, 100'000'000L}) {
    Forecaster forecaster({.step = 10min, .horizons = {1h}});
    Slot slot = 0;
    for (; slot < 1'000; ++slot) forecaster.add(slot, 50);
    slot += gap;
    forecaster.add(slot, 80);
    CAPTURE(gap);
    CHECK(std::isfinite(forecaster.at(0).p99));
    CHECK(forecaster.is_cold() == (gap > 1'200));
    for (int i = 1; i < 500; ++i) forecaster.add(slot + i, 80);
    CHECK(forecaster.at(0).p50 == doctest::Approx(80).epsilon(0.02));
  }
}

TEST_CASE("values of any size are forecast: none is infinite, none below zero") {
  for (const double scale : {1e-6, 1.0, 1e12}) {
    Forecaster forecaster({.step = 10min, .horizons = {1h, 24h}});
    std::mt19937_64 bits(3);
    for (Slot slot = 0; slot < 2'000; ++slot) {
      const double value = bits() % 7 == 0 ? 0 : scale * static_cast<double>(bits() % 1'000);
      forecaster.add(slot, value);
      for (const std::size_t horizon : {0U, 1U})
        for (const double said : {forecaster.at(horizon).p50, forecaster.at(horizon).p99}) {
          REQUIRE(std::isfinite(said));
          REQUIRE(said >= 0);
        }
    }
  }
}

TEST_CASE("steps of a minute and four horizons stay below 256 KiB") {
  Forecaster forecaster({});
  for (Slot slot = 0; slot < 2'000; ++slot) forecaster.add(slot, 5);
  CHECK(forecaster.bytes() < 256 * 1'024);
  MESSAGE(forecaster.bytes(), " bytes");
}

TEST_CASE("a blend follows the one that has become better") {
  Blend blend(2, 0.5, 0.99);
  const auto learn = [&blend](int times, double came) {
    for (int i = 0; i < times; ++i) blend.learn(std::array{10.0, 20.0}, came, 1);
  };
  learn(300, 10);
  CHECK(blend.mix(std::array{1.0, 2.0}) == doctest::Approx(1).epsilon(0.05));
  learn(900, 20);
  CHECK(blend.mix(std::array{1.0, 2.0}) == doctest::Approx(2).epsilon(0.05));
  CHECK(blend.mix(std::array{std::nan(""), 3.0}) == doctest::Approx(3));
  CHECK(std::isnan(blend.mix(std::array{std::nan(""), std::nan("")})));
}

TEST_CASE("a regression learns which quantile it is asked for") {
  std::mt19937_64 bits(5);
  Ridge median(0.999, 1, {});
  Ridge p90(0.999, 1, {}, 0.9);
  for (int i = 0; i < 5'000; ++i) {
    const double x = static_cast<double>(bits() % 1'000) / 1'000;
    const double y = 2 * x + static_cast<double>(bits() % 1'000) / 1'000;
    median.learn({1, x}, y, 1);
    p90.learn({1, x}, y, 1);
  }
  CHECK(median.predict({1, 0.5}) == doctest::Approx(1.5).epsilon(0.05));
  CHECK(p90.predict({1, 0.5}) == doctest::Approx(1.9).epsilon(0.05));
}

}  // namespace
}  // namespace classgate::history
