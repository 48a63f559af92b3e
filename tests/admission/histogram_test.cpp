#include "admission/measure/histogram.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "admission/measure/recent.h"
#include "tests/admission/kit.h"
#include "tests/admission/run.h"

namespace classgate::measure {
namespace {

using admission::Random;
using admission::replay;
using admission::run;
using admission::start;
using namespace std::chrono_literals;

using std::chrono::microseconds;
using Eighths = Histogram<3, std::uint32_t>;
using Fine = Histogram<5, std::uint64_t>;

// `parts`: of a power of two.
template <typename Any>
void check_error_bound(const Any& histogram, double share, Duration exact, Duration::rep parts) {
  CAPTURE(exact);
  const Duration middle = histogram.percentile(share);
  const Duration half = std::max<Duration>(exact / (2 * parts), 500ns);
  REQUIRE(middle >= exact - half);
  REQUIRE(middle <= exact + half);
}

TEST_CASE_TEMPLATE("a single value comes back to its share, from 1 us to hours", Any, Eighths, Fine,
                   Recent::Histogram) {
  const Duration::rep parts = std::is_same_v<Any, Eighths> ? 8
                              : std::is_same_v<Any, Fine>  ? 32
                                                           : 128;
  for (std::int64_t us = 1; us <= microseconds(24h).count(); us += 1 + us / 100) {
    Any histogram;
    histogram.record(microseconds(us));
    check_error_bound(histogram, 0.5, microseconds(us), parts);
  }
}

TEST_CASE("small values are told exactly") {
  for (int us = 0; us < 8; ++us) {
    Eighths histogram;
    histogram.record(microseconds(us));
    CHECK(histogram.percentile(1) == microseconds(us));
  }
}

TEST_CASE("an empty histogram says zero") {
  const Eighths histogram;
  CHECK(histogram.percentile(0.99) == 0ns);
  CHECK(histogram.count() == 0);
}

TEST_CASE("a negative value counts as zero and one beyond all bounds as the largest") {
  Eighths histogram;
  histogram.record(-5s);
  CHECK(histogram.percentile(1) == 0ns);
  histogram.record(Duration::max());
  CHECK(histogram.percentile(1) > 48h);
  CHECK(histogram.count() == 2);
}

TEST_CASE("percentiles of random values stay within the error bound") {
  INFO(replay(run().seed));
  Random random(run().seed);
  for (int round = 0; round < 200; ++round) {
    Eighths histogram;
    std::vector<Duration> values;
    const auto size = random.between(1, 500);
    for (std::size_t i = 0; i < size; ++i) {
      values.emplace_back(microseconds(random.between(1, 1ULL << random.between(1, 34))));
      histogram.record(values.back());
    }
    std::ranges::sort(values);
    for (const std::size_t percent : {1U, 25U, 50U, 75U, 100U}) {
      const std::size_t rank = std::max<std::size_t>((values.size() * percent + 99) / 100, 1);
      check_error_bound(histogram, static_cast<double>(percent) / 100, values[rank - 1], 8);
    }
  }
}

TEST_CASE("a merged histogram is the histogram of both") {
  Eighths low;
  Eighths high;
  for (int i = 0; i < 10; ++i) low.record(5us);
  for (int i = 0; i < 10; ++i) high.record(7us);
  low.merge(high);
  CHECK(low.count() == 20);
  CHECK(low.percentile(0.5) == 5us);
  CHECK(low.percentile(0.51) == 7us);
  low.clear();
  CHECK(low.count() == 0);
}

TEST_CASE("recent means everything of the last minute and nothing older than two") {
  INFO(replay(run().seed));
  Random random(run().seed);
  Recent recent;
  std::vector<Time> records;
  Time now = start;
  for (int i = 0; i < 5'000; ++i) {
    now += std::chrono::milliseconds(random.below(random.chance(2) ? 150'000 : 20'000));
    if (random.chance(60)) {
      recent.record(1us, now);
      records.push_back(now);
    }
    const auto younger_than = [&records, now](Duration age) {
      return static_cast<std::uint64_t>(
          std::ranges::count_if(records, [now, age](Time at) { return now - at < age; }));
    };
    const std::uint64_t told = recent.at(now).count();
    REQUIRE(told >= younger_than(1min));
    REQUIRE(told <= younger_than(2min));
    if (records.size() > 100) records.erase(records.begin(), records.begin() + 50);
  }
}

}  // namespace
}  // namespace classgate::measure
