#pragma once

#include <cstdint>
#include <variant>

#include "admission/verdict.h"

namespace classgate::simulation {

using admission::Duration;
using admission::Time;

// One request as its client makes it: all that admission may know of it, and all that it would
// take. What depends on chance is drawn when it is made, so that the same traffic under another
// conf is the same requests.
struct Wish {
  Time at{};                            // end of its header
  Duration upload{};                    // until its body is here
  Duration service{};                   // in an upstream that is not crowded
  Duration patience = Duration::max();  // from `at`; then its client leaves
  std::uint64_t bytes = 0;
  static constexpr std::uint32_t unnumbered = 0xffffffff;
  std::uint32_t number = unnumbered;  // for those who want to tell requests apart
  std::uint32_t group = 0;            // its class in a workload, its route in a log
  std::uint32_t client = 0;
  admission::RouteId route{};  // of a conf that follows none
  admission::PlanId plan{};    // likewise; the client's
  std::uint32_t cost = 1;
  std::uint8_t priority = conf::priority_worst;
  std::uint8_t attempt = 0;  // how often it was tried before
  bool rate_limited = true;
  float client_share = 1;
  bool fails = false;  // the upstream breaks off when it would have been done
};

// How a request ended for its client.
struct Ending {
  enum class Kind : std::uint8_t { served, failed, rejected, abandoned };
  Kind kind = Kind::served;
  conf::Reason reason{};  // of a failure or a rejection
  Duration retry_after{};
  int status = 0;  // of an answer that really came
};

// Who asks, in the order of time. Both the simulation and the load generator are driven by it.
class Traffic {
 public:
  virtual ~Traffic() = default;
  // The next request that comes whatever becomes of the others. False at the end.
  virtual bool next(Wish& wish) = 0;
  // What its client does when it has heard: comes again, or asks for the next thing. False:
  // nothing.
  virtual bool after(const Wish& /*wish*/, const Ending& /*ending*/, Time /*now*/,
                     Wish& /*follow*/) {
    return false;
  }
};

}  // namespace classgate::simulation
