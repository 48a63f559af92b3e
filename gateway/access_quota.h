#pragma once

#include <chrono>
#include <cstdint>
#include <random>

namespace classgate::gateway {

// Which exchanges of one loop get a line in the access log. Owned by the loop's Station.
class AccessQuota {
 public:
  using Time = std::chrono::steady_clock::time_point;
  enum class LineDecision : std::uint8_t {
    write,
    not_sampled,  // as log.sample wants it, or told by a number elsewhere
    over_rate,    // a line that is missing: to be counted
    roll_up,      // a refusal too many for a line of its own
  };
  enum class Kind : std::uint8_t {
    routine,  // accepted, and nothing went wrong
    refusal,
    answered_here,  // by the gateway, outside of the books: metrics count them
    other,
  };
  struct Limits {
    double sample = 1;                        // the share of the routine that is written, 0 to 1
    std::uint32_t lines_max = 1;              // of this loop in a second
    std::uint32_t refusals_max = 0xffffffff;  // of these, and as many answered here
  };
  // What one of so many loops may write, so that none has to ask the others. Rounded up: every loop
  // may write something, and all of them together at most one line each too many.
  static std::uint32_t share_of(std::uint32_t lines_max, std::uint32_t loops) {
    return lines_max / loops + (lines_max % loops != 0 ? 1 : 0);
  }

  explicit AccessQuota(std::uint32_t seed) : random_(seed) {}

  LineDecision judge(Kind kind, Time now, const Limits& limits);

 private:
  bool is_sampled(double share);

  std::minstd_rand random_;
  Time second_began_{};
  std::uint32_t lines_ = 0;     // in this second
  std::uint32_t refusals_ = 0;  // of these
  std::uint32_t answered_here_ = 0;
};

}  // namespace classgate::gateway
