#include <chrono>
#include <cmath>
#include <numbers>

#include "admission/history/scaling_replay.h"
#include "admission/history/scaling_rules.h"
#include "tests/admission/kit.h"

namespace classgate::history {
namespace {

using namespace std::chrono_literals;
using conf::ScalingRule;

LoadCurve curve(std::chrono::seconds step, int steps, const auto& value) {
  LoadCurve load{step, 0, {}};
  for (int i = 0; i < steps; ++i) load.values.push_back(value(i));
  return load;
}

// A busy day and a quiet night, rising within an hour and a half.
LoadCurve daily_rhythm() {
  return curve(10min, 10 * 144, [](int i) {
    return 100 + 90 * std::tanh(4 * std::sin(i / 144.0 * 2 * std::numbers::pi));
  });
}

TEST_CASE("a load goes in a straight line from the middle of a step to that of the next") {
  LoadCurve load{60s, 0, {10, 20, std::nan(""), 40}};
  CHECK(load.at(0s) == 10);
  CHECK(load.at(30s) == 10);
  CHECK(load.at(60s) == doctest::Approx(15));
  CHECK(load.at(150s) == doctest::Approx(30));
  CHECK(load.at(239s) == 40);
  CHECK(load.is_known(119s));
  CHECK_FALSE(load.is_known(120s));
}

TEST_CASE("a server serves when its start is over, and those that start go first") {
  Servers servers(60s);
  servers.begin_with(1);
  CHECK(servers.want(0s, 3) == 2);
  CHECK(servers.want(59s, 3) == 0);
  CHECK(servers.ready() == 1);
  servers.want(60s, 3);
  CHECK(servers.ready() == 3);
  servers.want(61s, 5);
  servers.want(62s, 4);
  CHECK(servers.running() == 4);
  CHECK(servers.ready() == 3);
  servers.want(63s, 2);
  CHECK(servers.ready() == 2);
}

TEST_CASE("KPA panics within seconds of a step that its minute shows slowly, and holds for one") {
  KpaRule rule(10);
  std::chrono::seconds now{0};
  for (; now < 120s; ++now) rule.servers(now, 10, 1);
  for (; now < 128s; ++now) rule.servers(now, 100, 1);
  CHECK(rule.servers(now, 100, 1) == 10);
  // Ready again and quiet: it stays for the stable window, then falls to half a decision at most.
  for (; now < 180s; ++now) CHECK(rule.servers(now, 10, 10) >= 10);
  for (; now < 200s; ++now) rule.servers(now, 10, 10);
  CHECK(rule.servers(now, 10, 10) == 5);
}

TEST_CASE("KPA follows a slow rise by the mean of a minute") {
  KpaRule rule(10);
  std::chrono::seconds now{0};
  for (; now <= 600s; ++now) {
    const int wanted = rule.servers(now, 50 + static_cast<double>(now.count()) / 10, 9);
    if (now < 60s) continue;
    const auto even = static_cast<double>(now.count() / 2 * 2);
    CHECK(wanted == std::ceil((50 + (even - 29.5) / 10) / 10 - 1e-9));
  }
}

TEST_CASE("HPA leaves a tenth alone, doubles or adds four, and falls after five minutes") {
  HpaRule rule(10, HpaRule::Metric::own);
  int running = 10;
  std::chrono::seconds now{0};
  const auto go = [&](std::chrono::seconds until, double load) {
    for (; now <= until; ++now) running = rule.servers(now, load, running);
  };
  go(60s, 109);
  CHECK(running == 10);
  go(75s, 400);
  CHECK(running == 20);
  go(90s, 400);
  CHECK(running == 40);
  go(300s, 50);
  CHECK(running == 40);
  go(420s, 50);
  CHECK(running == 5);
}

TEST_CASE("KEDA sees a step when it polls, and alone goes to zero") {
  HpaRule keda(10, HpaRule::Metric::of_keda);
  int running = 1;
  std::chrono::seconds now{0};
  const auto go = [&](std::chrono::seconds until, double load) {
    for (; now <= until; ++now) running = keda.servers(now, load, running);
  };
  go(60s, 5);
  go(89s, 30);
  CHECK(running == 1);
  go(90s, 30);
  CHECK(running == 3);
  go(380s, 0);
  CHECK(running > 0);
  go(400s, 0);
  CHECK(running == 0);
  go(430s, 10);
  CHECK(running >= 1);
}

TEST_CASE("a forecast adds servers and never takes one away") {
  for (const double ahead : {0.0, 55.0, 1'000.0, std::nan("")}) {
    KpaRule kpa(10);
    ForecastRule rule(10);
    for (std::chrono::seconds now{0}; now < 300s; ++now) {
      const double load = now < 150s ? 80 : 20;
      const int with = rule.servers(now, load, 8, now < 100s ? ahead : 0);
      CHECK(with >= kpa.servers(now, load, 8));
    }
  }
}

TEST_CASE("what a forecast added falls by a tenth a minute") {
  ForecastRule rule(1);
  rule.servers(0s, 0, 100, 100);
  int wanted = 100;
  for (std::chrono::seconds now{1}; now <= 60s; ++now) wanted = rule.servers(now, 0, 1, 0);
  CHECK(wanted == 90);
}

TEST_CASE("a step that nobody foresaw is missed by each rule for at least the start of a server") {
  // From 50 to 250 within a minute, in the second half.
  const LoadCurve load = curve(60s, 120, [](int i) { return i < 90 ? 50.0 : 250.0; });
  for (const ScalingRule rule : conf::scaling_rules) {
    const ScalingResult result = replay_scaling(load, rule, {.per_server = 10});
    CAPTURE(word_of(rule));
    CHECK(result.unmet > 0.5 * 200);
    // HPA's tenth is missed for the rest of the half hour: it counts as near enough.
    CHECK(result.unmet < (rule == ScalingRule::kpa ? 2.5 : 5) * 200);
    CHECK(result.most >= 23);
  }
}

TEST_CASE("with no start delay worth its name a ramp is missed by what the rule's window lags") {
  const LoadCurve load = curve(60s, 120, [](int i) { return 100.0 + 10 * i; });
  const auto unmet = [&](std::chrono::seconds delay) {
    return replay_scaling(load, ScalingRule::kpa, {.per_server = 10, .start_delay = delay}).unmet;
  };
  CHECK(unmet(1s) < 0.5 * unmet(60s));
  CHECK(unmet(60s) < 0.5 * unmet(10min));
}

TEST_CASE("a daily rhythm is met in advance by the forecast: a third is unmet, for a tenth more") {
  const LoadCurve load = daily_rhythm();
  const ScalingSettings settings{.per_server = 5};
  const ScalingResult kpa = replay_scaling(load, ScalingRule::kpa, settings);
  const ScalingResult forecast = replay_scaling(load, ScalingRule::forecast, settings);
  CHECK(kpa.unmet > 0);
  CHECK(forecast.unmet <= 0.3 * kpa.unmet);
  CHECK(forecast.running <= 1.1 * kpa.running);
  CHECK(forecast.load == doctest::Approx(kpa.load));
}

TEST_CASE("a load that is constant costs the servers it needs and is met, by every rule") {
  const LoadCurve load = curve(60s, 120, [](int) { return 95.0; });
  for (const ScalingRule rule : conf::scaling_rules) {
    const ScalingResult result = replay_scaling(load, rule, {.per_server = 10});
    CHECK(result.unmet == 0);
    CHECK(result.running == doctest::Approx(60 * 100));
    CHECK(result.started == 0);
  }
}

TEST_CASE("time that nobody measured counts for nothing") {
  const LoadCurve load =
      curve(60s, 100, [](int i) { return i >= 60 && i < 80 ? std::nan("") : 10.0; });
  const ScalingResult result = replay_scaling(load, ScalingRule::forecast, {.per_server = 10});
  CHECK(result.load == doctest::Approx(300));
  CHECK(result.running == doctest::Approx(300));
}

}  // namespace
}  // namespace classgate::history
