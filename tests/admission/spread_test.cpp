#include "admission/measure/spread.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "admission/measure/units.h"
#include "tests/admission/kit.h"
#include "tests/admission/run.h"

namespace classgate::measure {
namespace {

using admission::Random;
using admission::replay;
using admission::run;
using namespace std::chrono_literals;

// More than zero, less than one.
double unit(Random& random) {
  return (static_cast<double>(random.below(1'000'000'000)) + 0.5) * 1e-9;
}

// What services, waits and machines are like.
struct Law {
  const char* name;
  Duration (*draw)(Random& random, Duration usual);
};
constexpr Law laws[] = {
    {"fixed", [](Random&, Duration usual) { return usual; }},
    {"nearly fixed",
     [](Random& random, Duration usual) {
       return usual + Duration(static_cast<Duration::rep>(random.below(1'000'000)));
     }},
    {"exponential",
     [](Random& random, Duration usual) {
       return Duration(static_cast<Duration::rep>(-std::log(unit(random)) *
                                                  static_cast<double>(usual.count())));
     }},
    {"heavy-tailed",  // Pareto with a finite mean and no variance
     [](Random& random, Duration usual) {
       return Duration(static_cast<Duration::rep>(std::pow(unit(random), -1 / 1.3) *
                                                  static_cast<double>(usual.count()) / 4));
     }},
    {"two values",
     [](Random& random, Duration usual) { return random.chance(90) ? usual : 50 * usual; }},
    {"hardly any wait",
     [](Random& random, Duration usual) { return random.chance(97) ? Duration() : usual; }}};

Duration exact(const std::vector<Duration>& sorted, std::uint64_t thousandths) {
  const std::uint64_t rank = (sorted.size() * thousandths + 999) / 1000;
  return sorted[std::max<std::uint64_t>(rank, 1) - 1];
}

Duration hundredth(Duration of) { return of / 100; }

TEST_CASE("quantiles are right within 1 %, rise, and lie between the least and the greatest") {
  INFO(replay(run().seed));
  Random random(run().seed);
  for (const Law& law : laws)
    for (const std::size_t size : {1U, 2U, 3U, 7U, 40U, 1'000U, 20'000U})
      for (int round = 0; round < 4; ++round) {
        CAPTURE(law.name);
        CAPTURE(size);
        const Duration usual(static_cast<Duration::rep>(std::pow(10, 5 + 5 * unit(random))));
        Spread spread;
        std::vector<Duration> values;
        double sum = 0;
        for (std::size_t i = 0; i < size; ++i) {
          values.push_back(law.draw(random, usual));
          spread.record(values.back());
          sum += static_cast<double>(values.back().count());
        }
        std::ranges::sort(values);
        REQUIRE(spread.count() == size);
        REQUIRE(spread.least() == values.front());
        REQUIRE(spread.most() == values.back());
        const double mean = sum / static_cast<double>(size);
        REQUIRE(std::abs(static_cast<double>(spread.mean().count()) - mean) <= 1 + mean * 1e-9);
        Duration before{};
        Duration told_before{};
        for (const std::uint64_t thousandths :
             {0U, 1U, 10U, 100U, 250U, 500U, 750U, 900U, 950U, 990U, 999U, 1000U}) {
          CAPTURE(thousandths);
          const double share = static_cast<double>(thousandths) / 1000;
          const Duration found = spread.percentile(share);
          const Duration told = spread.told(share);
          const Duration right = exact(values, thousandths);
          REQUIRE(std::chrono::abs(found - right) <= right / 250);
          REQUIRE(std::chrono::abs(told - right) <= hundredth(right));
          REQUIRE(found >= before);
          REQUIRE(told >= told_before);
          REQUIRE(found >= spread.least());
          REQUIRE(found <= spread.most());
          REQUIRE(told >= spread.least());
          REQUIRE(told <= spread.most());
          before = found;
          told_before = told;
        }
      }
}

TEST_CASE("where only one value came it is told whole") {
  Spread spread;
  for (int i = 0; i < 500; ++i) spread.record(200ms);
  CHECK(spread.percentile(0.5) == 200ms);
  CHECK(spread.told(0.99) == 200ms);
  Spread odd;
  odd.record(198'656'123ns);
  CHECK(odd.told(0.5) == 198'656'123ns);
}

TEST_CASE("no more digits are told than are known, and none beyond the greatest") {
  Spread spread;
  for (int i = 0; i < 1'000; ++i) spread.record(198ms + i * 1'537ns);
  CHECK(spread.told(0.5) == 199ms);
  CHECK(spread.told(0.95) == 199ms);
  CHECK(spread.told(1) == spread.most());
  CHECK(to_three_digits(12'345us) == 12'300us);
  CHECK(to_three_digits(12'350us) == 12'400us);
  CHECK(to_three_digits(999'600us) == 1s);
  CHECK(to_three_digits(7ns) == 7ns);
  CHECK(to_three_digits(0ns) == 0ns);
  CHECK(to_three_digits(-12'345us) == -12'300us);
  CHECK(to_three_digits(Duration::max()) == Duration(9'220'000'000'000'000'000));
}

TEST_CASE("none at all, less than none, and more than a life are told as what they are") {
  Spread spread;
  CHECK(spread.percentile(0.5) == 0ns);
  CHECK(spread.mean() == 0ns);
  spread.record(-5s);
  CHECK(spread.most() == 0ns);
  spread.record(Duration::max());
  spread.record(Duration::max());
  CHECK(spread.percentile(0.5) > 24h * 365 * 100);
  CHECK(spread.percentile(1) == Duration::max());
  CHECK(spread.percentile(0.1) == 0ns);
}

TEST_CASE("two together are told as if all had been in one") {
  INFO(replay(run().seed));
  Random random(run().seed);
  Spread one;
  Spread other;
  Spread both;
  for (int i = 0; i < 5'000; ++i) {
    const Duration value(
        static_cast<Duration::rep>(random.between(1, 1ULL << random.between(1, 40))));
    (random.chance(30) ? one : other).record(value);
    both.record(value);
  }
  one.add(other);
  one.add(Spread());
  for (const double share : {0.0, 0.01, 0.5, 0.95, 0.99, 1.0})
    CHECK(one.percentile(share) == both.percentile(share));
  CHECK(one.count() == both.count());
  CHECK(one.least() == both.least());
  CHECK(std::chrono::abs(one.mean() - both.mean()) <= 1us);
}

}  // namespace
}  // namespace classgate::measure
