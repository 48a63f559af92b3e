#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "gateway/access_log.h"
#include "gateway/access_quota.h"
#include "gateway/exchange_record.h"
#include "proxy/net/loop.h"

namespace classgate::gateway {

// The lines of one loop for the access log, handed over in batches: at the end of a turn, or when
// there are many. On the loop.
class AccessLines {
 public:
  AccessLines(AccessLog& log, std::uint32_t seed) : log_(log), quota_(seed) {}

  // Whether the conf wants a line for one more exchange; `loops` share what a second may bring.
  // Each is asked for once, and counts.
  bool are_wanted(bool is_routine, proxy::net::Time now, std::uint32_t loops) {
    return log_.is_on() && is_within_bounds(is_routine, now, loops);
  }
  void add(const ExchangeRecord& record, proxy::net::Time now);
  void hand_over();

 private:
  bool is_within_bounds(bool is_routine, proxy::net::Time now, std::uint32_t loops);
  std::string_view time_text(proxy::net::Time now);

  AccessLog& log_;
  AccessQuota quota_;
  std::string lines_;
  std::uint64_t count_ = 0;
  std::string time_text_;  // RFC 3339 with milliseconds, of this turn
  proxy::net::Time time_text_of_{};
};

}  // namespace classgate::gateway
