#include "admission/visit.h"

namespace classgate::admission {

using conf::Reason;

Visit::Step Visit::due(const AtService& service, Time now) const {
  if (now < (is_held_ ? std::min(limit_, waits_until()) : limit_)) return {};
  switch (state_) {
    case State::collecting:
      return {.kind = Step::Kind::close, .outcome = Outcome::rejected(Reason::client_timeout)};
    case State::waiting:
      if (deadline_ <= now)
        return {Step::Kind::leave, Departure::missed_deadline, Outcome::rejected(Reason::deadline)};
      return {Step::Kind::leave, Departure::timed_out, Outcome::rejected(Reason::queue_timeout)};
    case State::forwarding: return overdue_at_service(service, now);
    case State::orphaned:  // waited for long enough: let the service be
      return {.kind = Step::Kind::give_back, .outcome = orphan_outcome()};
    default: return {};
  }
}

Visit::Step Visit::overdue_at_service(const AtService& service, Time now) const {
  if (is_held_)
    return {.kind = Step::Kind::give_back,
            .outcome = deadline_ <= now  ? Outcome::rejected(Reason::deadline)
                       : service.is_down ? Outcome::failed(Reason::upstream_down)
                                         : Outcome::rejected(Reason::queue_timeout)};
  if (service.is_stream)
    return {.kind = Step::Kind::give_back, .outcome = Outcome::failed(Reason::stream_too_long)};
  return {.kind = service.computes_on ? Step::Kind::orphan : Step::Kind::give_back,
          .outcome = Outcome::failed(Reason::upstream_timeout)};
}

Visit::Step Visit::client_left(const AtService& service) const {
  switch (state_) {
    case State::collecting: return {.kind = Step::Kind::close, .outcome = Outcome::abandoned()};
    case State::waiting: return {.kind = Step::Kind::leave, .outcome = Outcome::abandoned()};
    case State::forwarding:
      // A tunnel ends when one of its two sides wants it to.
      if (service.is_tunnel)
        return {.kind = Step::Kind::give_back, .outcome = Outcome::processed()};
      return {.kind = service.computes_on ? Step::Kind::orphan : Step::Kind::give_back,
              .outcome = Outcome::abandoned()};
    default: return {};
  }
}

// It may have been on its way for a while, and what it was waited for be over.
Visit::Step Visit::granted(Time now) const {
  if (deadline_ <= now)
    return {.kind = Step::Kind::give_back, .outcome = Outcome::rejected(Reason::deadline)};
  if (request_end() <= now)
    return {.kind = Step::Kind::give_back, .outcome = Outcome::rejected(Reason::queue_timeout)};
  return {};
}

}  // namespace classgate::admission
