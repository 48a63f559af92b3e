#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <numbers>
#include <random>
#include <string>
#include <vector>

// Loads of every kind that a service may have, made of numbers: what a forecast is held to. Each is
// the same at every run.
namespace classgate::history {

struct Load {
  std::string name;
  int step_seconds = 600;
  std::vector<double> values;  // NaN: missing
};

inline std::vector<Load> loads() {
  std::vector<Load> all;
  std::mt19937_64 bits(7);
  const auto uniform = [&bits] { return std::uniform_real_distribution<>()(bits); };
  const auto normal = [&bits] { return std::normal_distribution<>()(bits); };
  const auto poisson = [&bits](double mean) {
    return mean <= 0 ? 0.0 : static_cast<double>(std::poisson_distribution<long>(mean)(bits));
  };
  const auto day = [](double d) { return 1 + 0.8 * std::sin(2 * std::numbers::pi * (d - 0.3)); };
  const auto week = [](double d) { return std::fmod(d, 7) < 5 ? 1.0 : 0.4; };
  const auto make = [&all](std::string name, int step, int days, const auto& value) {
    Load load{std::move(name), step, {}};
    for (int i = 0; i < days * 86'400 / step; ++i)
      load.values.push_back(value(static_cast<double>(i) * step / 86'400.0, i));
    all.push_back(std::move(load));
  };
  const double missing = std::numeric_limits<double>::quiet_NaN();
  make("a day's rhythm", 600, 14, [&](double d, int) { return poisson(200 * day(d)); });
  make("a week's rhythm", 600, 28, [&](double d, int) { return poisson(200 * day(d) * week(d)); });
  make("a level shift", 600, 14,
       [&](double d, int) { return poisson((d > 9 ? 300 : 100) * day(d)); });
  make("a launch", 600, 10, [&](double d, int) { return poisson(d < 6 ? 2 : 400 * day(d)); });
  make("spikes by chance", 300, 14,
       [&](double d, int) { return poisson(50 * day(d)) * (uniform() < 0.01 ? 10 : 1); });
  make("a batch every hour", 300, 14,
       [&](double d, int i) { return poisson(50 * day(d)) + (i % 12 == 0 ? 500 : 0); });
  make("a holiday", 1'800, 42, [&](double d, int) {
    return poisson(1'000 * day(d) * week(d) * (static_cast<int>(d) == 30 ? 0.3 : 1));
  });
  make("dead nights", 600, 14, [&](double d, int) {
    const double hour = std::fmod(d, 1);
    return hour < 0.3 ? 0 : poisson(100 * std::sin(std::numbers::pi * (hour - 0.3) / 0.7));
  });
  make("a gap of a day and a half", 600, 21,
       [&](double d, int) { return d > 12 && d < 13.5 ? missing : poisson(100 * day(d)); });
  double walk = 1'000;
  make("a random walk", 600, 14,
       [&](double, int) { return walk = std::abs(walk + 10 * normal()); });
  make("white noise", 600, 14, [&](double, int) { return std::max(0.0, 100 + 20 * normal()); });
  make("a constant", 600, 14, [](double, int) { return 50.0; });
  make("nothing", 600, 14, [](double, int) { return 0.0; });
  double lean = 0;
  make("a rhythm that leans", 600, 21, [&](double d, int) {
    lean = 0.98 * lean + 0.06 * normal();
    return 200 * day(d) * std::exp(lean);
  });
  make("few a minute", 60, 8, [&](double d, int) { return poisson(5 * day(d)); });
  bool is_on = false;
  make("on and off", 60, 8, [&](double, int) {
    if (uniform() < 0.01) is_on = !is_on;
    return poisson(is_on ? 30 : 1);
  });
  make("growth", 3'600, 60,
       [&](double d, int) { return poisson(100 * std::exp(d / 20) * day(d) * week(d)); });
  make("heavy noise", 600, 14,
       [&](double d, int) { return 100 * day(d) * std::exp(0.8 * normal()); });
  return all;
}

}  // namespace classgate::history
