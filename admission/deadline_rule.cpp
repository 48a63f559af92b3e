#include "admission/deadline_rule.h"

#include <algorithm>

#include "admission/retry_after.h"

namespace classgate::admission {

DeadlineRule::Judgement DeadlineRule::judge(const Arrival& arrival, Duration wait, Time now) const {
  if (arrival.deadline <= now) return {.rejection = Rejection{conf::Reason::deadline}};
  if (!refuses_early_) return {};
  const Duration left = arrival.deadline - now;
  const Duration work = most_work(arrival.route);
  if (wait + work <= left) return {};
  if (wait < left && times_.may_try(arrival.route, now)) return {.is_a_try = true};
  if (only_observes_) return {.is_observed = true};
  // However short the queue gets, the work alone takes longer: no use in coming back.
  const bool is_hopeless = arrival.deadline - arrival.at < work;
  return {.rejection = Rejection{
              conf::Reason::would_miss_deadline,
              is_hopeless ? Duration::zero() : std::max(wait + work - left, RetryAfter::soonest)}};
}

DeadlineRule::Lateness DeadlineRule::lateness_by_estimate(const Waiter& waiter, Time now) const {
  const Duration work = times_.least(waiter.route, caution());
  // Let in as such, when it came.
  const bool is_a_try = waiter.useful_until - waiter.joined < work;
  if (waiter.useful_until - now >= work || is_a_try) return {};
  if (only_observes_) return {std::nullopt, true};
  return {conf::Reason::would_miss_deadline};
}

}  // namespace classgate::admission
