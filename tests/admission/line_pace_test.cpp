#include "admission/line_pace.h"

#include <cmath>
#include <random>

#include "tests/admission/kit.h"

namespace classgate::admission {
namespace {

// What a line has learnt in which `size` have gone in every `gap`, so many times; returns the time
// at the end of the last.
Time let_in(LinePace& pace, int size, Duration gap, int times, Duration turn) {
  const std::uint32_t workers = 1000;  // more than LineSeason looks at
  Time now = start;
  pace.begin([=] { return gap / size; }, turn, now);
  for (int group = 0; group < times; ++group) {
    now += gap;
    for (int i = 0; i < size; ++i) pace.move(turn, workers, now + i * 100us);
  }
  return now + size * 100us;
}

bool is_near(Duration one, Duration other) { return std::chrono::abs(one - other) <= 30ms; }

TEST_CASE("a service that answers 32 every 300 ms: place 210 waits for seven groups") {
  // It was told 139 ms when the head of the line had waited for 1,047.
  LinePace pace;
  const Time now = let_in(pace, 32, 300ms, 60, 300ms);
  CHECK(is_near(pace.wait_behind(0, now), 300ms));
  CHECK(is_near(pace.wait_behind(31, now), 300ms));
  CHECK(is_near(pace.wait_behind(32, now), 600ms));
  CHECK(is_near(pace.wait_behind(209, now), 2100ms));
  CHECK(is_near(pace.wait_behind(209, now + 200ms), 1900ms));  // a part of the first is over
}

TEST_CASE("eight equal workers of 200 ms that go in step: place 72 waits for 1.8 s") {
  LinePace pace;
  const Time now = let_in(pace, 8, 200ms, 12, 200ms);
  CHECK(is_near(pace.wait_behind(71, now), 1800ms));
}

TEST_CASE("in a line that flows each place is one pace") {
  LinePace pace;
  const Time now = let_in(pace, 1, 2ms, 2000, 100ms);
  const Duration wait = pace.wait_behind(499, now);
  CHECK(wait > 950ms);
  CHECK(wait < 1050ms);
}

TEST_CASE("a group after which nobody waits teaches nothing") {
  LinePace pace;
  Time now = let_in(pace, 32, 300ms, 60, 300ms);
  for (int i = 0; i < 20; ++i) {  // one waits, goes in, and the line is empty
    now += 250ms;
    pace.begin([] { return 10ms; }, 300ms, now);
    now += 50ms;
    pace.move(300ms, 1000, now);
  }
  CHECK(is_near(pace.wait_behind(209, now), 2100ms));
}

TEST_CASE("a group that is overdue takes as long again as it already is") {
  LinePace pace;
  const Time now = let_in(pace, 32, 300ms, 60, 300ms);
  CHECK(is_near(pace.wait_behind(0, now + 1300ms), 1000ms));
}

TEST_CASE("the interval of a wait is as wide as the last waits were off") {
  LinePace pace;
  for (int i = 0; i < 1000; ++i) pace.note_wait(1, 1);
  CHECK(pace.most_of(1s) == 1s);
  for (int i = 0; i < 1000; ++i) pace.note_wait(i % 2 == 0 ? 0.8 : 1.2, 1);
  CHECK(is_near(pace.most_of(1s), 1280ms));
  CHECK(is_near(pace.least_of(1s), 720ms));
  for (int i = 0; i < 1000; ++i) pace.note_wait(100, 1);
  CHECK(pace.least_of(1s) == 0s);
}

// Workers of which each takes `turn` for each, and that began so long after one another.
Time work_in_step(LinePace& pace, const std::vector<Duration>& phases, Duration turn, int turns) {
  pace.begin([=] { return turn; }, turn, start);
  for (int i = 0; i < turns; ++i)
    for (const Duration phase : phases)
      pace.move(turn, static_cast<std::uint32_t>(phases.size()), start + i * turn + phase);
  return start + (turns - 1) * turn + phases.back();
}

TEST_CASE("where all take as long, each place is told its own turn, however unevenly turns come") {
  LinePace pace;
  const std::vector<Duration> phases = {0ms, 3ms, 5ms, 90ms, 91ms, 130ms, 131ms, 180ms};
  const Time now = work_in_step(pace, phases, 200ms, 20) + 7ms;
  for (std::size_t ahead = 0; ahead < 72; ++ahead) {
    const Time turn = start + (20 + static_cast<int>(ahead / 8)) * 200ms + phases[ahead % 8];
    CHECK(std::chrono::abs(pace.wait_behind(ahead, now) - (turn - now)) <= 1us);
  }
}

TEST_CASE("when a turn is overdue, it is so by as long again, and those behind it with it") {
  LinePace pace;
  const Time now = work_in_step(pace, {0ms, 50ms, 100ms, 150ms}, 200ms, 20) + 350ms;
  CHECK(pace.wait_behind(0, now) == 300ms);
  CHECK(pace.wait_behind(1, now) == 300ms);
  CHECK(pace.wait_behind(8, now) == 400ms);
}

TEST_CASE("with other workers, turns repeat in another way") {
  LinePace pace;
  Time now = work_in_step(pace, {0ms, 50ms, 100ms, 150ms}, 200ms, 20);
  for (int i = 0; i < 100; ++i) pace.move(200ms, 2, now += 100ms);
  CHECK(is_near(pace.wait_behind(9, now), 1000ms));
}

// By chance, so fast on average.
Time flow(LinePace& pace, std::mt19937_64& random, Duration each, int moves, Time now) {
  std::exponential_distribution<double> gap(1 / static_cast<double>(each.count()));
  for (int i = 0; i < moves; ++i) {
    now += Duration(static_cast<Duration::rep>(gap(random)));
    pace.move(32 * each, 32, now);
  }
  return now;
}

TEST_CASE("the longer a line goes on as it does, the less chance has a say in what it tells") {
  double off = 0;  // standard deviation; of the last eight to sixteen turns alone: 5 %
  for (unsigned seed = 1; seed <= 50; ++seed) {
    std::mt19937_64 random(seed);
    LinePace pace;
    pace.begin([] { return 3ms; }, 96ms, start);
    const Time now = flow(pace, random, 3ms, 32 * 200, start);
    const double told = static_cast<double>(pace.wait_behind(999, now) / 1us) / 3e6;
    off += (told - 1) * (told - 1) / 50;
  }
  CHECK(std::sqrt(off) < 0.035);
}

TEST_CASE("a service that has become half as fast is told so within some twenty turns") {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    LinePace pace;
    pace.begin([] { return 3ms; }, 96ms, start);
    Time now = flow(pace, random, 3ms, 32 * 200, start);
    now = flow(pace, random, 6ms, 32 * 20, now);
    CHECK(pace.wait_behind(999, now) > 4800ms);
    CHECK(pace.wait_behind(999, now) < 7500ms);
  }
}

TEST_CASE("those who leave the line in vain move up those behind them") {
  LinePace pace;
  pace.begin([] { return 3ms; }, 96ms, start);
  Time now = start;
  for (int i = 0; i < 32 * 100; ++i) {
    pace.move(96ms, 1000, now += 3ms);
    if (i % 4 == 0) pace.drop();
  }
  CHECK(is_near(pace.wait_behind(999, now), 2400ms));
}

TEST_CASE("a clock that jumps leaves a wait that can be told") {
  LinePace pace;
  Time now = let_in(pace, 4, 50ms, 12, 50ms);
  for (int i = 0; i < 1000; ++i) {
    now += i % 3 == 0 ? Duration(-10h) : Duration(7h);
    if (i % 5 == 0) pace.begin([] { return 0ms; }, 0ms, now);
    if (i % 7 == 0) pace.drop();
    pace.move(i % 2 == 0 ? Duration(0) : Duration(30 * 24h), i % 11 == 0 ? 0 : 2, now);
    const Duration wait = pace.wait_behind(1U << 30U, now);
    REQUIRE(wait >= 0s);
    REQUIRE(wait <= 24h);
  }
}

}  // namespace
}  // namespace classgate::admission
