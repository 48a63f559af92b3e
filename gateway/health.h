#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "gateway/policy.h"
#include "gateway/shared.h"

namespace classgate::gateway {

inline constexpr std::string_view health_path = "/queue/health";

struct Health {
  int status;  // 200 while it can serve, 503 when draining or when no upstream answers
  std::string json;
};

// Who asks. A stranger (where clients are accepted) sees how it goes: the state, the books, waits,
// the limits that concern a request. Addresses, version, conf, errors and clients are operators'.
enum class Asker : std::uint8_t { stranger, operator_of_it };

// What GET /queue/health says. Any thread; the numbers are of one instant and balance.
Health describe_health(const Shared& shared, const Policy& policy, admission::Time now,
                       Asker asker);

// What is known of one server: the worst that is true of it.
std::string_view state_word(const proxy::Servers& servers, std::size_t server, admission::Time now);

// What strangers see, made anew when it is older than ops.health_cache, so that a flood costs no
// more than one of refusals. Of one loop.
class StrangersHealth {
 public:
  // Until the next call.
  const Health& at(admission::Time now, const Shared& shared, const Policy& policy);
  // After a change of the policy.
  void forget() { is_made_ = false; }

 private:
  Health health_{};
  admission::Time made_{};
  bool is_made_ = false;
  bool was_draining_ = false;
};

}  // namespace classgate::gateway
