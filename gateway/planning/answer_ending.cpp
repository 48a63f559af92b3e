#include "gateway/planning/answer_ending.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <optional>

#include "conf/ascii.h"
#include "conf/reason.h"

namespace classgate::planning {

using simulation::Ending;

Ending ending_of(const proxy::wire::Head& head) {
  Ending ending;
  ending.status = head.status;
  std::optional<conf::Reason> reason;
  for (const proxy::wire::Field& field : head.fields) {
    if (conf::equal_but_for_case(field.name, "x-classgate-reason"))
      reason = conf::reason_from_word(field.value);
    if (conf::equal_but_for_case(field.name, "retry-after")) {
      int seconds = 0;
      std::from_chars(field.value.data(), field.value.data() + field.value.size(), seconds);
      ending.retry_after = std::chrono::seconds(std::clamp(seconds, 0, 86'400));
    }
  }
  if (reason) {
    ending.reason = *reason;
    ending.kind = conf::kind_of(*reason) == conf::ReasonKind::service ? Ending::Kind::failed
                                                                      : Ending::Kind::rejected;
  } else if (head.status == 429 || head.status == 503) {
    ending.kind = Ending::Kind::rejected;
    ending.reason = head.status == 429 ? conf::Reason::rate_limited : conf::Reason::queue_full;
  } else if (head.status >= 400 && head.status < 500) {  // no work was done
    ending.kind = Ending::Kind::failed;
    ending.reason = conf::Reason::malformed;
  } else if (head.status >= 500) {
    ending.kind = Ending::Kind::failed;
    ending.reason = conf::Reason::upstream_broken;
  }
  return ending;
}

// Of those that are refused, by whoever that may be: RESOURCE_EXHAUSTED, UNAVAILABLE.
Ending ending_of_call(const Ending& of_head, int grpc_status) {
  if (grpc_status == 0 || of_head.status != 200 || of_head.kind != Ending().kind) return of_head;
  Ending ending = of_head;
  const bool is_refused = grpc_status == 8 || grpc_status == 14;
  ending.kind = is_refused ? Ending::Kind::rejected : Ending::Kind::failed;
  ending.reason = is_refused ? conf::Reason::queue_full : conf::Reason::upstream_broken;
  return ending;
}

}  // namespace classgate::planning
