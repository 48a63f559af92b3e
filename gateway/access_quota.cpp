#include "gateway/access_quota.h"

namespace classgate::gateway {

AccessQuota::LineDecision AccessQuota::judge(Kind kind, Time now, const Limits& limits) {
  const bool is_fine = kind == Kind::routine || kind == Kind::answered_here;
  if (is_fine && !is_sampled(limits.sample)) return LineDecision::not_sampled;
  if (now - second_began_ >= std::chrono::seconds(1)) {
    second_began_ = now;
    lines_ = refusals_ = answered_here_ = 0;
  }
  // Whoever asks for these pays nothing: they must not take the room of what went wrong.
  if (kind == Kind::answered_here && answered_here_++ >= limits.refusals_max)
    return LineDecision::not_sampled;
  if (kind == Kind::refusal) {
    if (refusals_ >= limits.refusals_max || lines_ >= limits.lines_max)
      return LineDecision::roll_up;
    ++refusals_;
  }
  if (lines_ >= limits.lines_max) return LineDecision::over_rate;
  ++lines_;
  return LineDecision::write;
}

// By chance rather than every n-th, so that traffic with a rhythm is sampled fairly.
bool AccessQuota::is_sampled(double share) {
  if (share >= 1) return true;
  return std::uniform_real_distribution<double>()(random_) < share;
}

}  // namespace classgate::gateway
