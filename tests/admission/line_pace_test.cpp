#include "admission/line_pace.h"

#include "tests/admission/kit.h"

namespace classgate::admission {
namespace {

// What a line has learnt in which `size` have gone in every `gap`, so many times; returns the time
// at the end of the last.
Time let_in(LinePace& pace, int size, Duration gap, int times, Duration turn) {
  Time now = start;
  pace.begin([=] { return gap / size; }, turn, now);
  for (int group = 0; group < times; ++group) {
    now += gap;
    for (int i = 0; i < size; ++i) pace.move(turn, now + i * 100us);
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
    pace.move(300ms, now);
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

TEST_CASE("a clock that jumps leaves a wait that can be told") {
  LinePace pace;
  Time now = let_in(pace, 4, 50ms, 12, 50ms);
  for (int i = 0; i < 1000; ++i) {
    now += i % 3 == 0 ? Duration(-10h) : Duration(7h);
    if (i % 5 == 0) pace.begin([] { return 0ms; }, 0ms, now);
    pace.move(i % 2 == 0 ? Duration(0) : Duration(30 * 24h), now);
    const Duration wait = pace.wait_behind(1U << 30U, now);
    REQUIRE(wait >= 0s);
    REQUIRE(wait <= 24h);
  }
}

}  // namespace
}  // namespace classgate::admission
