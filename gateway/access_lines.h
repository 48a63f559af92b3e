#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "gateway/access_log.h"
#include "gateway/access_quota.h"
#include "gateway/exchange_record.h"
#include "gateway/refusal_rollup.h"
#include "proxy/net/loop.h"

namespace classgate::gateway {

// The lines of one loop for the access log, handed over in batches: at the end of a turn, or when
// there are many. On the loop.
class AccessLines {
 public:
  AccessLines(AccessLog& log, std::uint32_t seed) : log_(log), quota_(seed) {}

  enum class Wanted : std::uint8_t { no, line, roll_up };
  // What the conf wants of one more exchange; `loops` share what a second may bring. Each is asked
  // for once, and counts.
  Wanted wanted(AccessQuota::Kind kind, proxy::net::Time now, std::uint32_t loops) {
    return log_.is_on() ? within_bounds(kind, now, loops) : Wanted::no;
  }
  void add(const ExchangeRecord& record, proxy::net::Time now);
  // Told with others of its kind. True for the first of them: tell_rolled_up() is due within
  // rolled_up_time.
  [[nodiscard]] bool roll_up(const RefusalRollup::Refusal& refusal, proxy::net::Time now);
  static constexpr std::chrono::seconds rolled_up_time{1};
  void tell_rolled_up(proxy::net::Time now);
  void hand_over();
  // Of the wall clock, when the loop's said `now`: one for all that is told of this turn.
  std::chrono::system_clock::time_point wall_time(proxy::net::Time now);

 private:
  Wanted within_bounds(AccessQuota::Kind kind, proxy::net::Time now, std::uint32_t loops);
  std::string_view time_text(proxy::net::Time now);

  AccessLog& log_;
  AccessQuota quota_;
  RefusalRollup rollup_;
  std::string lines_;
  std::uint64_t count_ = 0;
  std::string time_text_;  // RFC 3339 with milliseconds, of this turn
  std::chrono::system_clock::time_point wall_time_{};
  proxy::net::Time wall_time_of_{};
};

}  // namespace classgate::gateway
