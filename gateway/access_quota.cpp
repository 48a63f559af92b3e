#include "gateway/access_quota.h"

namespace classgate::gateway {

AccessQuota::Verdict AccessQuota::judge(bool is_routine, Time now, const Limits& limits) {
  if (is_routine && !is_sampled(limits.sample)) return Verdict::not_sampled;
  if (now - second_began_ >= std::chrono::seconds(1)) {
    second_began_ = now;
    lines_ = 0;
  }
  if (lines_ >= limits.lines_max) return Verdict::over_rate;
  ++lines_;
  return Verdict::write;
}

// By chance rather than every n-th, so that traffic with a rhythm is sampled fairly.
bool AccessQuota::is_sampled(double share) {
  if (share >= 1) return true;
  return std::uniform_real_distribution<double>()(random_) < share;
}

}  // namespace classgate::gateway
