// Sketches of the history, against the exact answer, on seeded traffic.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "admission/history/distinct_count.h"
#include "admission/history/quantile_sketch.h"
#include "admission/history/top_keys.h"
#include "tests/admission/zipf.h"

using namespace classgate::history;

namespace {

constexpr auto nobody = [](const auto&) {};

}  // namespace

TEST_CASE("a quantile is within 1 % of the value that has its rank, also of a sum of sketches") {
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    std::lognormal_distribution<double> waits(8, 3);
    std::vector<std::uint32_t> values;
    QuantileSketch one, other;
    for (int i = 0; i < 100'000; ++i) {
      const double drawn = i % 10 == 0 ? 0 : std::min(waits(random), 4e9);
      values.push_back(static_cast<std::uint32_t>(drawn));
      (i % 3 == 0 ? one : other).add(values.back());
    }
    QuantileSketch both = one;
    both.add(other);
    std::ranges::sort(values);
    REQUIRE(both.count() == values.size());
    CHECK(both.bins().size() <= QuantileSketch::bins_max);
    for (const double q : {0.0, 0.05, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0}) {
      CAPTURE(q);
      const auto rank = static_cast<std::size_t>(
          std::max(std::ceil(q * static_cast<double>(values.size())), 1.0));
      const double exact = values[rank - 1];
      CHECK(std::abs(both.quantile(q) - exact) <= exact * (QuantileSketch::error + 1e-9));
    }
    both.subtract(other);
    CHECK(both.bins() == one.bins());
    CHECK(both.count() == one.count());
  }
}

TEST_CASE("each value has the bin that the formula gives it") {
  const double gamma = (1 + QuantileSketch::error) / (1 - QuantileSketch::error);
  std::uint16_t last = 0;
  for (std::uint64_t value = 0; value <= UINT32_MAX; value += value < 300'000 ? 1 : value / 4000) {
    const auto here = static_cast<std::uint32_t>(value);
    const std::uint16_t bin = QuantileSketch::bin_of(here);
    if (value > 0) {
      const double exact = 1 + std::ceil(std::log(here) / std::log(gamma));
      if (bin != exact) FAIL(value, " is in ", bin, ", not in ", exact);
    }
    REQUIRE(bin >= last);
    last = bin;
  }
  CHECK(QuantileSketch::bin_of(0) == 0);
  CHECK(QuantileSketch::bin_of(UINT32_MAX) < QuantileSketch::bins_max);
}

TEST_CASE("a sketch of the least and the greatest value stays in its bound") {
  QuantileSketch sketch;
  for (std::uint64_t value = 1; value <= UINT32_MAX; value += value / 300 + 1)
    sketch.add(static_cast<std::uint32_t>(value));
  sketch.add(UINT32_MAX);
  sketch.add(0);
  CHECK(sketch.bins().size() <= QuantileSketch::bins_max);
  CHECK(sketch.bins().back().first < QuantileSketch::bins_max);
  CHECK(QuantileSketch{}.quantile(0.5) == 0);
}

TEST_CASE("distinct clients are counted within 3 %, from one to a million, and of a union") {
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    std::mt19937_64 random(seed);
    for (const std::size_t many : {1U, 100U, 5'000U, 40'000U, 1'000'000U}) {
      CAPTURE(seed);
      CAPTURE(many);
      DistinctCount count, half;
      for (std::size_t i = 0; i < many; ++i) {
        const std::uint64_t id = random();
        (i % 2 == 0 ? count : half).add(id);
        count.add(id);  // once more, or for the first time
      }
      count.add(half);
      CHECK(std::abs(count.estimate() - static_cast<double>(many)) <=
            0.03 * static_cast<double>(many));
    }
  }
  CHECK(DistinctCount{}.estimate() == 0);
}

TEST_CASE("while there are no more keys than places, all counts are exact") {
  TopKeys<std::uint64_t> top(100);
  std::mt19937_64 random(5);
  std::map<std::uint64_t, std::uint64_t> exact;
  for (int i = 0; i < 10'000; ++i) {
    const std::uint64_t key = random() % 100;
    ++exact[key];
    ++top.add(key, 1, nobody);
  }
  CHECK(top.is_exact());
  for (const auto& [key, times] : exact) {
    REQUIRE(top.find(key) != nullptr);
    CHECK(top.find(key)->at_least == times);
    CHECK(top.find(key)->value == times);
  }
}

TEST_CASE("of a million clients the top 50 of Zipf 1.0 are found, and sums balance") {
  constexpr std::size_t room = 4096;
  constexpr std::uint64_t requests = 2'000'000;
  for (const std::uint64_t seed : {1U, 2U}) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    test::Zipf zipf(1'000'000);
    std::vector<std::uint64_t> exact(1'000'001);
    TopKeys<std::uint64_t> one(room), other(room);
    std::uint64_t others = 0;
    const auto on_fall = [&others](const auto& entry) { others += entry.value; };
    for (std::uint64_t i = 0; i < requests; ++i) {
      const std::uint64_t key = zipf.draw(random);
      ++exact[key];
      ++(i % 2 == 0 ? one : other).add(key, 1, on_fall);
    }
    one.add(other, [](std::uint64_t& to, std::uint64_t from) { to += from; }, on_fall);
    REQUIRE(one.total() == requests);
    std::uint64_t told = others;
    for (const auto& entry : one.entries()) {
      told += entry.value;
      CHECK(entry.at_least <= exact[entry.key]);
      CHECK(exact[entry.key] <= entry.bound());
    }
    CHECK(told == requests);
    auto entries = one.entries();
    std::ranges::sort(entries, std::greater{}, [](const auto& each) { return each.bound(); });
    std::vector<std::uint64_t> keys(exact.size());
    for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = i;
    std::ranges::partial_sort(keys, keys.begin() + 50, std::greater{},
                              [&](std::uint64_t key) { return exact[key]; });
    const std::set<std::uint64_t> wanted(keys.begin(), keys.begin() + 50);
    std::size_t found = 0;
    for (std::size_t i = 0; i < 50; ++i) {
      found += wanted.contains(entries[i].key) ? 1U : 0U;
      CHECK(exact[entries[i].key] - entries[i].at_least <= requests / 1000);
    }
    CHECK(found >= 49);
  }
}
