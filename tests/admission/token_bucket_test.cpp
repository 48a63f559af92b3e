#include "admission/token_bucket.h"

#include "tests/admission/kit.h"
#include "tests/admission/run.h"

namespace classgate::admission {
namespace {

// How many of one token each go through at this instant.
int taken_at_once(TokenBucket& bucket, Time now, int at_most = 1'000'000) {
  int taken = 0;
  while (taken < at_most && bucket.wait_for(1, now) == Duration::zero()) {
    bucket.take(1);
    ++taken;
  }
  return taken;
}

TEST_CASE("exactly the burst goes through at once") {
  for (const int burst : {1, 2, 3, 7, 200, 1000}) {
    CAPTURE(burst);
    TokenBucket bucket(100, burst);
    CHECK(taken_at_once(bucket, start) == burst);
    CHECK(taken_at_once(bucket, start) == 0);
  }
}

TEST_CASE("after the burst exactly the rate goes through each second") {
  for (const int rate : {1, 3, 7, 100, 333}) {
    CAPTURE(rate);
    TokenBucket bucket(rate, 200);
    taken_at_once(bucket, start);
    int taken = 0;
    for (int ms = 1; ms <= 60'000; ++ms) {
      taken += taken_at_once(bucket, start + std::chrono::milliseconds(ms));
      if (ms % 1000 == 0) REQUIRE(taken == rate * ms / 1000);
    }
  }
}

TEST_CASE("an idle bucket fills up to the burst and no further") {
  TokenBucket bucket(100, 20);
  CHECK(taken_at_once(bucket, start) == 20);
  CHECK(taken_at_once(bucket, start + 100ms) == 10);
  CHECK(taken_at_once(bucket, start + 300ms) == 20);
  CHECK(taken_at_once(bucket, start + 24h) == 20);
}

TEST_CASE("the wait is exact: not payable a nanosecond earlier") {
  INFO(replay(run().seed));
  Random random(run().seed);
  for (int round = 0; round < 20'000; ++round) {
    const double rate = static_cast<double>(random.between(1, 2000)) / 8;
    const double burst = static_cast<double>(random.between(1, 200));
    TokenBucket bucket(rate, burst);
    Time now = start + Duration(random.below(1'000'000'000));
    // Wears the bucket down, so that it holds some odd number of tokens.
    for (int i = 0; i < 4; ++i) {
      if (bucket.wait_for(burst / 2, now) == Duration::zero()) bucket.take(burst / 2);
      now += Duration(random.below(30'000'000));
    }
    const double cost = static_cast<double>(random.between(1, 8));
    CAPTURE(rate);
    CAPTURE(burst);
    CAPTURE(cost);
    const Duration wait = bucket.wait_for(cost, now);
    if (wait == Duration::zero()) continue;
    // Rounding may cost one nanosecond, and a billionth of a token counts as a token that is there.
    const auto rounding = Duration(2 + static_cast<Duration::rep>(1 / rate));
    if (wait > rounding) REQUIRE(bucket.wait_for(cost, now + wait - rounding) > Duration::zero());
    REQUIRE(bucket.wait_for(cost, now + wait) == Duration::zero());
  }
}

TEST_CASE("the wait of a simple case is the number one would say") {
  TokenBucket bucket(100, 200);
  taken_at_once(bucket, start);
  CHECK(bucket.wait_for(1, start) == 10ms);
  CHECK(bucket.wait_for(5, start) == 50ms);
  CHECK(bucket.wait_for(1, start + 4ms) == 6ms);
  CHECK(bucket.wait_for(1, start + 10ms - 1ns) == 1ns);
  CHECK(bucket.wait_for(1, start + 10ms) == 0ns);
}

TEST_CASE("asking for the wait takes nothing") {
  TokenBucket bucket(1, 5);
  for (int i = 0; i < 100; ++i) CHECK(bucket.wait_for(5, start) == 0ns);
  CHECK(taken_at_once(bucket, start) == 5);
}

TEST_CASE("a rate of zero means no limit") {
  TokenBucket bucket(0, 1);
  CHECK(taken_at_once(bucket, start, 10'000) == 10'000);
  CHECK(bucket.wait_for(1e9, start) == 0ns);
}

TEST_CASE("a cost above the burst needs a full bucket and leaves a debt") {
  TokenBucket bucket(10, 5);
  CHECK(bucket.wait_for(8, start) == 0ns);
  bucket.take(8);
  CHECK(bucket.wait_for(1, start) == 400ms);  // 3 owed, 1 wanted
  CHECK(bucket.wait_for(8, start) == 800ms);  // 3 owed, a full bucket of 5 wanted
  CHECK(bucket.wait_for(8, start + 800ms - 1ns) > 0ns);
  CHECK(bucket.wait_for(8, start + 800ms) == 0ns);
}

TEST_CASE("a time that ran backwards neither gives tokens nor takes any") {
  TokenBucket bucket(100, 10);
  taken_at_once(bucket, start);
  CHECK(bucket.wait_for(1, start - 1s) == 10ms);
  CHECK(taken_at_once(bucket, start + 10ms) == 1);
  CHECK(bucket.wait_for(1, start) == 10ms);
  CHECK(taken_at_once(bucket, start + 20ms) == 1);
}

TEST_CASE("new limits keep the tokens that the new burst holds") {
  TokenBucket bucket(100, 50);
  bucket.reconfigure(10, 20, start);
  CHECK(taken_at_once(bucket, start) == 20);
  bucket.reconfigure(10, 100, start);
  CHECK(taken_at_once(bucket, start) == 0);
  CHECK(bucket.wait_for(1, start) == 100ms);
}

TEST_CASE("time before new limits is paid at the old rate and time after it at the new one") {
  TokenBucket bucket(100, 50);
  taken_at_once(bucket, start);
  bucket.reconfigure(10, 50, start + 100ms);
  CHECK(taken_at_once(bucket, start + 100ms) == 10);
  CHECK(taken_at_once(bucket, start + 200ms) == 1);
}

TEST_CASE("a rate that is lent ends by itself, whenever the bucket is looked at next") {
  TokenBucket bucket(100, 50);
  taken_at_once(bucket, start);
  bucket.lend(200, 50, start + 100ms, 10, start);
  CHECK(bucket.rate() == 200);
  SUBCASE("in time") { CHECK(taken_at_once(bucket, start + 100ms) == 20); }
  SUBCASE("late") { CHECK(taken_at_once(bucket, start + 1100ms) == 30); }
  CHECK(bucket.rate() == 10);
}

TEST_CASE("another rate in time takes the place of the end of the one before") {
  TokenBucket bucket(100, 50);
  taken_at_once(bucket, start);
  bucket.lend(200, 50, start + 100ms, 10, start);
  bucket.lend(400, 50, start + 150ms, 10, start + 50ms);
  CHECK(taken_at_once(bucket, start + 150ms) == 10 + 40);
  bucket.lend(200, 50, start + 200ms, 10, start + 150ms);
  bucket.reconfigure(100, 50, start + 150ms);
  CHECK(taken_at_once(bucket, start + 350ms) == 20);
}

TEST_CASE("a full bucket says what it had no room for, once") {
  TokenBucket bucket(100, 50);
  bucket.take_spilled(start);
  CHECK(bucket.take_spilled(start + 100ms) == doctest::Approx(10));
  CHECK(bucket.take_spilled(start + 100ms) == 0);
  taken_at_once(bucket, start + 100ms, 15);
  CHECK(bucket.take_spilled(start + 200ms) == 0);
  CHECK(bucket.take_spilled(start + 300ms) == doctest::Approx(5));
}

}  // namespace
}  // namespace classgate::admission
