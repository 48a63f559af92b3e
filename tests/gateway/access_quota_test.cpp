#include "gateway/access_quota.h"

#include <doctest/doctest.h>

namespace classgate::gateway {
namespace {

using std::chrono::milliseconds;
using Limits = AccessQuota::Limits;
using LineDecision = AccessQuota::LineDecision;
using LineKind = AccessQuota::Kind;

constexpr std::uint32_t plenty = 1'000'000;
const AccessQuota::Time first_hour = AccessQuota::Time() + std::chrono::hours(1);

int written(AccessQuota& quota, int exchanges, AccessQuota::Time now, const Limits& limits,
            LineKind kind = LineKind::routine) {
  int count = 0;
  for (int i = 0; i < exchanges; ++i)
    if (quota.judge(kind, now, limits) == LineDecision::write) ++count;
  return count;
}

TEST_CASE("a sample of 1 writes everything, of 0 nothing that is routine") {
  AccessQuota quota(1);
  CHECK(written(quota, 1000, first_hour, {1, plenty}) == 1000);
  CHECK(written(quota, 1000, first_hour, {0, plenty}) == 0);
  CHECK(quota.judge(LineKind::routine, first_hour, {0, plenty}) == LineDecision::not_sampled);
}

TEST_CASE("refusals and failures are written whatever the sample") {
  AccessQuota quota(1);
  CHECK(written(quota, 1000, first_hour, {0, plenty}, LineKind::refusal) == 1000);
  CHECK(written(quota, 1000, first_hour, {0, plenty}, LineKind::other) == 1000);
}

TEST_CASE("a sample is the share that is written, also of traffic with a rhythm") {
  for (const double share : {0.01, 0.25, 0.5, 0.9}) {
    AccessQuota quota(7);
    int of_even = 0;
    constexpr int exchanges = 100'000;
    for (int i = 0; i < exchanges; ++i) {
      const bool is_written =
          quota.judge(LineKind::routine, first_hour, {share, plenty}) == LineDecision::write;
      if (is_written && i % 2 == 0) ++of_even;
    }
    CAPTURE(share);
    CHECK(of_even == doctest::Approx(share * exchanges / 2).epsilon(0.1));
  }
}

TEST_CASE("what the gateway answers itself, for nothing, takes no room from what went wrong") {
  AccessQuota quota(1);
  const Limits limits{1, 10, 4};
  CHECK(written(quota, 1000, first_hour, limits, LineKind::answered_here) == 4);
  CHECK(quota.judge(LineKind::answered_here, first_hour, limits) == LineDecision::not_sampled);
  CHECK(written(quota, 1000, first_hour, limits, LineKind::refusal) == 4);
  CHECK(written(quota, 1000, first_hour, limits, LineKind::other) == 2);
  CHECK(written(quota, 9, first_hour + milliseconds(1000), limits, LineKind::answered_here) == 4);
}

TEST_CASE("in each second so many lines are written, and what is over is told apart") {
  AccessQuota quota(1);
  const Limits limits{1, 10};
  CHECK(written(quota, 25, first_hour, limits) == 10);
  CHECK(quota.judge(LineKind::routine, first_hour + milliseconds(999), limits) ==
        LineDecision::over_rate);
  CHECK(quota.judge(LineKind::other, first_hour + milliseconds(999), limits) ==
        LineDecision::over_rate);
  CHECK(written(quota, 25, first_hour + milliseconds(1000), limits) == 10);
}

TEST_CASE("what is not sampled takes nothing of the rate") {
  AccessQuota quota(1);
  CHECK(written(quota, 1000, first_hour, {0, 10}) == 0);
  CHECK(written(quota, 1000, first_hour, {1, 10}) == 10);
}

TEST_CASE("refusals beyond their rate, or that of all lines, are rolled up and leave room") {
  AccessQuota quota(1);
  const Limits limits{1, 10, 4};
  CHECK(written(quota, 25, first_hour, limits, LineKind::refusal) == 4);
  CHECK(quota.judge(LineKind::refusal, first_hour, limits) == LineDecision::roll_up);
  CHECK(written(quota, 25, first_hour, limits, LineKind::other) == 6);
  CHECK(written(quota, 25, first_hour + milliseconds(1000), limits) == 10);
  CHECK(quota.judge(LineKind::refusal, first_hour + milliseconds(1000), limits) ==
        LineDecision::roll_up);
}

TEST_CASE("loops share the rate, rounded up") {
  CHECK(AccessQuota::share_of(10, 1) == 10);
  CHECK(AccessQuota::share_of(10, 4) == 3);
  CHECK(AccessQuota::share_of(8, 4) == 2);
  CHECK(AccessQuota::share_of(1, 64) == 1);
}

}  // namespace
}  // namespace classgate::gateway
